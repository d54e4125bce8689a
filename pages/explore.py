"""Explore: which experts does a model send each piece of your text to?"""

import streamlit as st

from moeviz.trace import RoutingTrace
from moeviz.ui import ask, explore, links, session
from moeviz.ui.markdown import plain

links.open_link()
facts = ask.model_bar()
st.title("Which experts read your text?", anchor=False)
intro = ask.intro()
ask.text_box()
links.link_notes()
trouble_slot, notes = st.empty(), st.container()

trace, trouble = session.shown_trace(ask.get_ready(trouble_slot))
if trouble:
    trouble_slot.error(plain(trouble))


@st.fragment
def look(trace: RoutingTrace) -> None:
    """Pick, compute, draw: the part that runs again on every click."""
    view = links.current_view(trace)
    explore.toolbar(trace, view)
    explore.finding(trace, view)
    explore.figures(trace, view)
    links.write_link(trace, view)


if trace is not None:
    ask.introduce(trace, facts, intro)
    for note in (*trace.source.notes, session.text_note(trace.tokens.source)):
        if note:
            notes.warning(plain(note))
    look(trace)
    explore.downloads(trace)
