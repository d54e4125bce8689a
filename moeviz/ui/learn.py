"""The Learn page: its lessons, in the order of a workshop, each with its link."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import streamlit as st

from moeviz.lessons.stored import lesson_trace
from moeviz.trace import RoutingTrace
from moeviz.ui.components import handout
from moeviz.ui.lessons import balance, basics, purpose, wider


@dataclass(frozen=True)
class Lesson:
    """title: as a question. short: on its button. minutes: to plan a workshop."""

    title: str
    short: str
    minutes: int
    draw: Callable[[RoutingTrace], None]


LESSONS = {
    "sparse": Lesson("Why is a big model not slow?", "Sparse", 5, basics.sparse),
    "router": Lesson("How does a router decide?", "The router", 8, basics.router),
    "top-k": Lesson("How many experts does a token need?", "Top-k", 6, basics.top_k),
    "purpose": Lesson("What is an expert for?", "Purpose", 8, purpose.purpose),
    "balance": Lesson("Why do experts starve?", "Balance", 10, balance.balancing),
    "capacity": Lesson("What if an expert is full?", "Capacity", 8, balance.capacity),
    "algorithms": Lesson("Who chooses whom?", "Other rules", 6, balance.algorithms),
    "serving": Lesson("What does serving it cost?", "Serving", 6, wider.serving),
    "ensembles": Lesson("Is it just an ensemble?", "Ensembles", 6, wider.ensembles),
    "history": Lesson("Where does it come from?", "History", 4, wider.history),
    "glossary": Lesson("What do the words mean?", "Glossary", 2, wider.glossary),
}
"""By name in links, in the order of teaching."""


def choose() -> str:
    """The lesson that the reader wants: from the link, or by its button."""
    state, linked = st.session_state, st.query_params.get("lesson")
    if linked in LESSONS and linked != state.get("lesson_linked"):
        state["lesson"] = state["lesson_linked"] = linked
    state.setdefault("lesson", next(iter(LESSONS)))
    name = st.segmented_control(
        "Lesson", list(LESSONS), key="lesson", required=True, wrap=True,
        format_func=lambda name: LESSONS[name].short, label_visibility="collapsed",
    )  # fmt: skip
    if name != linked:
        state["lesson_linked"] = name
        st.query_params.from_dict({"lesson": name})
    return name


def teach(name: str) -> None:
    """One lesson, and the way to the next."""
    st.header(LESSONS[name].title, anchor=False)
    LESSONS[name].draw(lesson_trace())
    names = list(LESSONS)
    place = names.index(name)
    if place + 1 < len(names):
        following = names[place + 1]
        st.button(
            f"Next: {LESSONS[following].short}", on_click=_turn_to, args=(following,),
            key="next_lesson", type="primary",
        )  # fmt: skip
    handout()


def _turn_to(name: str) -> None:
    st.session_state["lesson"] = name
