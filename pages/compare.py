"""Compare: two texts, models or moments side by side, and what differs between them."""

import streamlit as st

from moeviz.trace import RoutingTrace
from moeviz.ui import against, ask, compare, links, session, side_b
from moeviz.ui.components import wire
from moeviz.ui.door import through_door
from moeviz.ui.terms import lead

through_door("compare")
links.open_link()
facts = ask.model_bar()
st.title("What changes between two runs?", anchor=False)
lead(
    "Set what is on screen (A) beside something else (B) and see which tokens go to other "
    "experts, which experts gain or lose, and how much of that chance would do."
)
chosen = against.current()
side_b.way_choice(chosen)
moments = chosen.way == "moment"
trace = None if moments else side_b.two_sides(chosen)


@st.fragment
def look(trace: RoutingTrace | None) -> None:
    """Pick, compute, draw: the part that runs again on every click."""
    if moments:
        side_b.moment_choice(against.current())
    chosen = against.current()
    found = compare.found_sides(trace, chosen)
    subject = found.a if trace is None else trace
    view = links.current_view(subject)
    if found is not None:
        compare.show(found, view, chosen)
    wire(view, st.session_state.get("step", 0), session.visit())
    links.write_link(subject, view, compare.link(chosen))


if trace is not None or moments:
    if trace is not None:
        ask.introduce(trace, facts)
    look(trace)
