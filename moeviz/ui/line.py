"""Waiting for the model while others use it: who waits, what they read, and how they leave."""

from __future__ import annotations

import time
from collections.abc import Callable, Hashable, Iterator
from contextlib import ExitStack, contextmanager
from contextvars import ContextVar
from typing import Protocol

import streamlit as st
from streamlit.runtime.scriptrunner import get_script_run_ctx

from moeviz.charts.words import plural

PATIENCE = 0.5
"""Seconds of waiting that nobody needs to be told of."""

STEADY = 1.0
"""Seconds that a sentence stays as it is, so that it can be read."""


class Board(Protocol):
    """Where a visitor reads how many come first."""

    def tell(self, sentence: str) -> None: ...

    def wipe(self) -> None: ...


_BOARD: ContextVar[Board | None] = ContextVar("board", default=None)


def visitor() -> Hashable:
    """Whose script this is; a name of its own for each session, None for no page's script."""
    context = get_script_run_ctx(suppress_warning=True)
    return context.session_id if context else None


@contextmanager
def told_on(board: Board) -> Iterator[None]:
    """While open, whoever waits for a model is told so on `board`; otherwise beside a spinner."""
    token = _BOARD.set(board)
    try:
        yield
    finally:
        _BOARD.reset(token)


@contextmanager
def in_line() -> Iterator[None]:
    """While open, this script's runs of a model take turns with those of other visitors.

    Whoever waits is told how many come first. A click on anything else, or closing the page, gives
    up the place.
    """
    who = visitor()
    if who is None:
        yield
        return
    board = _BOARD.get() or _Spinner()
    try:
        with as_visitor(who, _Words(board)):
            yield
    finally:
        board.wipe()


class _Words:
    """Keeps the sentence up to date, and ends the wait of those who leave."""

    def __init__(self, board: Board):
        self._board, self._told, self._since = board, 0, 0.0

    def __call__(self, before: int) -> None:
        st.session_state.get("visit")  # a look at it is where Streamlit may end the script
        if before == 0:
            self._board.wipe()
            self._told = self._since = 0
        elif not self._since:
            self._since = time.monotonic()
        elif before != self._told and self._waited(STEADY if self._told else PATIENCE):
            self._board.tell(waiting_words(before))
            self._told, self._since = before, time.monotonic()

    def _waited(self, seconds: float) -> bool:
        return time.monotonic() - self._since > seconds


class _Spinner:
    def __init__(self) -> None:
        self._drawn = ExitStack()

    def tell(self, sentence: str) -> None:
        self.wipe()
        self._drawn.enter_context(st.spinner(sentence))

    def wipe(self) -> None:
        self._drawn.close()


def waiting_words(before: int) -> str:
    """How many runs come first, in a sentence."""
    verb = "comes" if before == 1 else "come"
    return f"Others are using the model: {plural(before, 'run')} {verb} before yours."


@contextmanager
def as_visitor(who: Hashable, watch: Callable[[int], None]) -> Iterator[None]:
    """While open, a background thread's runs of a model are turns of `who`."""
    from moeviz.models.turns import taking_turns  # late: torch takes seconds

    with taking_turns(who, watch):
        yield


class Sharing:
    """How a background job shares the model: others is how many it last took turns with.

    check: called while it waits; it raises when the job is to end.
    """

    def __init__(self, check: Callable[[], None]):
        self.others, self._most, self._check = 0, 0, check

    def __call__(self, before: int) -> None:
        self._check()
        self._most = max(self._most, before)

    def step(self) -> None:
        """One step is done."""
        self.others, self._most = self._most, 0

    def words(self) -> str:
        """What to add to a line on the job's progress, "" while it has the model to itself."""
        return f", in turns with {plural(self.others, 'other')}" if self.others else ""
