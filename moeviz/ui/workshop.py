"""The teacher's page: a plan with links, large type, and what to start the server with."""

from __future__ import annotations

import streamlit as st

from moeviz.lessons.plan import PLANS, clock
from moeviz.ui.components import handout
from moeviz.ui.house import LONGEST_TEXT, hidden_pages, longest_text, way_to
from moeviz.ui.markdown import plain
from moeviz.ui.terms import lead, note

HEAVY = {
    "generate": "Generate",
    "compare": "Compare",
    "specialise": "Specialise",
    "what-if": "What if",
    "lab": "Lab",
    "contrast": "Contrast",
    "models": "Models",
}
"""Pages that a teacher may want to leave out: their name in addresses, and on screen."""


def plan() -> None:
    """The steps of a workshop of the chosen length, each with its link."""
    minutes = st.segmented_control(
        "Length", list(PLANS), default=60, required=True, key="plan_minutes",
        format_func=lambda m: f"{m} minutes",
    )  # fmt: skip
    tasks = PLANS[minutes]
    rows = st.container(key="plan", gap="small")
    for start, task in zip(clock(tasks), tasks, strict=True):
        with rows.container(horizontal=True, vertical_alignment="center", gap="small"):
            st.markdown(f"**{start}**", width=56)
            st.caption(f"{task.minutes} min", width=56)
            if task.page in hidden_pages():
                st.markdown(plain(task.what))
            else:
                way_to(task.page, task.what, query_params=dict(task.link))
    note(
        "Every lesson asks before it shows: let people commit to an answer, then open it together. "
        "The address of any page brings back what is on it, so send links as you go."
    )


def presenter() -> None:
    """Large type on every page, for a projector."""
    st.header("On the projector", anchor=False)
    st.session_state.setdefault("presenting", False)
    st.session_state["presenter"] = st.session_state["presenting"]
    st.toggle("Presenter's view: larger type on all pages of this tab", key="presenter",
              on_change=_present)  # fmt: skip
    handout()
    note("The hand-out is one file that opens without a server; every page can make one.")


def _present() -> None:
    st.session_state["presenting"] = st.session_state["presenter"]


def for_everybody() -> None:
    """How thirty people use one laptop, and what can be limited."""
    st.header("For a room full of people", anchor=False)
    lead(
        "One laptop serves the room: start the app with the command below and give out the "
        "*Network URL* that it prints. The demo model needs no GPU and no internet. Everybody has "
        "a session of their own; nobody sees another's text."
    )
    left, right = st.columns(2)
    hide = left.multiselect("Leave out pages", list(HEAVY), format_func=HEAVY.get, key="hide")
    most = right.number_input("Longest text, characters", 100, LONGEST_TEXT, 4000, 100,
                              key="most_characters")  # fmt: skip
    options = (f" --hide {','.join(hide)}" if hide else "") + f" --max-characters {most}"
    st.code(f"moeviz app{options}", language="bash")
    out = ", ".join(sorted(hidden_pages())) or "none"
    note(
        f"This server was started with: pages left out {out}; texts up to "
        f"{longest_text():,} characters."
    )
