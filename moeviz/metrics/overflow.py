"""Which assignments would overflow an expert's capacity, and what would that waste?"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import lru_cache, reduce
from itertools import pairwise

import numpy as np

from moeviz.metrics.load import DRAWS, layer_sizes, random_loads
from moeviz.rules.capacity import CapacityRule, Queue, dropped_slots, queues, windows
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


@dataclass(frozen=True)
class Demand:
    """Who waits for which expert, whatever room there is: all that no capacity factor changes.

    lines: the queues of each layer, window by window. sent: [W] arrays [L, E] of assignments.
    empty: [L, T, K] bool, slots without an expert. idle: [L, T] bool, tokens with none at all.
    """

    lines: list[list[Queue]]
    sent: list[np.ndarray]
    empty: np.ndarray
    idle: np.ndarray


def demand(trace: RoutingTrace, rule: CapacityRule) -> Demand:
    """The `Demand` of `trace`, the same for every factor of `rule`; raises RuleError as
    `overflow` does."""
    experts, _ = layer_sizes(trace)
    lines = [
        queues(trace.experts[row], _gates(trace, row), int(experts[row]), rule)
        for row in range(len(trace.layers))
    ]
    empty = trace.experts == EMPTY
    return Demand(lines, window_counts(trace, rule), empty, _every_slot(empty))


def overflow(trace: RoutingTrace, rule: CapacityRule, asked: Demand | None = None) -> Overflow:
    """What every layer of `trace` would drop under `rule`; kept + lost = assignments, always.

    asked: the `demand`, where many factors are asked about the same trace.
    Raises RuleError when the rule does not fit the text (a group larger than it), and where it
    needs to know gates and the trace holds choices alone.
    """
    asked = asked or demand(trace, rule)
    experts, _ = layer_sizes(trace)
    dropped = np.stack(
        [
            dropped_slots(trace.experts[row], _gates(trace, row), int(experts[row]), rule, lines)
            for row, lines in enumerate(asked.lines)
        ]
    )
    sent, capacity = sum(asked.sent), _capacities(trace, rule)
    kept = _kept(asked, capacity, trace.shape[2])
    lost = sent - kept
    places = capacity.sum(axis=1) * experts
    return Overflow(
        rule=rule,
        dropped=dropped,
        capacity=capacity[0],
        rate=lost.sum(axis=1) / np.maximum(sent.sum(axis=1), 1),
        kept=kept,
        lost=lost,
        fully_dropped=_every_slot(dropped | asked.empty) & ~asked.idle,
        padding_waste=1 - kept.sum(axis=1) / np.maximum(places, 1),
        dropless_factor=_dropless(trace, rule, asked.sent),
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


def chance_counts(
    tokens: int, experts: int, chosen: int, rule: CapacityRule, draws: int = DRAWS, seed: int = 0
) -> np.ndarray:
    """[W, draws, E] loads of `draws` random routers in each window; no factor changes them."""
    sizes = [part.stop - part.start for part in windows(tokens, rule)]
    every = [random_loads(n, experts, chosen, draws, seed + i) for i, n in enumerate(sizes)]
    return np.stack(every).astype(np.int32)


def overflow_chance(
    tokens: int,
    experts: int,
    chosen: int,
    rule: CapacityRule,
    draws: int = DRAWS,
    seed: int = 0,
    counts: np.ndarray | None = None,
) -> OverflowChance:
    """The overflow of `draws` routers that give each token `chosen` distinct experts at random.

    counts: their loads, see `chance_counts`, when many rules are asked about the same text.
    """
    if counts is None:
        counts = chance_counts(tokens, experts, chosen, rule, draws, seed)
    sizes = [part.stop - part.start for part in windows(tokens, rule)]
    capacity = np.array([rule.capacity(size, experts, chosen) for size in sizes])
    lost = np.maximum(counts - capacity[:, None, None], 0).sum(axis=(0, 2))
    share = lost / (tokens * chosen)
    low, high = np.quantile(share, (0.025, 0.975))
    return OverflowChance(float(share.mean()), float(low), float(high), len(share))


def window_counts(trace: RoutingTrace, rule: CapacityRule) -> list[np.ndarray]:
    """One [L, E] array of assignments for each stretch of text that is counted together."""
    filled = trace.experts != EMPTY
    parts = windows(len(trace.tokens), rule)
    if len(parts) == 1:
        return [_counts(trace, filled)]
    found = []
    for part in parts:
        inside = np.zeros_like(filled)
        inside[:, part] = filled[:, part]
        found.append(_counts(trace, inside))
    return found


def _gates(trace: RoutingTrace, row: int) -> np.ndarray | None:
    return None if trace.gates is None else trace.gates[row]


def _every_slot(marks: np.ndarray) -> np.ndarray:
    """[L, T] whether all of marks [L, T, K] are set; slot by slot, which is many times faster than
    numpy's own reduction over so short an axis."""
    return reduce(np.logical_and, (marks[..., slot] for slot in range(marks.shape[-1])))


