"""What strangers may do on a hosted server: MOEVIZ_HOSTED=1, or `moeviz app --hosted`.

Only the models that the operator named are there; no folder, file or address that a visitor or a
link names is looked at. Texts, tokens, files and visits have limits (moeviz/ui/house.py), each
said where it is met. Code that ships with a model is never run by the app, hosted or not.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Hashable
from dataclasses import replace
from typing import Any, Protocol

import streamlit as st
from streamlit.runtime import exists, get_instance

from moeviz.charts.words import plural
from moeviz.trace import MoevizError
from moeviz.ui.house import (
    longest_text,
    most_megabytes,
    most_sessions,
    most_tokens,
    offered_models,
)
from moeviz.ui.line import visitor

LOOK_AGAIN = 5.0
"""Seconds after which a page without a place asks for one again."""


def check_model(name: str) -> None:
    """Raises MoevizError for a model that is not offered here.

    The one gate: whatever reads a model, its configuration or its size passes it first.
    """
    offered = offered_models()
    if offered is not None and name not in offered:
        shown = name if len(name) <= 100 else name[:100] + "…"
        raise MoevizError(
            f"{shown} is not among the models of this server, which are {', '.join(offered)}."
        )


def may_use(name: str) -> bool:
    """Whether `check_model` lets this model pass."""
    offered = offered_models()
    return offered is None or name in offered


class File(Protocol):
    """What Streamlit hands over of an uploaded file."""

    name: str
    size: int

    def getvalue(self) -> bytes: ...


def check_upload(file: File, own: int) -> None:
    """Raises MoevizError for a file larger than this server takes, where a page takes `own` MB."""
    most = most_megabytes(own)
    if file.size > most * 2**20:
        raise MoevizError(
            f"{file.name} has {file.size / 2**20:,.1f} MB; this server takes files up to {most} MB."
        )


def text_limits() -> str:
    """The limits of a text in one sentence; "" where only the model has any."""
    if offered_models() is None and not most_tokens():
        return ""
    tokens = f", of which {most_tokens():,} tokens are read" if most_tokens() else ""
    return f"This server takes texts of up to {longest_text():,} characters{tokens}."


def within_limits(model: Any) -> Any:
    """A LoadedModel that takes no more tokens than visitors may have read."""
    most = most_tokens()
    if not most or 0 < model.max_tokens <= most:
        return model
    return replace(model, max_tokens=most)


class Guests:
    """The visitors who are in. there: whether one still is."""

    def __init__(self, there: Callable[[Hashable], bool]):
        self._there, self._lock = there, threading.Lock()
        self._in: set[Hashable] = set()

    def let_in(self, who: Hashable, most: int) -> bool:
        """Whether `who` is in, or fits in now among `most`."""
        with self._lock:
            self._in = {guest for guest in self._in if self._there(guest)}
            if who not in self._in and len(self._in) >= most:
                return False
            self._in.add(who)
            return True


@st.cache_resource(show_spinner=False)
def guests() -> Guests:
    """The one list of this server."""
    return Guests(lambda who: not exists() or get_instance().is_active_session(who))


def take_a_place() -> None:
    """Called by app.py before any page: where all places are taken, the page says so and waits."""
    most = most_sessions()
    if most and not guests().let_in(visitor(), most):
        st.title("All places are taken")
        st.markdown(
            f"This server takes {plural(most, 'visitor')} at a time. The page opens by itself as "
            "soon as one of them leaves. MoEViz runs on your own machine too."
        )
        _wait(most)
        st.stop()


@st.fragment(run_every=LOOK_AGAIN)
def _wait(most: int) -> None:
    if guests().let_in(visitor(), most):
        st.rerun()
