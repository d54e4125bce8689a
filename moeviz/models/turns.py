"""One model and many who want it: turns that are fair between people, whatever each of them does.

A turn is one forward pass, so long work (a generation, a sweep, a corpus) takes many and others
come in between. Start-time fair queueing (Goyal, Vin and Cheng 1996): next is whoever has used the
model least, counted from the moment they came; among equals, who asked first.
"""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Callable, Hashable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass

GLANCE = 0.1
"""Seconds between two words to somebody who waits."""

Watch = Callable[[int], None]
"""Told while waiting how many come first, 0 when the wait is over. When it raises, the place in
line is given up."""

_TAKER: ContextVar[tuple[Hashable, Watch | None] | None] = ContextVar("taker", default=None)


@contextmanager
def taking_turns(who: Hashable, watch: Watch | None = None) -> Iterator[None]:
    """While open, the turns that this thread takes are those of `who`.

    Without it every thread is somebody of its own. Inside another `taking_turns` nothing changes.
    """
    if _TAKER.get() is not None:
        yield
        return
    token = _TAKER.set((who, watch))
    try:
        yield
    finally:
        _TAKER.reset(token)


@dataclass(frozen=True, eq=False)
class _Place:
    """One in the line: who, and the model's clock and a running number when they came."""

    who: Hashable
    since: float
    number: int


class Turns:
    """A reentrant lock that is fair between people.

    with turns:
        ...  # nobody else runs the model
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic):
        self._clock, self._numbers = clock, itertools.count()
        self._change = threading.Condition()
        self._line: list[_Place] = []
        self._holder: int | None = None
        self._who: Hashable = None
        self._depth, self._began = 0, 0.0
        self._now = 0.0  # the model's clock: what whoever has it had used before this turn
        self._used: dict[Hashable, float] = {}  # of those in line or ahead of that clock

    def __enter__(self) -> Turns:
        self.acquire()
        return self

    def __exit__(self, *_: object) -> None:
        self.release()

    @property
    def waiting(self) -> int:
        """How many stand in line."""
        return len(self._line)

    def acquire(self, blocking: bool = True) -> bool:
        """Wait for a turn; without `blocking`, only take one that is free. Whether it was had."""
        who, watch = _TAKER.get() or (threading.get_ident(), None)
        with self._change:
            if self._holder == threading.get_ident():
                self._depth += 1
                return True
            if not blocking and (self._line or self._holder is not None):
                return False
            place = _Place(who, self._now, next(self._numbers))
            self._line.append(place)
        told = False
        try:
            while not self._granted(place, GLANCE if watch else None):
                watch(self._before(place))
                told = True
            if told:
                watch(0)
        except BaseException:
            self._leave(place)
            raise
        return True

    def release(self) -> None:
        """End a turn; whoever is next takes theirs."""
        with self._change:
            if self._holder != threading.get_ident():
                raise RuntimeError("This thread does not have the turn that it gives back.")
            self._depth -= 1
            if self._depth == 0:
                self._end_turn()

    def _end_turn(self) -> None:
        used = self._now + self._clock() - self._began
        self._used[self._who] = max(used, self._used.get(self._who, 0.0))
        self._holder = self._who = None
        if not self._line:  # all that was used is past: whoever comes next starts level
            self._now = max(self._used.values())
        here = {place.who for place in self._line}
        self._used = {w: used for w, used in self._used.items() if used > self._now or w in here}
        self._change.notify_all()

    def _granted(self, place: _Place, seconds: float | None) -> bool:
        """Whether the turn of `place` has come, waiting for it for so many seconds."""
        with self._change:
            if not self._change.wait_for(lambda: self._is_next(place), seconds):
                return False
            self._now = self._rank(place)[0]
            self._line.remove(place)
            self._holder, self._who = threading.get_ident(), place.who
            self._depth, self._began = 1, self._clock()
            return True

    def _is_next(self, place: _Place) -> bool:
        return self._holder is None and min(self._line, key=self._rank) is place

    def _rank(self, place: _Place) -> tuple[float, int]:
        return max(place.since, self._used.get(place.who, 0.0)), place.number

    def _before(self, place: _Place) -> int:
        """How many turns come before that of `place`, the one under way among them."""
        with self._change:
            mine = self._rank(place)
            return (self._holder is not None) + sum(self._rank(p) < mine for p in self._line)

    def _leave(self, place: _Place) -> None:
        with self._change:
            if place in self._line:
                self._line.remove(place)
                self._change.notify_all()
            elif self._holder == threading.get_ident():
                self._depth = 0
                self._end_turn()
