"""The models that all visitors share, and the loads that are under way."""

from __future__ import annotations

import gc
import threading
from collections import OrderedDict
from collections.abc import Callable
from typing import TYPE_CHECKING

import streamlit as st

from moeviz.trace import MoevizError

if TYPE_CHECKING:
    from moeviz.models import LoadedModel

ROOM = 2
"""Models kept in memory; the one not used for longest makes room."""

GLANCE = 0.1
"""Seconds between two looks at a load; each look is also the chance to give up."""

Watch = Callable[[str, float], None]


class Load:
    """One load in a thread of its own, watched by everybody who waits for it."""

    def __init__(self, name: str):
        self.name, self.stage, self.share = name, "", 0.0
        self.model: LoadedModel | None = None
        self.trouble: MoevizError | None = None
        self.watchers, self.cancelled = 0, False
        self.thread = threading.Thread(target=self._run, name=f"load {name}", daemon=True)

    def _run(self) -> None:
        from moeviz.models import load_model  # late: torch takes seconds

        try:
            self.model = load_model(self.name, progress=self._tell)
            _settle_memory()
        except MoevizError as error:
            self.trouble = error
        except Exception as error:  # whatever a model's own code may raise
            self.trouble = MoevizError(f"{self.name} could not be loaded: {error}")

    def _tell(self, stage: str, share: float) -> None:
        from moeviz.models import LoadCancelled

        if self.cancelled:
            raise LoadCancelled(f"Loading {self.name} was cancelled.")
        self.stage, self.share = stage, share


def _settle_memory() -> None:
    """Tell Python that what is loaded by now stays.

    Streamlit collects garbage after every run of a script; with torch and a model in memory that
    looked at half a million objects, and every click waited for it.
    """
    gc.collect()
    gc.freeze()


class Shelf:
    """Loaded models by name, and the loads that nobody has to start twice."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._models: OrderedDict[str, LoadedModel] = OrderedDict()
        self._loads: dict[str, Load] = {}

    def __contains__(self, name: str) -> bool:
        return name in self._models

    def take(self, name: str, watch: Watch | None = None) -> LoadedModel:
        """The model `name`, loaded first if need be; raises MoevizError when it cannot be had.

        watch: called all the while with the stage and share done. When it raises, this visitor
        has given up; a load that nobody waits for any more is stopped.
        """
        with self._lock:
            if name in self._models:
                self._models.move_to_end(name)
                return self._models[name]
            load = self._loads.get(name)
            if load is None:
                load = self._loads[name] = Load(name)
                load.thread.start()
            load.watchers += 1
        try:
            while load.thread.is_alive():
                if watch:
                    watch(load.stage, load.share)
                load.thread.join(GLANCE)
        finally:
            self._leave(load)
        if load.trouble is not None:
            raise load.trouble
        return load.model

    def _leave(self, load: Load) -> None:
        with self._lock:
            load.watchers -= 1
            if load.model is not None and load.name not in self._models:
                self._models[load.name] = load.model
                while len(self._models) > ROOM:
                    self._models.popitem(last=False)
            if not load.watchers or not load.thread.is_alive():
                load.cancelled = load.thread.is_alive()
                if self._loads.get(load.name) is load:
                    del self._loads[load.name]


@st.cache_resource(show_spinner=False)
def shelf() -> Shelf:
    """The one shelf of this server."""
    return Shelf()
