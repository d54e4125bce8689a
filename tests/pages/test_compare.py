"""The Compare page's own logic, driven without a browser, on the demo model."""

import dataclasses
import shutil
from pathlib import Path

import numpy as np
import pytest
from reading import read
from streamlit.testing.v1 import AppTest

import moeviz
from moeviz.charts import compare_words as words
from moeviz.corpora.passages import passage_choices, passage_tokens, passages_in
from moeviz.metrics.difference import difference
from moeviz.metrics.likeness import likeness
from moeviz.metrics.runs import Run, prompt_and_generated
from moeviz.store.files import trace_bytes
from moeviz.trace import Provenance, RouterSpec
from moeviz.ui import session
from moeviz.ui.against import IN_ENGLISH, PAIRS
from moeviz.ui.examples import EXAMPLES, MIXED
from moeviz.ui.view import layer_labels

APP = Path(__file__).parent.parent.parent / "app.py"


@pytest.fixture(scope="module")
def model():
    return moeviz.load_model(session.default_model())


@pytest.fixture(scope="module")
def truth(model):
    return lambda text: moeviz.trace_text(model, text)


@pytest.fixture
def page():
    """The app in this process, turned to the Compare page when it first runs."""
    app = AppTest.from_file(APP, default_timeout=120)
    app.switch_page("pages/compare.py")
    return app


def said(page) -> str:
    return read(m.value for m in page.markdown)


def drawn(page) -> int:
    """Pictures on the page, the wire left out."""
    return len(page.get("bidi_component")) - 1


def press(page, label: str):
    return next(b for b in page.button if b.label == label).click().run()


def choose(page, way: str):
    return page.button_group(key="b_way").set_value(way).run()


def expected(a, b, row: int | None = None, **rest) -> tuple[str, str]:
    """The headline and the layer's sentence, from runs made in this process."""
    found, labels = difference(a, b, **rest), layer_labels(a)
    row = a.shape[0] // 2 if row is None else row
    return words.headline(found, labels), words.layer_sentence(found, row, labels[row])


def test_the_first_visit_compares_the_text_with_its_english_version(page, truth):
    page.run()
    assert not page.exception
    headline, layer = expected(truth(MIXED), truth(IN_ENGLISH))
    assert headline.startswith("Layer ")  # more than chance, so the page says something at once
    assert headline in said(page)
    assert layer in said(page)
    assert drawn(page) == 8
    assert dict(page.query_params) == {}


def test_a_pair_sets_both_texts_and_its_link_brings_them_back(page, truth):
    page.run()
    page.button_group(key="b_pair").set_value("One word changed").run()
    one, other = PAIRS["One word changed"]
    headline, _ = expected(truth(one), truth(other))
    assert headline in said(page)
    link = {name: page.query_params[name] for name in ("text", "b")}
    assert link == {"text": [one], "b": [other]} or link == {"text": one, "b": other}
    fresh = AppTest.from_file(APP, default_timeout=120)
    fresh.switch_page("pages/compare.py")
    fresh.query_params["text"], fresh.query_params["b"] = one, other
    fresh.run()
    assert fresh.text_area(key="text").value == one
    assert fresh.text_area(key="b_text").value == other
    assert headline in said(fresh)


def test_another_text_is_compared_and_nonsense_leaves_the_last_one(page, truth):
    page.run()
    page.text_area(key="b_text").set_value("Some words of my own.")
    press(page, "Compare")
    headline, _ = expected(truth(MIXED), truth("Some words of my own."))
    assert headline in said(page)
    page.text_area(key="b_text").set_value("  ")
    press(page, "Compare")
    assert page.error[0].value.replace("\\", "") == (
        "There is no text yet. Type or paste some, or pick an example."
    )
    assert headline in said(page)


def test_the_layer_is_shared_and_the_colouring_is_in_the_link(page, truth):
    page.query_params["layer"] = "1"
    page.query_params["shade"] = "expert"
    page.run()
    _, layer = expected(truth(MIXED), truth(IN_ENGLISH), row=1)
    assert layer in said(page)
    assert page.button_group(key="b_shade").value == "expert"
    page.button_group(key="b_shade").set_value("change").run()
    assert "shade" not in page.query_params
    page.switch_page("pages/explore.py").run()
    assert page.button_group(key="layer").value == "1"


