"""One continuation under way: written in a thread, read by the visitor's own script."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable, Hashable, Iterator
from typing import TYPE_CHECKING

from moeviz.trace import MoevizError
from moeviz.ui.line import Sharing, as_visitor

if TYPE_CHECKING:
    from moeviz.models.generate import Step

AHEAD = 64
"""Steps that may wait for the visitor; a page that nobody looks at gets no further."""

PATIENCE = 60.0
"""Seconds that the thread waits for a page to collect before it ends, as if paused."""

GLANCE = 0.2
"""Seconds between two looks at whether somebody still waits."""


class _GivenUp(BaseException):
    """Nobody wants the text any more; no model's own code may take it for an error."""


class Writing:
    """A continuation that one visitor started; it can be paused, continued and stopped.

    No thread exists while it is paused, finished or left: the steps to come are held by their
    iterator, which goes when the visitor's session does. The thread touches nothing of Streamlit.

    begin: makes the steps; it is handed the function to ask whether to stop. there: whether the
    visitor is still connected. who: whose turns at the model it takes.
    """

    def __init__(
        self,
        begin: Callable[[Callable[[], bool]], Iterator[Step]],
        there: Callable[[], bool] = lambda: True,
        who: Hashable = None,
    ):
        self.sharing, self._who = Sharing(self._check), who
        self._stopping, self._pausing = threading.Event(), threading.Event()
        self._steps = begin(self._stopping.is_set)
        self._there = there
        self._waiting: queue.Queue[Step] = queue.Queue(AHEAD)
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self._held: Step | None = None
        self._over = False
        self._seconds = 0.0
        self.trouble = ""

    @property
    def running(self) -> bool:
        """Whether further steps come without anybody asking."""
        return self._thread is not None or not self._waiting.empty()

    @property
    def finished(self) -> bool:
        """Whether all is written (or went wrong, see `trouble`) and collected."""
        return self._over and not self.running

    @property
    def seconds(self) -> float:
        """Time spent writing so far, pauses left out."""
        return self._seconds

    def go_on(self) -> None:
        """Write on, from the start or from a pause; nothing changes while it runs."""
        with self._lock:
            self._pausing.clear()
            if self._thread is None and not self._over:
                self._thread = threading.Thread(target=self._run, name="writing", daemon=True)
                self._thread.start()

    def pause(self) -> None:
        """No step after the one that is being made, until `go_on`."""
        self._pausing.set()

    def stop(self) -> None:
        """End here: what is written so far becomes the trace."""
        self._stopping.set()
        self.go_on()

    def give_up(self) -> None:
        """End here without a trace: nobody wants it any more."""
        self._over = True
        self._pausing.set()

    def collect(self) -> list[Step]:
        """The steps made since the last call, in order."""
        found = []
        while True:
            try:
                found.append(self._waiting.get_nowait())
            except queue.Empty:
                return found

    def _run(self) -> None:
        try:
            with as_visitor(self._who, self.sharing):
                while self._one_more():
                    self.sharing.step()
        except _GivenUp:
            with self._lock:
                self._thread = None
        except MoevizError as error:
            self._fail(str(error))
        except Exception as error:  # whatever a model's own code may raise
            words = " ".join(str(error).split())
            self._fail(f"The model stopped writing: {words or type(error).__name__}")

    def _check(self) -> None:
        if self._over:
            raise _GivenUp

    def _one_more(self) -> bool:
        """Make a step and hand it over; False when the thread has ended itself."""
        start = time.monotonic()
        step = self._held or next(self._steps, None)
        self._seconds += time.monotonic() - start
        self._held = step if step is not None and not self._handed_over(step) else None
        with self._lock:
            self._over = self._over or step is None or (step.finished and self._held is None)
            if self._over or self._held is not None or self._pausing.is_set():
                self._thread = None
                return False
        return True

    def _handed_over(self, step: Step) -> bool:
        """Put the step where the page finds it; False when nobody comes for what waits there."""
        end = time.monotonic() + PATIENCE
        while self._there() and not self._over and time.monotonic() < end:
            try:
                self._waiting.put(step, timeout=GLANCE)
                return True
            except queue.Full:
                continue
        return False

    def _fail(self, sentence: str) -> None:
        with self._lock:
            self.trouble, self._over, self._thread = sentence, True, None
