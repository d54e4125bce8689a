"""Routing recorded elsewhere, opened in the app: asked about, shown, or refused."""

import io
from pathlib import Path

import numpy as np
import pytest
from streamlit.testing.v1 import AppTest

from moeviz.store.arrays import routing_from
from moeviz.store.files import trace_bytes

APP = Path(__file__).parent.parent.parent / "app.py"
CHOICES = np.random.default_rng(0).random((12, 6, 16)).argsort(axis=-1)[..., :2]
QUESTION = (
    "a.npy: How many experts does a layer have? The file does not say; the highest number in it is "
    "15."
)


def saved(array: np.ndarray) -> bytes:
    file = io.BytesIO()
    np.save(file, array)
    return file.getvalue()


@pytest.fixture(scope="module")
def page():
    """The app with a saved trace on screen, so that no model has to load."""
    app = AppTest.from_file(APP, default_timeout=120).run()
    app.file_uploader[0].upload("x.moetrace", trace_bytes(routing_from(CHOICES[:5], 16)))
    return app.run()


def open_file(page, data: bytes, name: str):
    page.file_uploader[0].upload(name, data)
    return page.run()


def press(page, label: str):
    return next(b for b in page.button if b.label == label).click().run()


def plain(elements) -> list[str]:
    return [each.value.replace("\\", "") for each in elements]


def shown(page):
    return page.session_state["kept_traces"][page.session_state["kept"]].trace


def test_what_the_file_leaves_open_is_asked_and_then_it_opens(page):
    open_file(page, saved(CHOICES), "a.npy")
    assert not page.exception
    assert QUESTION in plain(page.markdown)
    press(page, "Open the file")  # without an answer the question stays
    assert QUESTION in plain(page.markdown)
    page.number_input(key="record_number").set_value(8)
    press(page, "Open the file")
    (wrong,) = plain(page.error)
    assert wrong.startswith("a.npy: Slot ")
    assert wrong.endswith(
        f"but the experts are 0 to 7; {(CHOICES >= 8).mean():.1%} of all slots are so. Check the "
        "number of experts, and that the array is of this model."
    )
    page.number_input(key="record_number").set_value(16)
    press(page, "Open the file")
    assert not page.exception
    assert not page.error
    assert QUESTION not in plain(page.markdown)
    np.testing.assert_array_equal(shown(page).experts, CHOICES.transpose(1, 0, 2))


def test_the_configuration_of_a_named_model_answers_too(page):
    open_file(page, saved(CHOICES), "a.npy")
    page.text_input(key="record_model").set_value("no/such")
    press(page, "Open the file")
    assert plain(page.error) == [
        "No configuration of no/such was found here or on the hub. Give the number instead."
    ]
    page.text_input(key="record_model").set_value("demo")
    press(page, "Open the file")
    assert not page.error
    assert shown(page).source.model == "demo"
    assert shown(page).layers == (0, 1, 2, 3, 4, 5)


def test_a_file_can_be_left(page):
    open_file(page, saved(CHOICES), "a.npy")
    press(page, "Leave it")
    assert QUESTION not in plain(page.markdown)


def test_what_cannot_be_routing_is_refused(page):
    before = shown(page).key
    open_file(page, saved(CHOICES[0]), "a.npy")
    page.number_input(key="record_number").set_value(16)
    press(page, "Open the file")
    assert plain(page.error) == [
        "a.npy: The array has shape (6, 2); [tokens, layers, top-k] is needed, each at least 1."
    ]
    assert shown(page).key == before
    press(page, "Leave it")
    open_file(page, b"token,layer\n1,2\n", "a.csv")
    assert plain(page.error) == [
        "a.csv: A table of routing has the columns token, layer and expert; this one lacks expert, "
        "and has token, layer."
    ]
