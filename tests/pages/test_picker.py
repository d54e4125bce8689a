"""Choosing a model: what is here, what a load takes and how it can be done, and letting go."""

import gc
import shutil
import weakref
from pathlib import Path

import pytest
from huggingface_hub import constants
from streamlit.testing.v1 import AppTest

from moeviz.models.plan import devices
from moeviz.ui import ask, session
from moeviz.ui.at_hand import cached_models
from moeviz.ui.markdown import plain
from moeviz.ui.shelf import shelf

APP = Path(__file__).parent.parent.parent / "app.py"


@pytest.fixture
def page():
    return AppTest.from_file(APP, default_timeout=120)


@pytest.fixture
def cached(folder, tmp_path, monkeypatch):
    """The tiny model as a hub model in the cache, and the only one there."""
    repo = tmp_path / "hub" / "models--org--tiny"
    snapshot = repo / "snapshots" / ("b" * 40)
    snapshot.parent.mkdir(parents=True)
    shutil.copytree(folder, snapshot)
    (repo / "refs").mkdir()
    (repo / "refs" / "main").write_text("b" * 40)
    (repo / "blobs").mkdir()
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    cached_models.clear()
    yield "org/tiny"
    cached_models.clear()
    shelf().drop("org/tiny")


def press(page, label: str):
    return next(b for b in page.button if b.label.replace("\\", "") == label).click().run()


def infos(page) -> list[str]:
    return [i.value.replace("\\", "") for i in page.info]


def test_models_of_the_cache_are_listed_and_one_click_away(page, cached):
    page.run()
    labels = [option.replace("\\", "") for option in page.radio(key="picked_model").options]
    assert labels[0] == session.default_model()
    assert labels[1].startswith("org/tiny · ")
    assert labels[1].endswith("KB")
    assert page.radio(key="picked_model").value == session.default_model()
    page.radio(key="picked_model").set_value(cached).run()
    assert not page.error
    assert page.session_state["shown"][0] == cached
    assert "org/tiny · 3 routed layers" in page.session_state["facts"]
    assert page.radio(key="picked_model").value == cached


def test_a_load_is_put_with_size_format_and_device_before_it_begins(page, cached, monkeypatch):
    monkeypatch.setattr(ask, "ASK_FIRST", 1000)
    page.run()
    page.text_input(key="model_field").set_value(cached)
    press(page, "Load")
    assert cached not in shelf()
    assert "Its weights need 0.3 MB in float32 on cpu" in infos(page)[0]
    assert "downloaded" not in infos(page)[0]
    formats = page.button_group(key="offer_dtype")
    assert list(formats.options) == ["auto", "float32", "bfloat16", "float16"]
    kinds = [c for c in page.button_group if c.key == "offer_device"]
    assert len(kinds) == (len(devices()) > 1)
    formats.set_value("bfloat16").run()
    assert "Its weights need 0.1 MB in bfloat16 on cpu" in infos(page)[0]
    press(page, "Load it")
    wanted = f"{cached}@bfloat16"
    assert page.session_state["shown"][0] == wanted
    assert page.session_state["facts"].startswith("org/tiny · 3 routed layers")
    assert page.session_state["facts"].endswith("bfloat16 on cpu")
    assert page.query_params["model"] == wanted
    assert session.loaded(wanted).dtype == "bfloat16"
    assert not page.info
    shelf().drop(wanted)


def test_a_named_model_says_what_it_takes_and_how_before_it_is_loaded(page, cached, folder):
    page.run()
    page.text_input(key="model_field").set_value(cached).run()
    size = round(Path(folder, "model.safetensors").stat().st_size / 1000)
    takes = [c.value.replace("\\", "") for c in page.caption if "Its weights need" in c.value]
    assert "Its weights need 0.3 MB in float32 on cpu" in takes[0]
    assert takes[0].endswith(f"On disk they take {size} KB.")
    assert cached not in shelf()
    page.button_group(key="model_field_dtype").set_value("bfloat16").run()
    takes = [c.value for c in page.caption if "Its weights need" in c.value]
    assert "0.1 MB in bfloat16 on cpu" in takes[0].replace("\\", "")
    assert page.session_state["shown"][0] == session.default_model()
    press(page, "Load")
    wanted = f"{cached}@bfloat16"
    assert page.session_state["shown"][0] == wanted
    assert not page.error
    assert not page.info
    shelf().drop(wanted)


def test_an_offer_can_be_refused(page, cached, monkeypatch):
    monkeypatch.setattr(ask, "ASK_FIRST", 1000)
    page.run()
    page.text_input(key="model_field").set_value(cached)
    press(page, "Load")
    press(page, "Not now")
    assert not page.info
    assert cached not in shelf()
    assert page.session_state["shown"][0] == session.default_model()


def test_the_operators_own_model_is_not_asked_about(page, cached, monkeypatch):
    monkeypatch.setattr(ask, "ASK_FIRST", 1000)
    monkeypatch.setenv("MOEVIZ_MODEL", cached)
    page.run()
    assert page.session_state["shown"][0] == cached
    assert not page.info


def test_a_model_that_is_unloaded_leaves_memory_and_the_page_goes_home(page, cached):
    page.run()
    page.radio(key="picked_model").set_value(cached).run()
    network = weakref.ref(session.loaded(cached).network)
    assert network() is not None
    press(page, "Unload org/tiny")
    assert page.session_state["shown"][0] == session.default_model()
    assert cached not in shelf()
    gc.collect()
    assert network() is None
    assert not [b for b in page.button if b.label.startswith("Unload")]
    assert plain(cached) not in page.session_state["facts"]
