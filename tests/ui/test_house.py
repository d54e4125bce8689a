"""What whoever starts the server may decide for everybody."""

from pathlib import Path

import pytest
from streamlit.testing.v1 import AppTest

from moeviz.trace import MoevizError
from moeviz.ui import house, session

APP = Path(__file__).parent.parent.parent / "app.py"


def test_nothing_is_hidden_by_itself(monkeypatch):
    monkeypatch.delenv("MOEVIZ_HIDE", raising=False)
    assert house.hidden_pages() == frozenset()


def test_pages_are_hidden_by_name(monkeypatch):
    monkeypatch.setenv("MOEVIZ_HIDE", "lab, compare,")
    assert house.hidden_pages() == {"lab", "compare"}


@pytest.mark.parametrize("value", ["", "many", "-3", "0", "²"])
def test_a_limit_that_makes_no_sense_is_none(monkeypatch, value):
    for name in ("MAX_CHARACTERS", "MODELS", "TRACE_MEMORY"):
        monkeypatch.setenv(f"MOEVIZ_{name}", value)
    assert house.longest_text() == house.LONGEST_TEXT
    assert (house.most_models(), house.trace_memory()) == (2, 1_000_000_000)


def test_limits_on_memory(monkeypatch):
    monkeypatch.setenv("MOEVIZ_MODELS", "5")
    monkeypatch.setenv("MOEVIZ_TRACE_MEMORY", "20")
    assert (house.most_models(), house.trace_memory()) == (5, 20_000_000)


def test_the_limit_holds_for_every_text(monkeypatch):
    monkeypatch.setenv("MOEVIZ_MAX_CHARACTERS", "10")
    session.check_text("ten signs!")
    with pytest.raises(MoevizError) as error:
        session.check_text("eleven sign")
    assert str(error.value) == "The text has 11 characters; paste at most 10 at a time."


def test_a_hidden_page_is_not_offered(monkeypatch):
    monkeypatch.setenv("MOEVIZ_HIDE", "lab,what-if")
    app = AppTest.from_file(APP, default_timeout=120)
    app.switch_page("pages/learn.py")
    app.query_params["lesson"] = "top-k"
    app.run()
    quiz = next(radio for radio in app.radio if radio.label == "Your guess")
    quiz.set_value(quiz.options[0].replace("\\", "")).run()
    assert not app.exception
    assert app.table, "the lesson went on"
    assert app.get("page_link") == []
