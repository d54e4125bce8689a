"""What every lesson is made of: text with linked terms, a question, a way on to the tools."""

from __future__ import annotations

from collections.abc import Mapping

import streamlit as st

from moeviz.charts.picture import Picture
from moeviz.lessons.quizzes import Quiz
from moeviz.trace import RoutingTrace
from moeviz.ui.components import packed, plot
from moeviz.ui.house import way_to
from moeviz.ui.markdown import plain
from moeviz.ui.terms import explained


def say(text: str) -> None:
    """A paragraph of a lesson: our own Markdown, its terms linked to the glossary."""
    st.markdown(explained(text))


def ask(key: str, quiz: Quiz) -> bool:
    """The question, and its answer once the reader has made up their mind.

    Gives whether it was answered: what follows in the lesson may give the answer away.
    """
    with st.container(border=True, key=f"quiz_{key}"):
        st.markdown(f"**Your guess first.** {explained(plain(quiz.question))}")
        guess = st.radio(
            "Your guess", quiz.choices, index=None, key=f"guess_{key}",
            format_func=plain, label_visibility="collapsed",
        )  # fmt: skip
        if guess is None:
            st.caption("Choose an answer to see what really happens.")
            return False
        right = guess == quiz.choices[quiz.answer]
        tell = st.success if right else st.info
        tell(explained(plain(("Right. " if right else "Not quite. ") + quiz.why)))
    return True


def layer_row(trace: RoutingTrace, key: str) -> int:
    """The row of the layer that the reader chose; the middle one at first."""
    layers = list(trace.layers)
    middle = layers[len(layers) // 2]
    chosen = st.segmented_control("Layer", layers, default=middle, required=True, key=key)
    return layers.index(chosen)


def draw(picture: Picture, key: str) -> None:
    """A picture that nothing listens to."""
    plot(packed(picture), key, lambda: None)


def go_on(label: str, page: str, link: Mapping[str, str] | None = None) -> None:
    """A link to the tool page that shows the same state, where this server has that page."""
    way_to(page, label, icon="➡️", query_params=dict(link or {}))
