"""Layouts of maps by UMAP, found in the background and shared by all visitors.

A layout holds no text: only where points lie, under a digest of their places in the components.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from dataclasses import dataclass

import numpy as np
import streamlit as st

from moeviz.metrics.layout import LayoutProcess
from moeviz.metrics.map import MapError, RoutingMap

KEPT = 24
"""Layouts kept; of 20,000 points each takes 160 KB."""


@dataclass
class Layout:
    """One layout under way: words say how far it is; coordinates are there when it is done."""

    words: str = "Waiting for the layout before it"
    coordinates: np.ndarray | None = None
    trouble: str = ""

    @property
    def over(self) -> bool:
        return self.coordinates is not None or bool(self.trouble)


class Layouts:
    """All layouts of this server, and the one process that makes them."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._process = LayoutProcess()
        self._known: OrderedDict[tuple[str, int], Layout] = OrderedDict()

    def layout(self, routing_map: RoutingMap, seed: int) -> Layout:
        """The layout of this map from `seed`, started if it is not there yet; comes at once."""
        key = (routing_map.key, seed)
        with self._lock:
            if key in self._known:
                self._known.move_to_end(key)
                return self._known[key]
            layout = self._known[key] = Layout()
            while len(self._known) > KEPT:
                self._known.popitem(last=False)
        work = threading.Thread(
            target=self._run, args=(layout, routing_map.reduced, seed), daemon=True
        )
        work.start()
        return layout

    def _run(self, layout: Layout, reduced: np.ndarray, seed: int) -> None:
        def say(words: str) -> None:
            layout.words = words

        try:
            layout.coordinates = self._process.layout(reduced, seed, say)
        except MapError as error:
            layout.trouble = str(error)
        except Exception as error:  # the thread must not end without a word
            layout.trouble = f"The layout failed: {error}"


@st.cache_resource(show_spinner=False)
def layouts() -> Layouts:
    """The layouts of this server."""
    return Layouts()
