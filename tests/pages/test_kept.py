"""A trace from a file, shown as it is: opened, linked, refused, and left again."""

import dataclasses
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import tiny
from handmade import make_trace, version_1
from reading import read
from safetensors.numpy import save
from streamlit.testing.v1 import AppTest

import moeviz
from moeviz.metrics.compare import compare
from moeviz.rules.capacity import CapacityRule
from moeviz.store.files import read_trace, trace_bytes
from moeviz.trace import Provenance
from moeviz.ui import session
from moeviz.ui.markdown import plain

ROOT = Path(__file__).parent.parent.parent
APP = ROOT / "app.py"
TEXT = "Saved words, read again."


@pytest.fixture(scope="module")
def trace():
    return moeviz.trace_text(moeviz.load_model(session.default_model()), TEXT)


@pytest.fixture
def page():
    return AppTest.from_file(APP, default_timeout=120)


def open_file(page, data: bytes, name: str = "a.moetrace"):
    page.file_uploader[0].upload(name, data)
    return page.run()


def press(page, label: str):
    return next(b for b in page.button if b.label == label).click().run()


def components(page) -> list[str]:
    return [c.proto.component_name for c in page.get("bidi_component")]


def wire(page) -> dict:
    found = [c for c in page.get("bidi_component") if c.proto.component_name == "moeviz_wire"]
    return json.loads(found[0].proto.json)


def said(page) -> str:
    return read(m.value for m in page.markdown)


def infos(page) -> list[str]:
    return [read([i.value]) for i in page.info]


def test_a_saved_trace_is_shown_on_both_pages_until_the_visitor_goes_back(page, trace):
    open_file(page.run(), trace_bytes(trace), "words.moetrace")
    line = f"You are looking at the file words.moetrace: {len(trace.tokens)} tokens routed by demo."
    assert not page.exception
    assert infos(page) == [line]
    assert page.session_state["view_of"] == trace.key
    assert page.query_params["trace"] == trace.key
    assert not page.text_area
    page.switch_page("pages/capacity.py").run()
    assert not page.exception
    assert infos(page) == [line]
    assert page.session_state["view_of"] == trace.key
    press(page, "Back to the text")
    assert "trace" not in page.query_params
    assert page.session_state["view_of"] != trace.key
    assert page.text_area(key="text").value == session.FIRST_TEXT


def test_download_then_upload_restores_the_trace(page, trace):
    again = read_trace(trace_bytes(trace), "a.moetrace")
    open_file(page.run(), trace_bytes(again))
    shown = page.session_state["kept_traces"][trace.key].trace
    assert shown.key == trace.key
    np.testing.assert_array_equal(shown.logits, trace.logits)
    assert shown.tokens.texts == trace.tokens.texts


def test_a_link_to_a_trace_opens_it_once_its_file_is_here(page, trace):
    page.query_params["trace"], page.query_params["layer"] = trace.key, "5"
    page.run()
    assert infos(page) == [
        "This link was made with a trace that is not here. Open its file to see it."
    ]
    assert page.text_area(key="text").value == session.FIRST_TEXT
    open_file(page, trace_bytes(trace))
    assert wire(page)["row"] == 5
    assert page.query_params["trace"] == trace.key
    page.query_params.clear()
    page.run()  # back to the plain address ...
    assert page.session_state["view_of"] != trace.key
    page.query_params["trace"], page.query_params["layer"] = trace.key, "4"
    page.run()  # ... and forward again
    assert page.session_state["view_of"] == trace.key
    assert wire(page)["row"] == 4


def test_sessions_never_share_a_trace(page, trace):
    open_file(page.run(), trace_bytes(trace))
    stranger = AppTest.from_file(APP, default_timeout=120)
    stranger.query_params["trace"] = trace.key
    stranger.run()
    assert "view_of" not in stranger.session_state
    assert not stranger.get("bidi_component")
    assert "not here" in infos(stranger)[0]
    press(stranger, "Run")
    assert stranger.session_state["view_of"] != trace.key
    assert not stranger.info


def test_a_new_text_or_model_leaves_the_trace(page, trace):
    open_file(page.run(), trace_bytes(trace))
    press(page, "Back to demo")
    assert page.session_state["view_of"] != trace.key
    assert not page.info


def broken_files() -> dict[str, tuple[bytes, str]]:
    """Name to (content, what is said of it)."""
    trace = make_trace([[[0, 1], [2, 3], [0, 2], [1, 0]]] * 2)
    router, source = (dataclasses.asdict(part) for part in (trace.router, trace.source))
    strange = "part of it is not what a trace holds."
    nested = '{"a":' * 90_000 + "1" + "}" * 90_000
    return {
        "text": (b"hello there", "a.moetrace is not a trace file: "),
        "cut": (trace_bytes(trace)[:-9], "a.moetrace is not a trace file: "),
        "weights": (save({"w": np.zeros(3)}), "a safetensors file, but not a MoEViz trace."),
        "nested": (
            save(trace.arrays(),
                 metadata={"format": "moetrace", "version": "1", "header": nested}),
            "a.moetrace is damaged: its header cannot be read.",
        ),
        "name": (version_1(trace, source={**source, "model": ["x"]}), strange),
        "half": (version_1(trace, text="ab\ud800d"), strange),
        "list": (version_1(trace, router=[1, 2]), strange),
        "fraction": (version_1(trace, router={**router, "experts": 4.5}), strange),
        "crowd": (
            version_1(trace, router={**router, "experts": 10**8}),
            "A router chooses 1 or more of at most 32,767 experts; this one chooses 2 of "
            "100,000,000.",
        ),
        "layers": (version_1(trace, layers=[0, True]), strange),
        "chosen": (
            version_1(trace, router={**router, "chosen_per_layer": [2, 9]}),
            "router.chosen_per_layer goes up to 9, but router has 2.",
        ),
    }  # fmt: skip


