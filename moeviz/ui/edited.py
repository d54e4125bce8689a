"""A page that follows the text while it is edited, where the model is quick enough for that."""

from __future__ import annotations

import streamlit as st

from moeviz.charts.words import model_name
from moeviz.rules.words import short_count
from moeviz.trace import RoutingTrace
from moeviz.ui import links, session
from moeviz.ui.components import typed, typing
from moeviz.ui.markdown import plain
from moeviz.ui.served import on_server
from moeviz.ui.terms import note, warn

QUICK = 100_000_000
"""Parameters up to which a model reads a text again at every pause in the typing."""


def edited(trace: RoutingTrace) -> RoutingTrace:
    """The trace of the text as it stands in the box; called first in a fragment.

    trace: of the last full run. What cannot be traced leaves the former trace, with a sentence.
    """
    state, model = st.session_state, session.shown()[0]
    if session.kept() or on_server(model):  # whose text goes out on Run alone
        return trace
    size = session.loaded(model).parameters
    if size > QUICK:
        note(
            f"Press Run to see an edited text: {model_name(model)} has {short_count(size)} "
            "parameters, too many to read it again at every pause in your typing."
        )  # fmt: skip
        return trace
    typing("typing", _take)
    if state.pop("edited", False):
        _, state["edit_trouble"] = session.shown_trace()
    now = session.text_trace(*session.shown())
    if state.get("edit_trouble"):
        st.error(plain(state["edit_trouble"]))
    for sentence in now.source.notes:
        if sentence not in trace.source.notes:
            warn(sentence)
    return now


def start_anew() -> None:
    """Called by a full run, which says by itself what is wrong with a text."""
    st.session_state["edit_trouble"] = ""


def _take() -> None:
    text = typed("typing")
    if text is not None:
        links.nothing_lost()
        session.ask(text=text)
        st.session_state["edited"] = True
