"""A trace without logits, and one without gates too: each view shows it or says why it cannot."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest
from reading import read
from streamlit.testing.v1 import AppTest

from moeviz.charts.capacity_words import CONVENTIONS, PRIORITIES
from moeviz.charts.evenness import MEASURES as EVENNESS
from moeviz.charts.heat import CELLS, COLUMNS
from moeviz.charts.layers import MEASURES
from moeviz.charts.strip import COLOURINGS
from moeviz.store.arrays import routing_from
from moeviz.store.files import trace_bytes
from moeviz.ui.view import LOOKS

APP = Path(__file__).parent.parent.parent / "app.py"
RNG = np.random.default_rng(0)
CHOICES = RNG.random((24, 4, 8)).argsort(axis=-1)[..., :2]
GATES = RNG.random((24, 4, 2)).astype(np.float32)
WORDS = [f" word{n}" for n in range(24)]
TRACES = {
    "choices only": routing_from(CHOICES, 8, model="org/big", engine="vLLM 0.22"),
    "with gates": routing_from(CHOICES, 8, model="org/big", gates=GATES, texts=WORDS),
}

NO_LOGITS = "This trace holds the chosen experts but not the router's logits"
NO_GATES = (
    "This trace holds the chosen experts but not their gates, so how much weight each got is not "
    "known."
)
NO_LOSS = "This trace holds no next-token loss, so tokens cannot be coloured by it."
LACKS = {
    "choices only": {
        "confidence": NO_GATES,
        "entropy": f"{NO_LOGITS}, so only choices can be shown. Trace the text again with logits "
        "to see the rest.",
        "probability": f"{NO_LOGITS}. Choose Choice above to see the choices, or trace the text "
        "again with logits.",
        "gate": NO_GATES,
        "balance importance": "Importance loss is made of the gates, which this trace lacks.",
        "convention gshard": "GShard turns second choices away by their gates, and this trace "
        "holds the chosen experts alone. Choose another convention.",
        **{
            f"priority {name}": f"Priority by {name} needs to know the gates, and this trace holds "
            "the chosen experts alone. Serve tokens by position or at random."
            for name in ("slot", "score", "gate")
        },
    },
    "with gates": {
        "entropy": f"{NO_LOGITS}, so only choices and gates can be shown. Trace the text again "
        "with logits to see the rest.",
        "probability": f"{NO_LOGITS}. Choose Gate above to see the choices, or trace the text "
        "again with logits.",
    },
}
for lacks in LACKS.values():
    lacks["margin"], lacks["logit"], lacks["loss"] = lacks["entropy"], lacks["probability"], NO_LOSS
    lacks["doubt"] = f"{NO_LOGITS}, so the router's entropy is not known."
    lacks["balance aux_loss"] = (
        "Auxiliary loss is made of the router's logits, which this trace lacks."
    )
    lacks["balance z_loss"] = "z-loss is made of the router's logits, which this trace lacks."
"""What cannot be seen of each trace, and the sentence that says why."""


@pytest.fixture(scope="module", params=TRACES)
def opened(request):
    """The app with one of the traces on screen, and its name."""
    page = AppTest.from_file(APP, default_timeout=120).run()
    page.file_uploader[0].upload("x.moetrace", trace_bytes(TRACES[request.param]))
    return page.run(), request.param


def drawn(page) -> list[str]:
    """The pictures on the page, what shows none left out."""
    names = [c.proto.component_name.removeprefix("moeviz_") for c in page.get("bidi_component")]
    return sorted(name for name in names if name not in ("wire", "handout", "ticker"))


def troubles(page) -> list[str]:
    """What the page says it cannot show; not the line on where the trace is from."""
    told = [*page.info, *page.error]
    return [read([each.value]) for each in told if "looking at" not in each.value]


def on_explore(page, **wish):
    """The Explore page of a first view with `wish`."""
    if "page" not in page.session_state or page.session_state["page"] != "explore":
        page.switch_page("pages/explore.py").run()
        page.session_state["page"] = "explore"
    first = dataclasses.replace(
        page.session_state["view"], colour="expert", columns="experts", look="token",
        cells="choice", measure="load",
    )  # fmt: skip
    page.session_state["view"] = dataclasses.replace(first, **wish)
    return page.run()


def test_the_first_view_shows_all_there_is_and_says_what_is_missing(opened):
    page, name = opened
    page.switch_page("pages/explore.py").run()
    page.session_state["page"] = "explore"
    assert not page.exception
    assert drawn(page) == ["grid", "grid", "grid", "list", "strip"]
    assert troubles(page) == []
    assert page.session_state["view"].cells == ("choice" if name == "choices only" else "gate")
    notes = [read([warning.value]) for warning in page.warning]
    if name == "choices only":
        assert notes == [
            "What the tokens are is not known: they are shown by their place, from #1 on.",
            "Only the choices are known, in the order that vLLM 0.22 gave them: no gates and no "
            "router logits.",
        ]
    else:
        assert notes == []


@pytest.mark.parametrize(
    ("part", "value"),
    [
        *(("colour", colour) for colour in COLOURINGS),
        *(("cells", cells) for cells in CELLS),
        *(("columns", columns) for columns in COLUMNS),
        *(("look", look) for look in LOOKS),
        *(("measure", measure) for measure in MEASURES),
    ],
)
def test_every_choice_on_explore_draws_or_says_why(opened, part, value):
    page, name = opened
    full = len(drawn(on_explore(page, **({"look": "layer"} if part == "measure" else {}))))
    page = on_explore(page, **{part: value}, **({"look": "layer"} if part == "measure" else {}))
    assert not page.exception
    sentence = LACKS[name].get(value)
    assert troubles(page) == ([sentence] if sentence else [])
    if part != "look":
        assert len(drawn(page)) == full - bool(sentence)


def test_capacity_serves_who_can_be_told_apart(opened):
    page, name = opened
    page.session_state["page"] = "capacity"
    page.switch_page("pages/capacity.py").run()
    kept = troubles(page)
    assert len(kept) == 1  # enforcing needs the model
    for key, choices, plain in (
        ("convention", CONVENTIONS, "vmoe"),
        ("priority", PRIORITIES, "position"),
        ("balance", EVENNESS, "cv"),
    ):
        for value in choices:
            page.button_group(key=key).set_value(value).run()
            assert not page.exception
            sentence = LACKS[name].get(f"{key} {value}")
            if sentence:
                assert sentence in troubles(page)
            else:
                told = [t for t in troubles(page) if "has no capacity factor" not in t]
                assert told == kept
        page.button_group(key=key).set_value(plain).run()


def test_capacity_claims_nothing_of_a_model_it_does_not_know(opened):
    page, _ = opened
    page.session_state["page"] = "capacity"
    page.switch_page("pages/capacity.py").run()
    assert "Simulated: the figures apply the rule to the recorded routing afterwards." in [
        read([c.value]) for c in page.caption
    ]


@pytest.mark.parametrize("name", ["what-if", "lab"])
def test_what_needs_the_model_or_its_logits_says_so(opened, name):
    page, kind = opened
    page.session_state["page"] = name
    page.switch_page(f"pages/{name}.py").run()
    assert not page.exception
    assert drawn(page) == []
    if name == "lab":
        assert troubles(page) == [f"The lab needs the router's logits. {LACKS[kind]['entropy']}"]
    elif kind == "choices only":
        assert set(troubles(page)) == {
            "This trace does not hold its text, so the model cannot read it again."
        }
    else:
        assert set(troubles(page)) == {
            "Enforcing a rule needs the model, and org/big is not on this machine. Load it with "
            "Change model, and run the text there."
        }


def test_two_such_traces_are_compared_by_their_loads_and_no_token_is_linked_by_its_place(opened):
    page, name = opened
    page.session_state["page"] = "compare"
    page.switch_page("pages/compare.py").run()
    page.button_group(key="b_way").set_value("trace").run()
    other = routing_from(CHOICES[::-1][:20], 8, model="org/big")
    page.file_uploader[1].upload("b.moetrace", trace_bytes(other))
    page.run()
    assert not page.exception
    assert troubles(page) == []
    assert drawn(page) == ["grid", "grid", "grid", "plot", "plot", "strip", "strip"], name
    said = "\n".join(m.value for m in page.markdown)
    assert "tokens are on both sides" not in said