def _kept(asked: Demand, capacity: np.ndarray, experts: int) -> np.ndarray:
    """[L, E] assignments that find room: of each window no more than its capacity [L, W]."""
    kept = np.zeros((len(asked.lines), experts), int)
    for row, lines in enumerate(asked.lines):
        for line, room in zip(lines, capacity[row], strict=True):
            kept[row, : len(line.counts)] += np.minimum(line.counts, room)
    return kept


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
    known = {  # all windows but the last are equally long, and most layers alike
        (size, e, k): rule.capacity(size, int(e), int(k))
        for size in set(sizes)
        for e, k in set(zip(experts.tolist(), chosen.tolist(), strict=True))
    }
    layers = zip(experts.tolist(), chosen.tolist(), strict=True)
    return np.array([[known[size, e, k] for size in sizes] for e, k in layers])


def _excess(counts: np.ndarray, capacity: np.ndarray) -> np.ndarray:
    return np.maximum(counts - capacity[:, None], 0).sum(axis=1)


def _at_factor(rule: CapacityRule, factor: float) -> CapacityRule:
    return replace(rule, factor=float(factor))


def _dropless(trace: RoutingTrace, rule: CapacityRule, counts: list[np.ndarray]) -> np.ndarray:
    """[L] from the `window_counts`, by halving the range of hundredths until one step is left."""
    if rule.convention in ("gshard", "absolute"):
        return np.full(len(trace.layers), np.nan)
    sizes = [part.stop - part.start for part in windows(len(trace.tokens), rule)]
    busiest = np.stack(counts, axis=1).max(axis=2)  # [L, W]
    alike = [np.equal(sizes, size) for size in sorted(set(sizes))]
    fullest = np.stack([busiest[:, where].max(axis=1) for where in alike], axis=1)
    layers = zip(fullest.tolist(), *(x.tolist() for x in layer_sizes(trace)), strict=True)
    of_any_factor = _at_factor(rule, 1.0)
    return np.array(
        [_fitting(of_any_factor, tuple(zip(sorted(set(sizes)), most, strict=True)), e, k)
         for most, e, k in layers]
    )  # fmt: skip


@lru_cache(maxsize=1024)
def _fitting(
    rule: CapacityRule, needs: tuple[tuple[int, int], ...], experts: int, chosen: int
) -> float:
    """The smallest factor, in hundredths, that gives every (tokens, load) of `needs` its room.

    Remembered, since turning the factor changes nothing in it.
    """
    low, high = 0, int(MOST_FACTOR * 100)
    while high - low > 1:
        middle = (low + high) // 2
        at = _at_factor(rule, middle / 100)
        fits = all(at.capacity(tokens, experts, chosen) >= load for tokens, load in needs)
        low, high = (low, middle) if fits else (middle, high)
    return high / 100