def test_a_file_that_is_no_trace_is_one_sentence_and_the_view_stays(page, trace):
    open_file(page.run(), trace_bytes(trace))
    before = components(page)
    for name, (data, sentence) in broken_files().items():
        open_file(page, data)
        assert not page.exception, name
        assert len(page.error) == 1, name
        assert sentence in page.error[0].value.replace("\\", ""), name
        assert components(page) == before
        assert page.session_state["view_of"] == trace.key
    page.run()
    assert not page.error


def test_a_trace_too_large_for_the_screen_is_refused(page, monkeypatch, tiny_trace):
    monkeypatch.setattr(session, "MOST_CELLS", 15)
    open_file(page.run(), trace_bytes(tiny_trace))
    assert [e.value.replace("\\", "") for e in page.error] == [
        "This trace is too large for the screen: 4 tokens, 2 layers and 4 experts. Open it in "
        "Python with moeviz.open_trace."
    ]


def test_only_the_newest_few_are_kept(page):
    page.run()
    keys = []
    for number in range(session.MOST_KEPT + 1):
        one = make_trace([[[0, 1], [2, 3], [0, 2], [1, 0]]] * 2, text="abc" + "defgh"[number])
        open_file(page, trace_bytes(one))
        keys.append(one.key)
    assert list(page.session_state["kept_traces"]) == keys[1:]


def test_a_rule_is_enforced_where_the_model_is_here_and_routes_the_same(page, trace):
    page.switch_page("pages/capacity.py")
    open_file(page.run(), trace_bytes(trace))
    page.button_group(key="layer").set_value("0").run()
    press(page, "Enforce it in the model")
    model = moeviz.load_model(session.default_model())
    rule = CapacityRule(1.25, "vmoe")
    cost = compare(trace, moeviz.trace_text(model, TEXT, rule=rule))
    way = "rises" if cost.mean_change >= 0 else "falls"
    assert f"loss {way} by {abs(cost.mean_change):.3f} nats" in said(page)


def test_a_trace_that_the_model_here_would_not_give_is_not_enforced(page, trace):
    experts = trace.experts.copy()
    experts[0, 1] = experts[0, 1, ::-1]
    other = dataclasses.replace(trace, experts=experts)
    page.switch_page("pages/capacity.py")
    open_file(page.run(), trace_bytes(other))
    press(page, "Enforce it in the model")
    assert [e.value for e in page.error] == [
        plain(
            "demo, as it runs here, routes this text otherwise than the trace does, so enforcing "
            "would compare two different things. Run the text itself instead."
        )
    ]


@pytest.mark.parametrize(
    ("source", "sentence"),
    [
        (
            Provenance("no/such"),
            "Enforcing a rule needs the model, and no/such is not on this machine. Load it with "
            "Change model, and run the text there.",
        ),
        (
            Provenance("demo", rule="cf 1"),
            "This trace was made with a rule in force already: cf 1.",
        ),
    ],
)
def test_what_cannot_be_enforced_says_why(page, trace, source, sentence):
    page.switch_page("pages/capacity.py")
    open_file(page.run(), trace_bytes(dataclasses.replace(trace, source=source)))
    assert not page.exception
    assert infos(page)[1:] == [sentence]
    assert not [b for b in page.button if b.label == "Enforce it in the model"]


def test_an_encoders_trace_is_shown_without_its_model(page):
    model = moeviz.adopt(tiny.switch(), tiny.tokenizer(), "a/switch")
    one = moeviz.trace_text(model, "le routeur choisit", stack="encoder")
    open_file(page.run(), trace_bytes(one))
    assert not page.exception
    assert page.session_state["view_of"] == one.key
    assert not [c for c in page.button_group if c.key == "stack"]


WITHOUT_TORCH = """
import sys
from pathlib import Path
from streamlit.testing.v1 import AppTest

data, key = Path(sys.argv[1]).read_bytes(), sys.argv[2]
page = AppTest.from_file(Path("app.py").resolve(), default_timeout=120)
page.query_params["trace"] = key
page.run()
assert "that is not here" in page.info[0].value
page.file_uploader[0].upload("a.moetrace", data)
page.run()
for name in ("explore", "capacity"):
    page.switch_page(f"pages/{name}.py").run()
    assert not page.exception, page.exception
    assert len(page.get("bidi_component")) > 4
    assert page.session_state["view_of"] == key
page.button_group(key="layer").set_value("0").run()
print([name for name in ("torch", "transformers", "umap") if name in sys.modules])
"""


def test_a_saved_trace_is_shown_with_no_torch_loaded(trace, tmp_path):
    """By the way that people take: a link to a trace, its file, two pages, a click."""
    path = trace.save(tmp_path / "a.moetrace")
    command = [sys.executable, "-c", WITHOUT_TORCH, str(path), trace.key]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip().splitlines()[-1] == "[]"
