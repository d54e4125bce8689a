"""Explore: which experts does a model send each piece of your text to?"""

import streamlit as st

from moeviz.charts.words import model_sentence
from moeviz.trace import RoutingTrace
from moeviz.ui import explore, session

explore.open_link()
bar = st.container()
st.title("Which experts read your text?", anchor=False)
intro = st.container()
explore.text_box()
explore.link_notes()
trouble_slot, notes = st.empty(), st.container()

with explore.waiting(trouble_slot):
    trace, trouble = session.shown_trace()
if trouble:
    trouble_slot.error(explore.plain(trouble))


@st.fragment
def look(trace: RoutingTrace) -> None:
    """Pick, compute, draw: the part that runs again on every click."""
    view = explore.current_view(trace)
    explore.toolbar(trace, view)
    explore.finding(trace, view)
    explore.figures(trace, view)
    explore.write_link(trace, view)


with bar:
    explore.model_bar()
if trace is not None:
    intro.markdown(explore.plain(model_sentence(trace)))
    for note in (*trace.source.notes, session.text_note(trace.tokens.source)):
        if note:
            notes.warning(explore.plain(note))
    look(trace)
    explore.downloads(trace)
