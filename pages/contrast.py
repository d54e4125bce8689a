"""Contrast: which experts tell two kinds of text apart?"""

import streamlit as st

from moeviz.trace import RoutingTrace
from moeviz.ui import ask, contrast, links, session, steer
from moeviz.ui.components import wire
from moeviz.ui.door import through_door
from moeviz.ui.terms import lead

through_door("contrast")
links.open_link()
facts = ask.model_bar()
st.title("Which experts tell two kinds of text apart?", anchor=False)
lead(
    "Give two sets of texts. For every expert, MoEViz compares the share of tokens it reads in "
    "each, and what shuffling the texts between the sets would give."
)
sets = contrast.current_sets()
trace = contrast.model_trace()


@st.fragment
def look(trace: RoutingTrace) -> None:
    """Compute, draw: the part that runs again on every click."""
    view = links.current_view(trace)
    found = contrast.found_contrast(trace, sets)
    if found is not None:
        contrast.finding(trace, found, sets.names)
        contrast.figures(trace, view, found, sets)
        contrast.selected(trace, view, found, sets.names)
        steer.steer(trace, found, sets)
    wire(view, st.session_state.get("step", 0), session.visit())
    links.write_link(trace, view, contrast.to_link(sets))


if trace is not None:
    ask.introduce(trace, facts)
    contrast.ask_sets(sets)
    look(trace)
