"""One visitor's long work in a thread of its own: how far it is, a way to stop it, what came."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from moeviz.trace import MoevizError
from moeviz.ui.line import Sharing, as_visitor, visitor

PATIENCE = 90
"""Seconds after which work is given up that no page asks for any more: its tab was closed."""


class Job:
    """`make(progress)` in a thread; progress(done, of) raises `stopped` when nobody waits.

    result: what it made, None until then. trouble: a sentence when it failed, "" otherwise.
    sharing: with how many others it takes turns at the model.
    """

    def __init__(self, make: Callable[[Callable[[int, int], None]], object], stopped: type):
        self.done, self.of = 0, 0
        self.sharing, self._who = Sharing(self._check), visitor()
        self.result: object = None
        self.trouble, self.cancelled = "", False
        self._make, self._stopped, self._seen = make, stopped, time.monotonic()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    @property
    def over(self) -> bool:
        return not self._thread.is_alive()

    def look(self) -> float:
        """Share done, 0 to 1; also tells the work that somebody still waits for it."""
        self._seen = time.monotonic()
        return self.done / self.of if self.of else 0.0

    def cancel(self) -> None:
        """Stop at the next word of progress."""
        self.cancelled = True

    def _run(self) -> None:
        try:
            with as_visitor(self._who, self.sharing):
                self.result = self._make(self._progress)
        except self._stopped:
            self.cancelled = True
        except MoevizError as error:
            self.trouble = str(error)
        except Exception as error:  # whatever a model's own code may raise
            self.trouble = f"The run failed: {error}"

    def _progress(self, done: int, of: int) -> None:
        self.done, self.of = done, of
        self.sharing.step()
        self._check()

    def _check(self) -> None:
        if self.cancelled or time.monotonic() - self._seen > PATIENCE:
            raise self._stopped("The run was stopped.")
