"""How evenly each layer shares its work, by every measure in use, as a picture and in words."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from moeviz.charts import palette
from moeviz.charts.picture import Picture
from moeviz.charts.words import model_name
from moeviz.metrics.balance import Balance, BalanceChance, LossChance
from moeviz.metrics.load import layer_sizes
from moeviz.trace import RoutingTrace, TraceError


@dataclass(frozen=True)
class Measure:
    """name: on screen. formula: in words, with its source. even, worst: of a layer of E experts
    and K choices, its value when the work is shared evenly and when all tokens go to the same K;
    None where there is no such value.
    """

    name: str
    formula: str
    even: Callable[[int, int], float] | None
    worst: Callable[[int, int], float] | None = None


MEASURES = {
    "max_violation": Measure(
        "MaxVio", "The busiest expert over the mean, minus 1 (Wang et al. 2024).",
        lambda e, k: 0.0, lambda e, k: e / k - 1,
    ),
    "cv": Measure(
        "Variation", "Standard deviation of the experts' loads over their mean.",
        lambda e, k: 0.0, lambda e, k: math.sqrt(e / k - 1),
    ),
    "entropy": Measure(
        "Entropy", "Entropy of the experts' shares over ln E.",
        lambda e, k: 1.0, lambda e, k: math.log(k) / math.log(e) if e > 1 else 1.0,
    ),
    "gini": Measure(
        "Gini", "Mean difference between two experts' loads over twice the mean.",
        lambda e, k: 0.0, lambda e, k: 1 - k / e,
    ),
    "dead": Measure(
        "Unused", "Experts that no token chose.", lambda e, k: 0.0, lambda e, k: float(e - k)
    ),
    "aux_loss": Measure(
        "Auxiliary loss",
        "E times the sum of f·P: f an expert's share of first choices, P its mean probability "
        "(Switch, Fedus et al. 2021), without its coefficient.",
        lambda e, k: 1.0, lambda e, k: float(e),
    ),
    "importance": Measure(
        "Importance loss",
        "Squared variation of the experts' summed gates (Shazeer et al. 2017).", lambda e, k: 0.0,
    ),
    "z_loss": Measure(
        "z-loss",
        "Mean of (ln Σ exp logit)² (Zoph et al. 2022): it keeps logits small, and says nothing "
        "about balance, so experts chosen at random are no measure for it.",
        None,
    ),
}  # fmt: skip
"""What balance can be measured by: the name in links, and what the screen needs to know."""


_GREY = {
    "z_loss": "shuffles that deal each expert's logits anew among the tokens: where the loss would "
    "lie if the logits of one token did not hang together"
}
"""What the grey band is, where it is not random routers."""


@dataclass(frozen=True)
class Evenness:
    """All measures of a trace, their chance for each layer, and the pooled auxiliary loss.

    losses: chance of the auxiliary and importance losses, and z_band of the z-loss, needed only
    to show these.
    """

    balance: Balance
    chance: tuple[BalanceChance, ...]
    losses: LossChance | None
    pooled: float
    z_band: tuple[np.ndarray, np.ndarray] | None = None


def band_of(facts: Evenness, measure: str) -> tuple[np.ndarray, np.ndarray] | None:
    """[L] low and high of random routers, or of shuffled logits; None where it was not drawn."""
    if measure == "z_loss":
        return facts.z_band
    if measure == "aux_loss":
        return facts.losses.aux_low, facts.losses.aux_high
    if measure == "importance":
        return facts.losses.importance_low, facts.losses.importance_high
    low, high = np.array([getattr(chance, measure) for chance in facts.chance]).T
    return low, high


def evenness_bars(trace: RoutingTrace, facts: Evenness, measure: str) -> Picture:
    """One bar a layer beside its chance; raises TraceError where what it needs is missing."""
    values = np.asarray(getattr(facts.balance, measure), float)
    if not np.isfinite(values).any():
        raise TraceError(
            f"{MEASURES[measure].name} is made of {_MADE_OF[measure]}, which this trace lacks."
        )
    band = band_of(facts, measure)
    digits = 0 if measure == "dead" else 2 if np.nanmax(values) < 100 else 1
    meta = {
        "kind": "bars",
        "key": trace.key,
        "model": model_name(trace.source.model),
        "title": f"{MEASURES[measure].name}, layer by layer",
        "x": {"name": "Layer", "labels": [str(x) for x in trace.layers], "pick": "row"},
        "y": {"name": MEASURES[measure].name, "unit": "", "digits": digits},
        "parts": [{"name": "kept"}],
        "read": f"{MEASURES[measure].formula} {_ends(trace, measure)}".strip(),
        "inks": dict(zip(("light", "dark"), palette.inks(), strict=True)),
    }
    arrays = {"kept": values}
    if band is not None:
        meta["band"] = {"name": "shuffled" if measure == "z_loss" else "chance"}
        meta["read"] += f" Grey: 95 % of {_GREY.get(measure, 'routers that choose at random')}."
        arrays |= {"low": band[0], "high": band[1]}
    return Picture(meta, {name: np.asarray(a, np.float32) for name, a in arrays.items()})


def evenness_sentence(trace: RoutingTrace, facts: Evenness, measure: str, row: int) -> str:
    """One layer's value beside chance, in words."""
    value = float(getattr(facts.balance, measure)[row])
    name, layer = MEASURES[measure].name, trace.layers[row]
    band = band_of(facts, measure)
    if not math.isfinite(value):
        return f"{name} of layer {layer} is not known."
    words = f"{name} of layer {layer} is {_number(value, measure)}"
    if band is None:
        return f"{words}."
    low, high = (_number(float(side[row]), measure) for side in band)
    who = "shuffled logits give" if measure == "z_loss" else "chance alone gives"
    return f"{words}; {who} {low if low == high else f'{low} to {high}'}."


def pooled_sentence(trace: RoutingTrace, facts: Evenness) -> str:
    """The auxiliary loss as transformers pools it, and why it may mislead."""
    chosen = sorted({int(k) for k in layer_sizes(trace)[1]})
    even = " or ".join(map(str, chosen))
    return (
        f"Transformers pools all layers before it multiplies: {facts.pooled:.3f} here, where "
        f"{even} is even. Layers that each collapsed onto another expert look even in that pool, "
        "so read the bars."
    )


_MADE_OF = {"importance": "the gates", "aux_loss": "the router's logits",
            "z_loss": "the router's logits"}  # fmt: skip
"""What a measure needs to know besides the choices."""


def _ends(trace: RoutingTrace, measure: str) -> str:
    """The values of an even and of a collapsed layer, where all layers agree on them."""
    sizes = set(zip(*(x.tolist() for x in layer_sizes(trace)), strict=True))
    kind = MEASURES[measure]
    if kind.even is None or len(sizes) > 1:
        return ""
    (size,) = sizes
    even = f"Even is {_number(kind.even(*size), measure)}"
    if kind.worst is None:
        return f"{even}."
    chosen = "expert" if size[1] == 1 else f"{size[1]} experts"
    worst = _number(kind.worst(*size), measure)
    return f"{even}; all tokens on the same {chosen} would be {worst}."


def _number(value: float, measure: str) -> str:
    if measure == "dead":
        return f"{value:.0f}"
    return f"{value:.2f}" if abs(value) < 100 else f"{value:,.0f}"
