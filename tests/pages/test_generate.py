"""The Generate page's own logic, driven without a browser, on the demo model."""

import time
from pathlib import Path

import numpy as np
import pytest
from reading import read
from streamlit.testing.v1 import AppTest

import moeviz
from moeviz.charts.words import percent
from moeviz.metrics.divergence import divergence_bits
from moeviz.metrics.overflow import overflow
from moeviz.rules.capacity import CapacityRule
from moeviz.ui import session

APP = Path(__file__).parent.parent.parent / "app.py"
PROMPT, MOST = "The keeper", 12


@pytest.fixture(scope="module")
def model():
    return moeviz.load_model(session.default_model())


@pytest.fixture(scope="module")
def truth(model):
    """What the model writes under the settings that the page's tests use."""
    return list(moeviz.generate(model, PROMPT, MOST, temperature=0.8, top_p=0.95, seed=3))


def visit(**link) -> AppTest:
    """A fresh visitor on the Generate page, by a link of these parameters."""
    page = AppTest.from_file(APP, default_timeout=120)
    page.switch_page("pages/generate.py")
    for name, value in {"prompt": PROMPT, "most": MOST, "seed": 3, **link}.items():
        page.query_params[name] = str(value)
    return page.run()


def until(page, state: str) -> AppTest:
    """Let the page look again, as its timer does, until it stands as named."""
    end = time.monotonic() + 60
    while page.session_state["live"].state != state:
        assert time.monotonic() < end, f"not {state} within 60 s"
        time.sleep(0.05)
        page.run()
    return page.run()


def press(page, label: str) -> AppTest:
    return next(b for b in page.button if b.label == label).click().run()


def labels(page) -> list[str]:
    return [b.label for b in page.button]


def said(page) -> str:
    parts = [*page.markdown, *page.caption]
    return read(part.value for part in parts)


def test_a_link_writes_what_the_model_writes(truth):
    page = until(visit(), "finished")
    assert not page.exception
    here = page.session_state["live"]
    assert here.reel.ids == [step.id for step in truth]
    assert "".join(here.reel.texts) == truth[-1].text[len(PROMPT) :]
    assert here.reel.odds == pytest.approx([step.probability for step in truth])
    assert here.trace.key == truth[-1].trace.key
    assert [c.proto.component_name for c in page.get("bidi_component")] == [
        "moeviz_live", "moeviz_plot", "moeviz_plot", "moeviz_dial", "moeviz_plot", "moeviz_plot",
    ]  # fmt: skip
    assert {n: page.query_params[n] for n in ("prompt", "most", "seed")} == {
        "prompt": PROMPT, "most": str(MOST), "seed": "3",
    }  # fmt: skip


def test_the_overflow_of_the_batch_is_that_of_the_trace(truth):
    page = until(visit(factor=0.5), "finished")
    trace = truth[-1].trace
    row, tokens = trace.shape[0] // 2, trace.shape[1]
    rate = overflow(trace, CapacityRule(0.5, "vmoe")).rate
    layer = trace.layers[row]
    assert f"Of the {tokens} tokens so far, {percent(rate[row])} of the" in said(page)
    assert f"overflow in layer {layer}; chance alone gives" in said(page)
    history = page.session_state["live"].history
    assert [point.tokens for point in history] == list(range(tokens - MOST, tokens + 1))
    np.testing.assert_allclose(history[-1].rate, rate)


def test_prompt_and_rest_are_told_apart(truth):
    page = until(visit(), "finished")
    trace = truth[-1].trace
    read, written = (trace.experts[:, trace.tokens.generated == when] for when in (False, True))
    counts = np.array([[np.bincount(layer.ravel(), minlength=16) for layer in part]
                       for part in (read, written)])  # fmt: skip
    layer = int(divergence_bits(counts.swapaxes(0, 1)).argmax())
    assert f"layer {trace.layers[layer]} differs most" in said(page).replace("Layer", "layer")
    assert "chance gives" in said(page)


def test_a_group_larger_than_the_text_is_one_sentence(truth):
    page = until(visit(group=5000), "finished")
    tokens = truth[-1].trace.shape[1]
    assert [read([i.value]) for i in page.info] == [
        f"A group of 5,000 tokens is larger than the text, which has {tokens}."
    ]
    assert not page.exception


def test_a_text_can_be_held_continued_and_stopped(model):
    page = visit(most=1500)
    press(page, "Pause")
    until(page, "paused")
    count = len(page.session_state["live"].reel.ids)
    assert {"Continue", "Stop"} <= set(labels(page))
    time.sleep(0.2)
    assert len(page.run().session_state["live"].reel.ids) == count
    press(page, "Continue")
    assert page.session_state["live"].state == "running"
    press(page, "Stop")
    until(page, "finished")
    here = page.session_state["live"]
    assert count < len(here.reel.ids) < 1500
    whole = moeviz.generate(model, PROMPT, 1500, temperature=0.8, top_p=0.95, seed=3)
    expected = [step.id for step, _ in zip(whole, here.reel.ids, strict=False)]
    assert here.reel.ids == expected
    assert here.trace.tokens.ids[-len(expected) :].tolist() == expected
    assert here.trace.tokens.generated.sum() == len(expected)


@pytest.mark.parametrize("label", ["Explore", "Capacity"])
def test_the_result_opens_on_the_other_pages(truth, label):
    page = until(visit(), "finished")
    press(page, f"Open in {label}")
    assert not page.exception
    kept = page.session_state["kept_traces"]
    assert [found.origin for found in kept.values()] == ["generated"]
    assert truth[-1].trace.key in kept
    assert any("generated trace" in read([i.value]) for i in page.info)


@pytest.mark.parametrize(
    ("wish", "sentence"),
    [
        ({"prompt": "  "}, "There is no text yet. Type or paste some, or pick an example."),
        (
            {"most": 2000, "prompt": "word " * 200},
            "takes at most 2,048 in all.",
        ),
    ],
)
def test_what_cannot_be_written_is_one_sentence_and_the_text_stays(truth, wish, sentence):
    page = until(visit(), "finished")
    for name, value in wish.items():
        field = page.text_area if name == "prompt" else page.number_input
        field(key=name).set_value(value)
    press(page, "Write")
    (error,) = page.error
    assert error.value.replace("\\", "").endswith(sentence)
    assert page.session_state["live"].reel.ids == [step.id for step in truth]


def test_another_prompt_ends_the_one_before():
    page = visit(most=1500)
    before = page.session_state["live"]
    page.text_area(key="prompt").set_value("Le boulanger")
    page.number_input(key="most").set_value(5)
    press(page, "Write")
    until(page, "finished")
    assert page.session_state["live"].reel.prompt.source == "Le boulanger"
    end = time.monotonic() + 20
    while before.writing._thread is not None and time.monotonic() < end:
        time.sleep(0.05)
    assert before.writing._thread is None


def test_two_visitors_see_only_their_own():
    one, other = visit(prompt="One visitor"), visit(prompt="Another one")
    until(one, "finished"), until(other, "finished")
    assert one.session_state["live"].reel.prompt.source == "One visitor"
    assert other.session_state["live"].reel.prompt.source == "Another one"


def test_nonsense_in_a_link_is_passed_over():
    page = until(visit(most="<b>", temperature="hot", top_p=7, layer="x", step="-1"), "finished")
    assert not page.exception
    assert page.session_state["live"].draft.temperature == 0.8
    assert page.session_state["live"].step is None
