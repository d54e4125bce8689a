"""Long texts that a visitor keeps on the server for a link, on their own click and for a day.

A text of a visitor lives in that visitor's session. Only when they ask for a link to a text too
long for an address is it kept here, in memory, under its content key: 128 bits of its SHA-256,
which nobody can guess who does not know the text or the link. Whoever has the link can read it,
just as with a short text, which stands in the link itself.
"""

from __future__ import annotations

import threading
import time
from collections import OrderedDict

import streamlit as st

from moeviz.ui.session import digest

DAY = 24 * 3600.0
MOST_TEXTS = 200
MOST_CHARACTERS = 10_000_000
"""Bounds of what is kept at once; the oldest makes room."""


class Lent:
    """Texts by content key, until they are a day old or make room for newer ones."""

    def __init__(self, clock=time.monotonic) -> None:
        self._lock, self._clock = threading.Lock(), clock
        self._texts: OrderedDict[str, tuple[str, float]] = OrderedDict()

    def keep(self, text: str) -> str:
        """The content key under which the text can be had from now on, for a day."""
        key = digest(text)
        with self._lock:
            self._texts.pop(key, None)
            self._texts[key] = (text, self._clock())
            self._make_room()
        return key

    def get(self, key: str) -> str | None:
        """The text kept under `key`; None when there is none, or no longer."""
        with self._lock:
            self._make_room()
            return self._texts.get(key, (None, 0))[0]

    def _make_room(self) -> None:
        now = self._clock()
        while self._texts:
            _, since = next(iter(self._texts.values()))
            total = sum(len(text) for text, _ in self._texts.values())
            if now - since < DAY and len(self._texts) <= MOST_TEXTS and total <= MOST_CHARACTERS:
                return
            self._texts.popitem(last=False)


@st.cache_resource(show_spinner=False)
def lent() -> Lent:
    """The one store of this server."""
    return Lent()
