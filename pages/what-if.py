"""What if: change the routing and see what the model does."""

import streamlit as st

from moeviz.trace import RoutingTrace
from moeviz.ui import ask, explore, links, session, trials, what_if
from moeviz.ui.components import wire
from moeviz.ui.door import through_door
from moeviz.ui.terms import lead

through_door("what-if")
links.open_link()
facts = ask.model_bar()
st.title("What if the routing were different?", anchor=False)
lead(
    "Looking shows what goes with what; changing shows what matters. Take an expert away, force "
    "one, or turn the router's knobs: the model reads your text again, and every token shows what "
    "it paid."
)
trace = ask.asked_trace()


@st.fragment
def look(trace: RoutingTrace) -> None:
    """Pick, compute, draw: runs again on every click, and by itself while a job runs."""
    what_if.trouble()
    what_if.take_link()
    view = links.current_view(trace)
    what_if.toolbar(trace, view)
    rule = what_if.rule_in_short(what_if.current_rule(trace, view))
    if rule is not None:
        view = what_if.results(trace, view, rule)
    what_if.sweep(trace, view)
    what_if.search(trace, view)
    what_if.writing(rule)
    wire(view, st.session_state.get("step", 0), session.visit())
    links.write_link(trace, view, what_if.to_link())
    trials.keep_looking()


if trace is not None:
    ask.introduce(trace, facts)
    look(trace)
    explore.downloads(trace)
