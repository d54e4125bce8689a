"""How is the work shared among the experts, and how much of that would chance alone do?"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from moeviz.trace import EMPTY, RoutingTrace

DRAWS = 200
"""Random routers behind each chance band: enough for two digits, milliseconds to draw."""

_CHUNK = 2_000_000
"""Most assignments drawn at once, so that a long text needs no gigabytes."""


@dataclass(frozen=True)
class Load:
    """Assignments per expert, layer by layer; layers are never pooled.

    counts: [L, E] int64, times each expert was chosen; -1 beyond the experts a layer has.
    share: [L, E] counts over all assignments of the layer (empty slots left out); nan likewise.
    assignments: [L], filled slots of the layer, T * K where no slot is empty.
    experts: [L], how many experts the layer has; an even router gives each 1 / experts.
    """

    counts: np.ndarray
    share: np.ndarray
    assignments: np.ndarray
    experts: np.ndarray


@dataclass(frozen=True)
class LoadChance:
    """What a uniformly random router would do: shares of one layer's assignments.

    low, high: 95 % of experts lie between them. busiest_low, busiest_high: the same for the
    busiest expert of a layer, which is above average by chance alone. even: 1 / E.
    draws: number of random routers behind the figures.
    """

    low: float
    high: float
    busiest_low: float
    busiest_high: float
    even: float
    draws: int


def layer_sizes(trace: RoutingTrace) -> tuple[np.ndarray, np.ndarray]:
    """Experts and chosen of each layer, two arrays [L]; equal numbers where layers agree."""
    layers, _, experts, chosen = trace.shape
    per_layer = trace.router.experts_per_layer or (experts,) * layers
    per_token = trace.router.chosen_per_layer or (chosen,) * layers
    return np.asarray(per_layer), np.asarray(per_token)


def expert_load(trace: RoutingTrace) -> Load:
    """Share of each layer's assignments that each expert takes: n_i / sum of n.

    Shares of a layer sum to 1; every token of the trace counts, special ones too.
    """
    experts = trace.shape[2]
    sizes, _ = layer_sizes(trace)
    filled = (ids[ids != EMPTY] for ids in trace.experts)  # a layer at a time: traces can be long
    counts = np.stack([np.bincount(ids, minlength=experts) for ids in filled])
    assignments = counts.sum(axis=1)
    share = counts / np.maximum(assignments, 1)[:, None]
    absent = np.arange(experts) >= sizes[:, None]
    return Load(
        counts=_frozen(np.where(absent, -1, counts)),
        share=_frozen(np.where(absent, np.nan, share)),
        assignments=_frozen(assignments),
        experts=_frozen(sizes),
    )


def load_chance(
    tokens: int, experts: int, chosen: int, draws: int = DRAWS, seed: int = 0
) -> LoadChance:
    """Shares under a router that gives each token `chosen` distinct experts at random.

    The count of one expert is then Binomial(tokens, chosen / experts); the busiest of a layer
    has no such plain form, so both bands come from the same seeded draws.
    """
    counts = random_loads(tokens, experts, chosen, draws, seed)
    share = counts / (tokens * chosen)
    low, high = np.quantile(share, (0.025, 0.975))
    busiest_low, busiest_high = np.quantile(share.max(axis=1), (0.025, 0.975))
    return LoadChance(
        float(low), float(high), float(busiest_low), float(busiest_high), 1 / experts, draws
    )


def layer_chance(trace: RoutingTrace, load: Load, row: int) -> LoadChance:
    """`load_chance` of routed layer `row`, for as many tokens as its filled slots make up."""
    experts, chosen = (int(sizes[row]) for sizes in layer_sizes(trace))
    return load_chance(filled_tokens(load, chosen, row), experts, chosen)


def filled_tokens(load: Load, chosen: int, row: int) -> int:
    """Tokens whose `chosen` slots would be as many as the filled ones of routed layer `row`."""
    return max(1, round(int(load.assignments[row]) / chosen))


def random_loads(tokens: int, experts: int, chosen: int, draws: int, seed: int) -> np.ndarray:
    """Counts [draws, E] of uniformly random routers, each giving every token distinct experts."""
    rng = np.random.default_rng(seed)
    step = max(1, _CHUNK // max(1, tokens * chosen))
    parts = []
    for start in range(0, draws, step):
        size = min(step, draws - start)
        ids = random_choices(rng, size * tokens, experts, chosen).reshape(size, -1)
        flat = ids + np.arange(size)[:, None] * experts
        parts.append(np.bincount(flat.ravel(), minlength=size * experts).reshape(size, experts))
    return np.concatenate(parts)


def random_choices(rng: np.random.Generator, rows: int, experts: int, chosen: int) -> np.ndarray:
    """[rows, chosen] ids, each row a uniformly random set of distinct experts.

    Floyd's sampling (Bentley and Floyd 1987, CACM 30:9), all rows at once: step j draws from
    0..j and takes j itself where the draw was already in the set.
    """
    ids = np.empty((rows, chosen), dtype=np.int64)
    for slot, last in enumerate(range(experts - chosen, experts)):
        drawn = rng.integers(0, last + 1, size=rows)
        taken = (ids[:, :slot] == drawn[:, None]).any(axis=1)
        ids[:, slot] = np.where(taken, last, drawn)
    return ids


def _frozen(array: np.ndarray) -> np.ndarray:
    array.setflags(write=False)
    return array
