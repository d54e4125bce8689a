"""A callback that has begun ends, though the visitor clicks again meanwhile."""

import pytest
from streamlit.runtime.state import SafeSessionState, SessionState

from moeviz.ui.clicks import finish_callbacks


class Interrupted(Exception):
    """What Streamlit raises where the page is to run again."""


def interrupt():
    raise Interrupted


def test_callbacks_end_and_the_page_yields_after_them(monkeypatch):
    finish_callbacks()
    session = SessionState()
    state = SafeSessionState(session, interrupt)

    def callback(*_, **__):
        state["asked"] = "sweep"
        state["job"] = state["asked"]

    monkeypatch.setattr(SessionState, "on_script_will_rerun", callback)
    state.on_script_will_rerun(None)
    assert session["job"] == "sweep"
    with pytest.raises(Interrupted):
        state["job"]


def test_a_callback_that_fails_leaves_the_page_able_to_yield(monkeypatch):
    finish_callbacks()
    session = SessionState()
    state = SafeSessionState(session, interrupt)

    def callback(*_, **__):
        raise ValueError

    monkeypatch.setattr(SessionState, "on_script_will_rerun", callback)
    with pytest.raises(ValueError):
        state.on_script_will_rerun(None)
    with pytest.raises(Interrupted):
        state["job"] = "sweep"
