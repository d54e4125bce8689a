"""The Contrast page's own logic, driven without a browser, on the demo model."""

from pathlib import Path
from urllib.parse import parse_qs

import numpy as np
import pytest
from reading import read
from streamlit.testing.v1 import AppTest

import moeviz
from moeviz.charts.words import percent
from moeviz.metrics.contrast import contrast, steering, steering_cost
from moeviz.ui import session
from moeviz.ui.pairs import MOST_TEXTS, PAIRS, texts_of

APP = Path(__file__).parent.parent.parent / "app.py"


@pytest.fixture(scope="module")
def model():
    return moeviz.load_model(session.default_model())


@pytest.fixture(scope="module")
def languages(model):
    """The traces of the first pair, and their contrast."""
    pair = PAIRS["French and English"]
    both = [
        [moeviz.trace_text(model, text) for text in texts_of(texts)]
        for texts in (pair.texts_a, pair.texts_b)
    ]
    return *both, contrast(*both)


@pytest.fixture
def page():
    """The app in this process, turned to the Contrast page when it first runs."""
    app = AppTest.from_file(APP, default_timeout=120)
    app.switch_page("pages/contrast.py")
    return app


def said(page) -> str:
    return read(m.value for m in page.markdown)


def press(page, label: str):
    return next(b for b in page.button if b.label == label).click().run()


def compare(page, first: str, second: str):
    page.text_area(key="set_a").set_value(first)
    page.text_area(key="set_b").set_value(second)
    return press(page, "Compare")


def test_the_first_visit_finds_an_expert_of_french(page, languages):
    page.run()
    assert not page.exception
    first, _, found = languages
    row, expert = found.ranked()[0]
    assert found.beyond[row, expert]
    assert (
        f"Expert {expert} of layer {first[0].layers[row]} tells them apart best: it reads "
        f"{percent(found.share_a[row, expert])} of the tokens in French"
    ) in said(page)
    listed = page.dataframe[0].value
    assert listed["French"].iloc[0] == pytest.approx(100 * found.share_a[row, expert])
    assert listed["Difference"].abs().is_monotonic_decreasing
    assert f"no expert of any layer differs by more than {percent(found.reach)}" in (
        "\n".join(read([c.value]) for c in page.caption).replace("\\", "")
    )
    assert [c.proto.component_name for c in page.get("bidi_component")].count("moeviz_grid") == 1


def test_steering_is_measured_on_both_sets_beside_random_experts(page, model, languages):
    page.run()
    first, _, found = languages
    page.button_group(key="towards").set_value("English").run()
    page.number_input(key="steered").set_value(2).run()
    layers = [str(layer) for layer in first[0].layers]
    rule = steering(found, layers, towards_a=False, count=2)
    assert page.code[0].value == str(rule)
    press(page, "Steer the model")
    steered = [moeviz.trace_text(model, t.tokens.source, rule=rule) for t in first]
    mean, low, high = steering_cost(first, steered)
    changes = np.concatenate([b.loss - a.loss for a, b in zip(first, steered, strict=True)])
    assert mean == pytest.approx(np.nanmean(changes), abs=1e-6)
    assert low > 0  # without its experts the model is worse at French
    assert f"in French (95 %: {low:+.3f} to {high:+.3f})" in said(page)
    assert "drawn at random, 3 times: " in said(page)
    page.number_input(key="steered").set_value(3).run()
    assert any(b.label == "Steer the model" for b in page.button)


def test_own_texts_are_compared_and_kept_in_the_link(page):
    page.run()
    compare(page, "one red apple\ntwo apples\nthree\nfour", "eins\nzwei Bäume\ndrei\nvier")
    assert not page.exception and not page.error
    assert page.query_params["set_a"] == "one red apple\ntwo apples\nthree\nfour"
    assert page.dataframe[0].value.columns.tolist()[1:3] == ["A", "B"]
    page.button_group(key="pair").set_value("Polite and rude").run()
    assert page.query_params["pair"] == "Polite and rude"
    assert "set_a" not in page.query_params


def test_a_link_brings_the_sets_back(page):
    page.query_params["set_a"] = "<b>one</b>\ntwo"
    page.query_params["set_b"] = "three\nfour"
    page.run()
    assert page.text_area(key="set_a").value == "<b>one</b>\ntwo"
    notes = "\n".join(read([c.value]) for c in page.caption).replace("\\", "")
    assert "all 6 ways to deal the 4 texts" in notes
    assert (
        "So few texts cannot rule chance out: even the clearest difference happens in 33 % of the "
        "deals. Give at least 4 texts a set."
    ) in notes


def test_where_nothing_is_beyond_chance_the_page_says_so(page):
    page.query_params["pair"] = "Questions and answers"
    page.run()
    assert "No expert differs by more than chance. The largest difference: expert " in said(page)


@pytest.mark.parametrize(
    ("first", "sentence"),
    [
        ("one", "Each set needs at least 2 texts, one a line; there are 1 and 12."),
        ("", "Each set needs at least 2 texts, one a line; there are 0 and 12."),
        (
            "a\n" * (MOST_TEXTS + 1),
            f"A set can have {MOST_TEXTS} texts, one a line; this one has {MOST_TEXTS + 1}.",
        ),
    ],
)
def test_sets_that_cannot_be_compared_are_one_sentence(page, first, sentence):
    page.run()
    compare(page, first, PAIRS["French and English"].texts_b)
    assert not page.exception
    assert [e.value.replace("\\", "") for e in page.error] == [sentence]
    assert page.text_area(key="set_a").value == first


def test_a_trace_without_its_model_says_why(page, model):
    page.run()
    kept = moeviz.trace_text(model, "from a file")
    page.session_state["kept_traces"] = {kept.key: session.Kept(kept, "uploaded", "a.moetrace")}
    page.session_state["kept"] = kept.key
    page.run()
    assert not page.exception
    assert "A trace without its model is on screen, but the sets need a model to read them." in [
        read([i.value]) for i in page.info
    ]
    press(page, "Back to the text")
    assert "tells them apart best" in said(page)


def test_one_click_takes_the_steering_to_the_what_if_page(page):
    page.run()
    rule = page.code[0].value
    link = page.get("page_link")[0].proto
    assert link.page == "what-if"
    assert parse_qs(link.query_string)["rule"] == [rule]
    page.switch_page("pages/what-if.py")
    page.query_params["rule"] = rule
    page.run()
    assert not page.exception
    assert page.text_input(key="what_if_field").value == rule