def test_moments_of_training_need_no_model(page):
    page.query_params["against"] = "moment"
    page.query_params["moments"] = "2-9"
    page.query_params["passages"] = "fr"
    page.run()
    assert not page.exception
    places = passages_in("fr")
    tokens, choices = passage_tokens(places), passage_choices(places)
    runs = [
        Run("m", choices[m], tokens, RouterSpec(16, 2), Provenance("demo"), tuple(range(6)))
        for m in (2, 9)
    ]
    headline, layer = expected(*runs)
    assert headline in said(page)
    assert layer in said(page)
    assert drawn(page) == 9
    assert not page.text_area
    page.button_group(key="b_passages").set_value("code").run()
    assert headline not in said(page)
    assert page.query_params["passages"] == ["code"] or page.query_params["passages"] == "code"
    page.switch_page("pages/explore.py").run()
    assert page.button_group(key="cells").value == "probability"  # moments have gates only
    page.button_group(key="cells").set_value("gate").run()
    page.text_area(key="text").set_value("a new text")
    press(page, "Run")
    assert page.button_group(key="cells").value == "gate"  # chosen, so kept


def test_what_the_model_writes_is_set_beside_its_prompt(page, model):
    page.query_params["text"] = EXAMPLES["English"]
    page.query_params["against"] = "generated"
    page.run()
    assert not page.exception
    *_, last = moeviz.generate(model, EXAMPLES["English"], 40, temperature=1.0, seed=0)
    prompt, rest = prompt_and_generated(last.trace)
    assert len(rest.tokens) == 40
    headline, layer = expected(prompt, rest, linked=False)
    assert headline in said(page)
    assert layer in said(page)
    press(page, "Write again")
    assert page.query_params["bseed"] == ["1"] or page.query_params["bseed"] == "1"
    assert headline not in said(page)


def test_a_generated_trace_falls_into_the_same_two_parts(page, model):
    *_, last = moeviz.generate(model, "Once there was a", 20, temperature=1.0)
    page.query_params["against"] = "generated"
    page.run()
    page.file_uploader[0].upload("written.moetrace", trace_bytes(last.trace))
    page.run()
    assert not page.exception
    headline, _ = expected(*prompt_and_generated(last.trace), linked=False)
    assert headline in said(page)
    assert "The part of this trace that the model wrote itself" in said(page)


def test_another_model_is_compared_without_naming_experts(page, truth, folder):
    page.run()
    choose(page, "model")
    assert (
        read([page.info[0].value])
        == "Name a model on side B: a hub id, or a folder on this machine."
    )
    page.text_input(key="b_model").set_value(folder)
    press(page, "Load B")
    assert not page.exception
    a, b = truth(MIXED), moeviz.trace_text(moeviz.load_model(folder), MIXED, truncate=True)
    found = likeness(a, b)
    assert words.likeness_headline(found, (layer_labels(a), layer_labels(b))) in said(page)
    assert "are strangers" in said(page)
    assert "Expert " not in said(page).replace("Expert 3 of one", "")
    page.checkbox(key="b_kin").set_value(True).run()
    assert page.error[0].value.replace("\\", "") == (
        "The two runs have different experts (layers of experts: 6 of up to 16, and 3 of up to 8), "
        "so they cannot be compared expert by expert. Use likeness to compare two models."
    )


def test_a_link_loads_no_second_model_by_itself(page, folder, tmp_path):
    folder = shutil.copytree(folder, tmp_path / "unseen")  # which no other test has loaded
    page.query_params["against"] = "model"
    page.query_params["bmodel"] = str(folder)
    page.run()
    assert drawn(page) == 0
    press(page, "Load it for B")
    assert drawn(page) == 6


def test_a_model_that_is_none_is_one_sentence(page):
    page.run()
    choose(page, "model")
    page.text_input(key="b_model").set_value("/nowhere/at/all")
    press(page, "Load B")
    assert len(page.error) == 1
    assert not page.exception


def test_a_saved_trace_of_another_format_is_compared_with_a_warning(page, truth):
    saved = truth(IN_ENGLISH)
    saved = dataclasses.replace(
        saved, source=dataclasses.replace(saved.source, dtype="bfloat16", rule="capacity 1.25")
    )
    page.run()
    choose(page, "trace")
    assert read([page.info[0].value]).startswith("Open a trace file on side B")
    uploader = next(u for u in page.file_uploader if u.key and u.key.startswith("b_file"))
    uploader.upload("kept.moetrace", trace_bytes(saved))
    page.run()
    headline, _ = expected(truth(MIXED), saved)
    assert headline in said(page)
    assert "bfloat16" in page.warning[0].value
    uploader = next(u for u in page.file_uploader if u.key and u.key.startswith("b_file"))
    uploader.upload("junk.moetrace", b"junk")
    page.run()
    assert page.error[0].value.replace("\\", "").startswith("junk.moetrace is not a trace file")
    assert headline in said(page)


def test_chance_is_beside_every_headline_number(page, truth):
    page.run()
    found = difference(truth(MIXED), truth(IN_ENGLISH))
    row = int(np.argmax(found.bits))
    assert f"chance gives {words.bits(found.low[row])} to {words.bits(found.high[row])}" in said(
        page
    )
