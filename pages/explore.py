"""Explore: which experts does a model send each piece of your text to?"""

import streamlit as st

from moeviz.trace import RoutingTrace
from moeviz.ui import ask, explore, links
from moeviz.ui.door import through_door

through_door("explore")
links.open_link()
facts = ask.model_bar()
st.title("Which experts read your text?", anchor=False)
intro = ask.intro()
trace = ask.asked_trace()


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
    look(trace)
    explore.downloads(trace)
