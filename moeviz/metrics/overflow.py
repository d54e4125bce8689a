"""Which assignments would overflow an expert's capacity, and what would that waste?"""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np

from moeviz.metrics.load import DRAWS, layer_sizes, random_loads
from moeviz.rules.capacity import CapacityRule, dropped_slots, windows
from moeviz.trace import EMPTY, RoutingTrace

CURVE_FACTORS = np.round(np.arange(0.25, 4.01, 0.05), 2)
"""Capacity factors at which an overflow curve is drawn."""

MOST_FACTOR = 1000.0
"""Where the search for a dropless factor ends; only an absolute capacity can get there."""


@dataclass(frozen=True)
class Overflow:
    """What `rule` would drop, layer by layer. A simulation: the model itself dropped nothing.

    dropped: [L, T, K] bool. capacity: [W] tokens per expert of layer 0, window by window.
    rate: [L] share of assignments dropped. kept, lost: [L, E] assignments of each expert.
    fully_dropped: [L, T] bool, tokens of which every slot was dropped.
    padding_waste: [L] share of the experts' places that stay empty.
    dropless_factor: [L] smallest capacity factor, to two decimals, at which nothing is dropped;
    nan where the convention has no factor.
    """

    rule: CapacityRule
    dropped: np.ndarray
    capacity: np.ndarray
    rate: np.ndarray
    kept: np.ndarray
    lost: np.ndarray
    fully_dropped: np.ndarray
    padding_waste: np.ndarray
    dropless_factor: np.ndarray


@dataclass(frozen=True)
class OverflowChance:
    """Share of assignments that overflow under uniformly random routers of the same T, E and K.

    mean, and low to high with 95 % of the `draws` between them.
    """

    mean: float
    low: float
    high: float
    draws: int


def overflow(trace: RoutingTrace, rule: CapacityRule) -> Overflow:
    """What every layer of `trace` would drop under `rule`; kept + lost = assignments, always.

    Raises RuleError when the rule does not fit the text (a group larger than it).
    """
    experts, _ = layer_sizes(trace)
    dropped = np.stack(
        [
            dropped_slots(trace.experts[row], trace.gates[row], int(experts[row]), rule)
            for row in range(len(trace.layers))
        ]
    )
    filled = trace.experts != EMPTY
    assignments = np.maximum(filled.sum(axis=(1, 2)), 1)
    capacity = _capacities(trace, rule)
    kept = _counts(trace, filled & ~dropped)
    places = capacity.sum(axis=1) * experts
    return Overflow(
        rule=rule,
        dropped=dropped,
        capacity=capacity[0],
        rate=dropped.sum(axis=(1, 2)) / assignments,
        kept=kept,
        lost=_counts(trace, dropped),
        fully_dropped=(dropped | ~filled).all(axis=2) & filled.any(axis=2),
        padding_waste=1 - kept.sum(axis=1) / np.maximum(places, 1),
        dropless_factor=_dropless(trace, rule),
    )


def overflow_curve(trace: RoutingTrace, rule: CapacityRule, factors=CURVE_FACTORS) -> np.ndarray:
    """[F, L] share of assignments dropped at each capacity factor, all else as in `rule`.

    sum over experts of max(0, n - capacity) over all assignments; who is dropped depends on the
    priority, how many does not. GShard's random second choices are not counted in.
    """
    counts = window_counts(trace, rule)
    assignments = np.maximum(sum(window.sum(axis=1) for window in counts), 1)
    curve = [
        sum(_excess(window, caps) for window, caps in zip(counts, at.T, strict=True)) / assignments
        for at in (_capacities(trace, _at_factor(rule, factor)) for factor in factors)
    ]
    return np.array(curve)


def pooled_overflow(counts: np.ndarray, factor: float) -> float:
    """Share dropped of a whole corpus counted as one batch: sum of max(0, n - CF * mean) / sum n.

    counts [E]; the capacity is left unrounded.
    """
    return float(np.maximum(counts - factor * counts.mean(), 0).sum() / counts.sum())


def overflow_by_position(dropped: np.ndarray, parts: int = 10) -> np.ndarray:
    """[L, parts] share of slots dropped in each successive part of the text (fewer if it is short).

    Position priority drops towards the end: early tokens have filled the experts.
    """
    edges = np.linspace(0, dropped.shape[1], min(parts, dropped.shape[1]) + 1).astype(int)
    parts_of = [dropped[:, a:b].mean(axis=(1, 2)) for a, b in pairwise(edges)]
    return np.stack(parts_of, axis=1)


def overflow_chance(
    tokens: int, experts: int, chosen: int, rule: CapacityRule, draws: int = DRAWS, seed: int = 0
) -> OverflowChance:
    """The overflow of `draws` routers that give each token `chosen` distinct experts at random."""
    lost = np.zeros(draws)
    for place, part in enumerate(windows(tokens, rule)):
        size = part.stop - part.start
        counts = random_loads(size, experts, chosen, draws, seed + place)
        lost += np.maximum(counts - rule.capacity(size, experts, chosen), 0).sum(axis=1)
    share = lost / (tokens * chosen)
    low, high = np.quantile(share, (0.025, 0.975))
    return OverflowChance(float(share.mean()), float(low), float(high), draws)


def window_counts(trace: RoutingTrace, rule: CapacityRule) -> list[np.ndarray]:
    """One [L, E] array of assignments for each stretch of text that is counted together."""
    filled = trace.experts != EMPTY
    found = []
    for part in windows(len(trace.tokens), rule):
        inside = np.zeros_like(filled)
        inside[:, part] = filled[:, part]
        found.append(_counts(trace, inside))
    return found


def _counts(trace: RoutingTrace, which: np.ndarray) -> np.ndarray:
    """[L, E] assignments among those marked in `which` [L, T, K]."""
    layers, _, experts, _ = trace.shape
    rows = np.repeat(np.arange(layers), which.reshape(layers, -1).sum(axis=1))
    flat = rows * experts + trace.experts[which]
    return np.bincount(flat, minlength=layers * experts).reshape(layers, experts)


def _capacities(trace: RoutingTrace, rule: CapacityRule) -> np.ndarray:
    """[L, W] capacity of each layer in each window."""
    experts, chosen = layer_sizes(trace)
    sizes = [part.stop - part.start for part in windows(len(trace.tokens), rule)]
    return np.array(
        [
            [rule.capacity(size, int(e), int(k)) for size in sizes]
            for e, k in zip(experts, chosen, strict=True)
        ]
    )


def _excess(counts: np.ndarray, capacity: np.ndarray) -> np.ndarray:
    return np.maximum(counts - capacity[:, None], 0).sum(axis=1)


def _at_factor(rule: CapacityRule, factor: float) -> CapacityRule:
    return replace(rule, factor=float(factor))


def _dropless(trace: RoutingTrace, rule: CapacityRule) -> np.ndarray:
    """[L] by halving the range of hundredths until one step is left."""
    if rule.convention in ("gshard", "absolute"):
        return np.full(len(trace.layers), np.nan)
    counts = np.stack(window_counts(trace, rule), axis=1).max(axis=2)  # [L, W]
    low = np.zeros(len(counts), int)
    high = np.full(len(counts), int(MOST_FACTOR * 100))
    while (high - low > 1).any():
        middle = (low + high) // 2
        for row, hundredths in enumerate(middle):
            if high[row] - low[row] <= 1:
                continue
            fits = _capacities(trace, _at_factor(rule, hundredths / 100))[row] >= counts[row]
            if fits.all():
                high[row] = hundredths
            else:
                low[row] = hundredths
    return high / 100
