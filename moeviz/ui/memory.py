"""What the model did for visitors, kept while there is room, each visitor's own apart.

All visitors share one limit in bytes, so that memory stays bounded whatever they paste. Who holds
most makes room first, with what they have not looked at for longest. What goes is run again when
it is asked for. A visitor's part is dropped when their session ends.
"""

from __future__ import annotations

import dataclasses
import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable, Mapping
from typing import Any, TypeVar

import numpy as np
import streamlit as st

from moeviz.ui.house import trace_memory
from moeviz.ui.line import in_line

T = TypeVar("T")


class Visit:
    """Stands for one visitor's session; two are never equal."""


class Memory:
    """Values by visit and key, at most `most` bytes in all; the newest stays, however large."""

    def __init__(self, most: int):
        self._most, self._lock = most, threading.Lock()
        self._kept: dict[Visit, OrderedDict[Hashable, tuple[Any, int]]] = {}

    @property
    def bytes(self) -> int:
        """What is kept now, of all visits."""
        with self._lock:
            return sum(map(self._held, self._kept))

    def get(self, visit: Visit, key: Hashable) -> Any | None:
        """What this visit kept under `key`; None when there is nothing, or no longer."""
        with self._lock:
            mine = self._kept.get(visit, OrderedDict())
            if key not in mine:
                return None
            mine.move_to_end(key)
            return mine[key][0]

    def keep(self, visit: Visit, key: Hashable, value: Any) -> None:
        """Keep `value`, and let go of others until all fit."""
        size = held(value)
        with self._lock:
            mine = self._kept.setdefault(visit, OrderedDict())
            mine.pop(key, None)
            mine[key] = value, size
            while sum(map(self._held, self._kept)) > self._most and self._make_room(visit):
                pass

    def forget(self, visit: Visit) -> None:
        """Let go of everything of this visit."""
        with self._lock:
            self._kept.pop(visit, None)

    def _held(self, visit: Visit) -> int:
        return sum(size for _, size in self._kept[visit].values())

    def _make_room(self, newest: Visit) -> bool:
        """Drop one value of whoever holds most; False when only the newest is left."""
        spare = {v for v in self._kept if len(self._kept[v]) > (v is newest)}
        if not spare:
            return False
        most = max(spare, key=self._held)
        self._kept[most].popitem(last=False)
        if not self._kept[most]:
            del self._kept[most]
        return True


def held(value: Any) -> int:
    """About how many bytes a value holds: those of its arrays, bytes and texts."""
    if isinstance(value, np.ndarray):
        return value.nbytes
    if isinstance(value, bytes | str):
        return len(value)
    if dataclasses.is_dataclass(value):
        return sum(held(getattr(value, field.name)) for field in dataclasses.fields(value))
    if isinstance(value, Mapping):
        return sum(held(key) + held(part) for key, part in value.items())
    if isinstance(value, list | tuple):
        return sum(map(held, value))
    return 8


def once(make: Callable[[], T], *key: Hashable) -> T:
    """What `make()` gives, made once in a session while there is room to keep it."""
    found = memory().get(_visit(), key)
    if found is None:
        found = make()
        memory().keep(_visit(), key, found)
    return found


def run_once(make: Callable[[], T], *key: Hashable) -> T:
    """The same where a model is run: if it is busy, the visitor reads how many come first."""

    def run() -> T:
        with in_line():
            return make()

    return once(run, *key)


@st.cache_resource(show_spinner=False)
def memory() -> Memory:
    """The one memory of this server."""
    return Memory(trace_memory())


@st.cache_resource(
    scope="session", show_spinner=False, on_release=lambda visit: memory().forget(visit)
)
def _visit() -> Visit:
    return Visit()
