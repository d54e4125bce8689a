"""Computations of one visitor that take longer than a click: in a thread, watched and stopped."""

from __future__ import annotations

import threading
from collections.abc import Callable, Hashable, Iterator
from typing import Any

import streamlit as st

from moeviz.trace import MoevizError
from moeviz.ui.components import ticker
from moeviz.ui.line import Sharing, as_visitor, visitor
from moeviz.ui.live import connected
from moeviz.ui.markdown import plain

TICK = 0.4
"""Seconds between two looks at what is under way."""


class _Stopped(BaseException):
    """Nobody wants the results any more; no model's own code may take it for an error."""


class Trials:
    """Results that come one by one from a thread; it ends when cancelled or when nobody is there.

    mark: what it was asked for; total: how many results there will be; found: those so far.
    who: whose turns at the model it takes; sharing: with how many others.
    """

    def __init__(
        self,
        mark: Hashable,
        steps: Iterator[Any],
        total: int,
        there: Callable[[], bool],
        who: Hashable = None,
    ):
        self.mark, self.total, self.found = mark, total, []
        self.trouble, self.cancelled = "", False
        self.sharing = Sharing(self._check)
        self._steps, self._there, self._who = steps, there, who
        self._thread = threading.Thread(target=self._run, name="trials", daemon=True)
        self._thread.start()

    @property
    def running(self) -> bool:
        return self._thread.is_alive() and not self.cancelled

    @property
    def finished(self) -> bool:
        """Whether all results are there."""
        return not self._thread.is_alive() and not self.cancelled and not self.trouble

    def cancel(self) -> None:
        self.cancelled = True

    def _run(self) -> None:
        try:
            with as_visitor(self._who, self.sharing):
                for result in self._steps:
                    self._check()
                    self.found.append(result)
                    self.sharing.step()
        except _Stopped:
            self.cancelled = True
        except MoevizError as error:
            self.trouble = str(error)
        except Exception as error:  # whatever a model's own code may raise
            self.trouble = f"It stopped: {' '.join(str(error).split()) or type(error).__name__}"
        finally:
            self._steps = iter(())

    def _check(self) -> None:
        if self.cancelled or not self._there():
            raise _Stopped


def trials() -> dict[str, Trials]:
    """This visitor's trials by kind, the newest of each."""
    return st.session_state.setdefault("trials", {})


def start(kind: str, mark: Hashable, steps: Iterator[Any], total: int) -> None:
    """Begin trials in the place of those of this kind; the same are not begun twice."""
    here = trials().get(kind)
    if here is not None and here.mark == mark and (here.running or here.finished):
        return
    if here is not None:
        here.cancel()
    trials()[kind] = Trials(mark, steps, total, connected(), visitor())


def found(kind: str, mark: Hashable) -> Trials | None:
    """Those of this kind if it is for `mark`; one for something else is stopped."""
    here = trials().get(kind)
    if here is None or here.mark != mark:
        if here is not None:
            here.cancel()
        return None
    return None if here.cancelled else here


def progress(kind: str, here: Trials, words: str) -> None:
    """How far they are, with a way to stop them; or what went wrong."""
    if here.trouble:
        st.error(plain(here.trouble))
    elif here.running:
        done = min(len(here.found), here.total)
        far = f"{words}: {done:,} of {here.total:,}{here.sharing.words()}"
        st.progress(done / here.total, plain(far))
        st.button("Cancel", key=f"cancel_{kind}", on_click=here.cancel)


def keep_looking() -> None:
    """Have the fragment run again soon while anything is under way; called at its end."""
    state = st.session_state
    state["looks"] = state.get("looks", 0) + 1
    ticker(TICK if any(here.running for here in trials().values()) else 0, state["looks"])
