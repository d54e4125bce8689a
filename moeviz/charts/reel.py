"""A continuation while it is being written: what each step read, chose and wrote."""

from __future__ import annotations

from typing import Protocol

import numpy as np

from moeviz.charts import palette
from moeviz.charts.picture import Picture
from moeviz.charts.strip import PLAIN
from moeviz.charts.units import text_units
from moeviz.charts.words import model_name
from moeviz.trace import EMPTY, RouterSpec, Tokens


class Candidate(Protocol):
    """A token that could have come next, see moeviz.models.generate."""

    text: str
    probability: float


class Step(Protocol):
    """A step of moeviz.generate, as far as it is drawn."""

    number: int
    id: int
    text: str
    probability: float
    likeliest: tuple[Candidate, ...]
    experts: np.ndarray
    gates: np.ndarray


class Reel:
    """The steps so far, in columns.

    prompt: its P tokens; read: (experts, gates) of its rows, [L, P, K] each, once they are read.
    rows: (experts, gates) [L, K] of each later row: row 0 is the prompt's last, which wrote the
    first token; row n + 1 is that of token n. Of each token written: ids, texts (what it added
    to the text), odds (the model's probability) and likeliest [(text, probability), ...].
    trace: key of the finished trace, "" until then.
    """

    def __init__(self, key: str, model: str, prompt: Tokens, router: RouterSpec, layers: list[str]):
        self.key, self.model, self.prompt = key, model, prompt
        self.router, self.layers = router, layers
        self.read: tuple[np.ndarray, np.ndarray] | None = None
        self.rows: list[tuple[np.ndarray, np.ndarray]] = []
        self.ids: list[int] = []
        self.texts: list[str] = []
        self.odds: list[float] = []
        self.likeliest: list[list[tuple[str, float]]] = []
        self.trace = ""
        self._text = prompt.source

    @property
    def sizes(self) -> tuple[tuple[int, ...], tuple[int, ...]]:
        """Experts and chosen of each layer."""
        router, count = self.router, len(self.layers)
        experts = router.experts_per_layer or (router.experts,) * count
        return experts, router.chosen_per_layer or (router.chosen,) * count

    def add(self, step: Step) -> None:
        """Take one more step; the one that repeats a number only brings its last row."""
        experts, gates = step.experts, step.gates
        if self.read is None:
            count = len(self.prompt)
            self.read = experts[:, :count], gates[:, :count]
            experts, gates = experts[:, count - 1 :], gates[:, count - 1 :]
        self.rows += [(experts[:, r], gates[:, r]) for r in range(experts.shape[1])]
        if step.number < len(self.ids):
            return
        self.ids.append(step.id)
        self.texts.append(step.text[len(self._text) :])
        self.odds.append(step.probability)
        self.likeliest.append([(c.text, c.probability) for c in step.likeliest])
        self._text = step.text

    def rows_after(self, start: int, end: int | None = None) -> tuple[np.ndarray, np.ndarray]:
        """Experts and gates [L, N, K] of the rows start to end."""
        parts = self.rows[start:end]
        if not parts:
            blank = np.empty((len(self.layers), 0, self.router.chosen))
            return blank.astype(np.int16), blank.astype(np.float32)
        return np.stack([p[0] for p in parts], axis=1), np.stack([p[1] for p in parts], axis=1)


def reel_picture(reel: Reel, since: int, row: int, step: int | None, state: str) -> Picture:
    """Tokens and rows from number `since` on; from 0 on also the prompt and all that stays.

    row: the layer whose experts colour the text when it is first drawn. step: where it then stands,
    None for the newest. state: a word on whether it is still being written.
    """
    experts, gates = reel.rows_after(since)
    meta = {
        "key": reel.key,
        "trace": reel.trace,
        "since": since,
        "row": row,
        "step": step,
        "state": state,
        "tokens": [
            {"id": reel.ids[n], "text": reel.texts[n], "odds": reel.odds[n],
             "likeliest": reel.likeliest[n]}
            for n in range(since, len(reel.ids))
        ],
    }  # fmt: skip
    arrays = {"experts": experts.swapaxes(0, 1), "gates": gates.swapaxes(0, 1)}
    if since == 0:
        words, fixed = _fixed(reel)
        meta, arrays = words | meta, arrays | fixed
    return Picture(meta, arrays)


def _fixed(reel: Reel) -> tuple[dict, dict[str, np.ndarray]]:
    """What stays the same while the text grows."""
    units = text_units(reel.prompt)
    experts, chosen = reel.sizes
    own, heat, even = palette.experts(), palette.sequential(), palette.diverging()
    words = {
        "model": model_name(reel.model),
        "layers": reel.layers,
        "sizes": list(experts),
        "choices": list(chosen),
        "columns": reel.router.experts,
        "chosen": reel.router.chosen,
        "units": [u.text for u in units],
        "special": [i for i, u in enumerate(units) if u.special],
        "prompt": len(reel.prompt),
        "light": {"experts": own.light, "heat": heat.light, "even": even.light},
        "dark": {"experts": own.dark, "heat": heat.dark, "even": even.dark},
    }
    ids = reel.read[0] if reel.read else np.empty((len(reel.layers), 0, 1), np.int16)
    load = np.stack([_counts(layer, reel.router.experts) for layer in ids])
    arrays = {
        "first": np.array([u.first for u in units], np.int32),
        "count": np.array([u.count for u in units], np.int32),
        "top": np.ascontiguousarray(ids[:, :, 0]),
        "load": load.astype(np.int32),
        "places": np.stack([_places(layer[:, 0], reel.router.experts) for layer in ids]),
    }
    return words, arrays


def _counts(ids: np.ndarray, experts: int) -> np.ndarray:
    return np.bincount(ids[ids != EMPTY], minlength=experts)


def _places(top: np.ndarray, experts: int) -> np.ndarray:
    """[E] place of each expert in the palette; of many experts, those the prompt chose most."""
    if experts <= palette.EXPERT_COLOURS:
        return np.arange(experts, dtype=np.uint8)
    busiest = np.argsort(-_counts(top, experts), kind="stable")[: palette.EXPERT_COLOURS]
    places = np.full(experts, PLAIN, np.uint8)
    places[busiest] = np.arange(len(busiest))
    return places
