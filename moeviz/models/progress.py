"""How far a load has come, and the chance to stop it."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from tqdm import tqdm
from transformers.utils import logging

Progress = Callable[[str, float], None]
"""Called with what is going on and the share of it done, 0 to 1; may raise LoadCancelled."""

_ONE_LOAD = threading.Lock()


@contextmanager
def reported(progress: Progress | None) -> Iterator[dict]:
    """Passes transformers' own progress bars on to `progress` while open; one load at a time.

    Yields the options that `from_pretrained` needs for it.
    """
    if progress is None:
        yield {}
        return
    bar = _bar(progress)
    with _ONE_LOAD:
        before = logging.set_tqdm_hook(lambda factory, args, kwargs: bar(*args, **kwargs))
        try:
            yield {"tqdm_class": bar}
        finally:
            logging.set_tqdm_hook(before)


def _bar(progress: Progress) -> type:
    class Bar(tqdm):
        """A progress bar that draws nothing and tells `progress`."""

        monitor_interval = 0  # tqdm's watcher thread would hold on to `progress` for good

        def __init__(self, *args, **kwargs):
            kwargs.pop("name", None)
            super().__init__(*args, **{**kwargs, "disable": False, "file": _Nowhere()})
            self._tell()

        def display(self, *_, **__) -> None:
            """Nothing: tqdm calls this with its lock held, so nothing may be raised here."""

        def __iter__(self):
            for item in self.iterable:
                yield item
                self.update()
            self.close()

        def update(self, n=1):
            answer = super().update(n)
            self._tell()
            return answer

        def _tell(self) -> None:
            if self.total:
                progress(self.desc or "Loading", min(1.0, self.n / self.total))

    return Bar


class _Nowhere:
    def write(self, *_: object) -> None:
        pass

    def flush(self) -> None:
        pass
