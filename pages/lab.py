"""Lab: who would go where if the same router logits were read by other rules?"""

import streamlit as st

from moeviz.trace import RoutingTrace
from moeviz.ui import ask, explore, lab, lab_runs, lab_setting, links, session
from moeviz.ui.components import wire
from moeviz.ui.door import through_door
from moeviz.ui.terms import lead

through_door("lab")
links.open_link()
facts = ask.model_bar()
st.title("What if the router chose by other rules?", anchor=False)
lead(
    "A router only gives every token a logit for every expert. Who takes whom is a rule on top, "
    "and a dozen are in use. Here they all read the same logits of your text."
)
trace = ask.asked_trace()


@st.fragment
def look(trace: RoutingTrace) -> None:
    """Pick, compute, draw: the part that runs again on every click."""
    wish = lab.current_lab()
    view = links.current_view(trace)
    lab.toolbar(trace, view, wish)
    if lab.has_logits(trace, view.row):
        found = lab.results(trace, view, wish)
        shown = lab.at_moment(trace, view, wish, found)
        lab.finding(trace, view, shown)
        lab.grids(trace, view, wish, shown)
        lab.balancing(trace, view, wish, found)
        lab.every_algorithm(trace, view, wish, lab_runs.expert_parameters(trace, view.row))
        lab_runs.in_force(trace, view, wish)
    wire(view, st.session_state.get("step", 0), session.visit())
    links.write_link(trace, view, lab_setting.to_link(wish))


if trace is not None:
    ask.introduce(trace, facts)
    look(trace)
    explore.downloads(trace)
