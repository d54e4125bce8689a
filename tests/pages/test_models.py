"""The Models page, driven without a browser."""

import json
from pathlib import Path

import pytest
from reading import read
from streamlit.testing.v1 import AppTest

from moeviz.charts.facts import facts_sentence
from moeviz.corpora.models import known_facts
from moeviz.models.facts import model_facts
from moeviz.rules.facts import from_json
from moeviz.ui import facts
from moeviz.ui.at_hand import Found

APP = Path(__file__).parent.parent.parent / "app.py"


@pytest.fixture
def page():
    """The app in this process, turned to the Models page when it first runs."""
    app = AppTest.from_file(APP, default_timeout=120)
    app.switch_page("pages/models.py")
    return app


def said(page) -> str:
    return read(m.value for m in page.markdown)


def test_the_first_visit_explains_a_model_that_people_know(page):
    page.run()
    assert not page.exception
    assert (
        "Mixtral 8x7B has 46.7 B parameters, and one token uses 12.9 B of them (28 %): in 32 of "
        "32 layers it goes to 2 of 8 experts." in said(page)
    )
    assert "Its authors say 46.7 B in all and 12.9 B for a token." in said(page)


def test_a_link_opens_its_model(page):
    page.query_params["of"] = "DeepSeek-V3"
    page.run()
    assert facts_sentence(from_json(known_facts()["DeepSeek-V3"])) in said(page)


def test_any_name_can_be_asked_for(page, folder):
    page.run()
    page.text_input(key="facts_of").set_value(folder).run()
    assert facts_sentence(model_facts(folder)) in said(page)


def test_a_cached_model_is_one_pick_away(page, folder, monkeypatch):
    monkeypatch.setattr(facts, "cached_models", lambda: (Found(folder, 1000),))
    page.run()
    page.selectbox(key="facts_cached").set_value(folder).run()
    assert facts_sentence(model_facts(folder)) in said(page)
    page.selectbox(key="known").set_value("DBRX").run()
    assert page.selectbox(key="facts_cached").value is None
    assert "DBRX has" in said(page)
    assert "1,000 tokens take 164 MB in 16 bits" in said(page)


def test_a_name_that_leads_nowhere_keeps_the_page(page):
    page.run()
    page.text_input(key="facts_of").set_value("/no/such/folder").run()
    assert page.error[0].value.replace("\\", "") == (
        "There is no folder /no/such/folder. Check the path, or give a hub id."
    )
    assert "Mixtral 8x7B has 46.7 B parameters" in said(page)


def test_a_file_is_let_go_when_another_model_is_chosen(page):
    page.run()
    config = {"model_type": "mixtral", "num_local_experts": 4, "num_hidden_layers": 2}
    file = ("mine.json", json.dumps(config).encode(), "application/json")
    page.file_uploader[0].set_value(file).run()
    assert "mine.json has" in said(page)
    page.selectbox(key="known").set_value("DBRX").run()
    assert "DBRX has" in said(page)
    assert "mine.json" not in said(page)
    page.file_uploader[0].set_value(file).run()
    page.text_input(key="facts_of").set_value("demo").run()
    assert "demo has" in said(page)


def test_a_claim_is_checked_as_it_is_typed(page):
    page.run()
    assert "That is usual" in page.success[0].value
    page.number_input(key="claim_active").set_value(5.0).run()
    assert "5 B is less" in page.error[0].value.replace("\\", "")
    page.number_input(key="claim_active").set_value(None).run()
    notes = [read([note.value]) for note in page.info]
    assert any("Not said: the active parameters" in note for note in notes)
