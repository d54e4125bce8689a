"""The models that all visitors share, and the loads that are under way."""

from __future__ import annotations

import gc
import re
import threading
from collections import OrderedDict
from collections.abc import Callable
from typing import TYPE_CHECKING

import streamlit as st

from moeviz.trace import MoevizError
from moeviz.ui.hosted import check_model, within_limits
from moeviz.ui.house import most_models

if TYPE_CHECKING:
    from moeviz.models import LoadedModel

GLANCE = 0.1
"""Seconds between two looks at a load; each look is also the chance to give up."""

DTYPES = ("float32", "bfloat16", "float16")
"""Number formats that can be asked for by name."""

_HOW = re.compile(rf"(.+)@(auto|{'|'.join(DTYPES)})(?:,(cpu|mps|spread|cuda(?::\d+)?))?")

Watch = Callable[[str, float], None]


def how(name: str) -> dict[str, str]:
    """What `load_model` is to be asked for: "org/model@bfloat16,cuda:0" holds all three."""
    found = _HOW.fullmatch(name)
    base, dtype, device = found.groups() if found else (name, None, None)
    return {"name": base, "dtype": dtype or "auto", "device": device or "auto"}


def named(base: str, dtype: str = "auto", device: str = "auto") -> str:
    """The name that stands for loading `base` so; without a wish it is `base` itself."""
    place = "" if device == "auto" else f",{device}"
    return base if dtype == device == "auto" else f"{base}@{dtype}{place}"


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
            self.model = within_limits(load_model(**how(self.name), progress=self._tell))
            _settle_memory()
        except MoevizError as error:
            self.trouble = error.with_traceback(None)  # whose frames hold half a model
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


def _hand_back() -> None:
    """Give the memory of models that nobody holds any more back to the system."""
    from moeviz.models.memory import free_unused  # late: torch takes seconds

    gc.unfreeze()  # what was settled may be what is to go now
    free_unused()
    gc.freeze()


class Shelf:
    """Loaded models by name, and the loads that nobody has to start twice."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._models: OrderedDict[str, LoadedModel] = OrderedDict()
        self._loads: dict[str, Load] = {}

    def __contains__(self, name: str) -> bool:
        return name in self._models

    def names(self) -> list[str]:
        """The models in memory, the one used last at the end."""
        with self._lock:
            return list(self._models)

    def drop(self, name: str) -> None:
        """Let go of the model `name`; whoever is running it right now may finish."""
        with self._lock:
            gone = self._models.pop(name, None) is not None
        if gone:
            _hand_back()

    def take(self, name: str, watch: Watch | None = None) -> LoadedModel:
        """The model `name`, loaded first if need be; raises MoevizError when it cannot be had.

        watch: called all the while with the stage and share done. When it raises, this visitor
        has given up; a load that nobody waits for any more is stopped.
        """
        check_model(name)
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
        if self._settle(load):
            _hand_back()

    def _settle(self, load: Load) -> bool:
        """Put a model that was loaded in its place; whether another one made room for it."""
        made_room = False
        with self._lock:
            load.watchers -= 1
            if load.model is not None and load.name not in self._models:
                self._models[load.name] = load.model
                while len(self._models) > most_models():
                    self._models.popitem(last=False)
                    made_room = True
            if not load.watchers or not load.thread.is_alive():
                load.cancelled = load.thread.is_alive()
                if self._loads.get(load.name) is load:
                    del self._loads[load.name]
        return made_room


@st.cache_resource(show_spinner=False)
def shelf() -> Shelf:
    """The one shelf of this server."""
    return Shelf()
