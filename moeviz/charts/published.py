"""Published routing of two models on one scale: how many times an even router's share."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from moeviz.charts import palette
from moeviz.charts.picture import Picture, quantised
from moeviz.charts.specialise_words import label_word
from moeviz.charts.words import model_name, percent
from moeviz.corpora.routing import CorpusRouting
from moeviz.metrics.divergence import counted_bits
from moeviz.metrics.specialisation import Specialisation

TOP = 8
"""Times even at the dark end of the scale: all tokens of a domain, where one in eight is even."""


@dataclass(frozen=True)
class Published:
    """One model's counts and what its experts make of the domains. name: a short one."""

    name: str
    routing: CorpusRouting
    found: Specialisation

    def times(self, row: int) -> np.ndarray:
        """[G, E] share of each domain's tokens over an even router's, in a layer."""
        return self.found.share[row] / self.found.chance[row]

    def layer(self, row: int) -> str:
        return str(self.routing.layers[row])


def domain_grid(one: Published, row: int) -> Picture:
    """Domains x experts of one layer, coloured by times even: the same scale for every model."""
    found, times = one.found, one.times(row)
    share = found.share[row]
    high, scale = float(share.max()), palette.loss()
    meta = {
        "title": f"{one.name}, layer {one.layer(row)}",
        "rows": {"kind": "label", "name": "Domain", "labels": _domains(one)},
        "fixed": {"layer": one.layer(row)},
        "cell": {"name": "Share of its tokens", "low": 0.0, "high": high, "unit": "%"},
        "ends": ["even", f"{TOP} × even"],
        "against": "an even router",
        "read": (
            "Each row is one domain, each cell the share of its tokens that chose one expert. "
            f"Stronger orange: more than chance, an even router's {percent(found.chance[row])} for "
            f"each of {share.shape[1]} experts. Click a cell for the expert's card."
        ),
        "key": f"published-{one.name}-{row}",
        "model": f"top-{int(one.routing.chosen[row])} of {share.shape[1]}",
        "columns": share.shape[1],
        "chosen": int(one.routing.chosen[row]),
        "light": scale.light,
        "dark": scale.dark,
    }
    nothing = np.full(share.shape, np.nan, np.float32)
    arrays = {"lift": times.astype(np.float32), "low": nothing, "high": nothing}
    return Picture(meta, {"values": quantised(share, 0.0, high), **arrays})


def strongest_bars(models: Sequence[Published], row: int) -> Picture:
    """What each domain's strongest expert takes, times even, the models beside each other."""
    meta = _beside(models, "strongest", row) | {
        "title": "How much each domain's strongest expert takes",
        "place": f"layer {models[0].layer(row)}",
        "x": {"name": "Domain", "labels": _domains(models[0])},
        "y": {"name": "Times an even router's share", "unit": "×", "digits": 1},
        "line": {"at": 1.0, "name": "chance: an even router"},
        "read": (
            "Each bar: the share of the domain's tokens that chose its most chosen expert, over "
            f"what an even router gives ({_evens(models, row)}). At the dashed line the domain "
            "has no expert of its own."
        ),
    }  # fmt: skip
    return Picture(meta, {m.name: _floats(m.times(row).max(axis=1)) for m in models})


def apart_bars(models: Sequence[Published]) -> Picture:
    """How far the domains part in each published layer, the models beside each other.

    The chance is that of counting: tokens dealt to the domains one by one.
    """
    layers = [models[0].layer(row) for row in range(len(models[0].routing.layers))]
    noise = [
        max(counted_bits(m.routing.counts[:, row]) for m in models) for row in range(len(layers))
    ]
    meta = _beside(models, "apart") | {
        "title": "How far domains part, layer by layer",
        "place": "",
        "x": {"name": "Layer", "labels": layers, "pick": "row"},
        "y": {"name": "Divergence", "unit": "bits", "digits": 3},
        "band": {"name": "chance", "level": True},
        "read": (
            "Generalised Jensen–Shannon divergence: the bits that one choice of an expert tells on "
            "the domain of its token, 0 where all domains share the experts alike. The line on the "
            "ground is chance, tokens dealt to the domains one by one; how far single documents "
            "sway it is not known, because only totals were published."
        ),
    }  # fmt: skip
    bars = {m.name: _floats(m.found.divergence) for m in models}
    return Picture(meta, {**bars, "low": _floats(noise), "high": _floats(noise)})


def strongest_sentence(models: Sequence[Published], row: int) -> str:
    """The largest share that any expert takes of a domain, of each model."""
    parts = []
    for one in models:
        times = one.times(row)
        domain, expert = np.unravel_index(times.argmax(), times.shape)
        parts.append(
            f"{one.name} sends {percent(one.found.share[row, domain, expert])} of "
            f"{label_word(str(one.found.names[domain]))} to expert {expert} "
            f"({times[domain, expert]:.1f} × even)"
        )
    return f"In layer {models[0].layer(row)}, {', '.join(parts)}."


def apart_sentence(models: Sequence[Published]) -> str:
    """Bits at the first and the last layer, of each model."""
    parts = [
        f"{m.found.divergence[0]:.3f} to {m.found.divergence[-1]:.3f} bits in {m.name}"
        for m in models
    ]
    first, last = models[0].layer(0), models[0].layer(-1)
    return f"From layer {first} to {last}, domains part from {' and from '.join(parts)}."


def _domains(one: Published) -> list[str]:
    return [label_word(str(name)) for name in one.found.names]


def _evens(models: Sequence[Published], row: int) -> str:
    return ", ".join(f"{m.name} {percent(m.found.chance[row])}" for m in models)


def _beside(models: Sequence[Published], *key: object) -> dict:
    inks = [_named(ink, models) for ink in palette.inks()]
    return {
        "kind": "bars",
        "beside": True,
        "parts": [{"name": m.name} for m in models],
        "key": "-".join(map(str, ("published", *key))),
        "model": " and ".join(model_name(m.routing.model) for m in models),
        "inks": {"light": inks[0], "dark": inks[1]},
    }


def _named(inks: Mapping[str, str], models: Sequence[Published]) -> dict[str, str]:
    return {m.name: inks[ink] for m, ink in zip(models, ("kept", "lost"), strict=True)}


def _floats(values) -> np.ndarray:
    return np.ascontiguousarray(values, dtype=np.float32)
