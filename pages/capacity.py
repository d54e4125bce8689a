"""Capacity: what would be lost if every expert had room for only so many tokens?"""

import streamlit as st

from moeviz.trace import MoevizError, RoutingTrace
from moeviz.ui import ask, capacity, consequences, explore, links, session, setting
from moeviz.ui.components import wire
from moeviz.ui.door import through_door
from moeviz.ui.edited import edited, start_anew
from moeviz.ui.evenness import evenness
from moeviz.ui.markdown import plain
from moeviz.ui.terms import lead

through_door("capacity")
links.open_link()
facts = ask.model_bar()
st.title("What if an expert is full?", anchor=False)
lead(
    "Hardware likes equal shares, so many models give each expert room for only so many tokens; "
    "what comes too late is dropped. Choose a rule and see which of your tokens would be lost."
)
trace = ask.asked_trace()


@st.fragment
def look(trace: RoutingTrace) -> None:
    """Pick, compute, draw: the part that runs again when the text, layer or devices change."""
    trace = edited(trace)
    wish = capacity.current_setting()
    view = links.current_view(trace)
    capacity.layer_choice(trace, view)
    under_a_rule(trace, view.row)
    evenness(trace, view, wish)
    consequences.devices(trace, view, wish)
    explore.downloads(trace)


@st.fragment
def under_a_rule(trace: RoutingTrace, row: int) -> None:
    """What the rule drops: the part that runs again on every turn of the dial."""
    wish = capacity.current_setting()
    view = links.current_view(trace)
    if view.row != row:
        st.rerun()  # a figure's click chose another layer, which the rest of the page shows too
    capacity.factor_dial(*capacity.sizes(trace, row), wish.rule)
    capacity.toolbar(wish.rule)
    try:
        found = capacity.found_under(trace, wish.rule)
    except MoevizError as error:
        st.error(plain(str(error)))
    else:
        capacity.finding(trace, view, found)
        capacity.figures(trace, view, found)
        consequences.enforced(trace, view, found)
    wire(view, st.session_state.get("step", 0), session.visit())
    links.write_link(trace, view, setting.to_link(wish))


if trace is not None:
    ask.introduce(trace, facts)
    start_anew()
    look(trace)
