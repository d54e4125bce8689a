"""Which experts read one set of texts more than another, and how much of that would chance do?"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np

from moeviz.metrics.compare import RESAMPLES
from moeviz.metrics.load import layer_sizes
from moeviz.rules.interventions import Rule, Steer
from moeviz.trace import EMPTY, RoutingTrace, TraceError

SHUFFLES = 2000
"""Deals of the texts to the two sets behind a band; all of them where there are no more."""

LEVEL = 0.05
"""Share of deals in which some expert may lie outside the band."""


@dataclass(frozen=True, eq=False)
class Contrast:
    """Two sets of texts, A and B, expert by expert.

    share_a, share_b: [L, E] share of the set's tokens that choose the expert; nan beyond the
    experts a layer has. difference: [L, E] risk difference share_a - share_b (SteerMoE,
    arXiv:2509.09660).
    low, high: [L, E] where 95 % of the deals leave this one expert. reach: in 95 % of the deals no
    expert of any layer differs by more than this, either way. p: [L, E] share of deals in which
    some expert differs at least as much as this one does (Westfall and Young 1993, single-step
    max), so that looking at all L * E experts is paid for.
    deals: how many; every: they are all there are. least: the smallest p these sets can give.
    texts, tokens: of A and of B; tokens that stand for no text are not counted.
    """

    share_a: np.ndarray
    share_b: np.ndarray
    difference: np.ndarray
    low: np.ndarray
    high: np.ndarray
    reach: float
    p: np.ndarray
    deals: int
    every: bool
    least: float
    texts: tuple[int, int]
    tokens: tuple[int, int]

    @property
    def beyond(self) -> np.ndarray:
        """[L, E] bool: the experts that differ by more than chance would let any of them."""
        return self.p <= LEVEL

    def ranked(self) -> list[tuple[int, int]]:
        """(row, expert) of every expert, the largest difference in size first."""
        size = np.where(np.isfinite(self.difference), -np.abs(self.difference), np.inf)
        order = np.argsort(size, axis=None, kind="stable")[: int(np.isfinite(size).sum())]
        return [divmod(int(place), size.shape[1]) for place in order]


def contrast(
    first: Sequence[RoutingTrace], second: Sequence[RoutingTrace], seed: int = 0
) -> Contrast:
    """The contrast of two sets of texts, one trace a text, all by one model.

    The deals give whole texts to sets of the same sizes, since tokens of one text go together.
    Raises TraceError for fewer than two texts in a set, texts without tokens, or unlike models.
    """
    traces = [*first, *second]
    _check(first, second)
    counts = np.stack([_counts(trace) for trace in traces])
    tokens = np.array([_plain(trace).sum() for trace in traces])
    shape = counts.shape[1:]
    labels, every = _deals(len(first), len(second), seed)
    dealt = _differences(labels, counts.reshape(len(traces), -1), tokens)
    absent = np.arange(shape[1]) >= layer_sizes(traces[0])[0][:, None]
    largest = np.abs(dealt).max(axis=1)
    difference = dealt[0].reshape(shape)
    p = (largest[:, None, None] >= np.abs(difference) - 1e-12).mean(axis=0)
    low, high = np.quantile(dealt, (LEVEL / 2, 1 - LEVEL / 2), axis=0)
    inside = np.arange(len(traces)) < len(first)
    shares = [counts[part].sum(axis=0) / tokens[part].sum() for part in (inside, ~inside)]
    return Contrast(
        *(np.where(absent, np.nan, share) for share in shares),
        difference=np.where(absent, np.nan, difference),
        low=low.reshape(shape),
        high=high.reshape(shape),
        reach=float(np.quantile(largest, 1 - LEVEL, method="higher")),
        p=np.where(absent, 1.0, p),
        deals=len(labels),
        every=every,
        least=_least(len(first), len(second), len(labels)),
        texts=(len(first), len(second)),
        tokens=(int(tokens[inside].sum()), int(tokens[~inside].sum())),
    )


def steering(found: Contrast, layers: Sequence[str], towards_a: bool, count: int) -> Rule:
    """The `count` experts that differ most, pushed so that the model leans towards A (or B).

    layers: [L] their names. Experts of the wanted set go up, those of the other down, as in
    SteerMoE (arXiv:2509.09660) §3.
    """
    pushed: dict[int, tuple[list[int], list[int]]] = {}
    for row, expert in found.ranked()[:count]:
        up = (found.difference[row, expert] > 0) == towards_a
        pushed.setdefault(row, ([], []))[not up].append(expert)
    return Rule(tuple(Steer(*pushed[row], layers=layers[row]) for row in sorted(pushed)))


def random_steering(rule: Rule, experts: Sequence[int], seed: int) -> Rule:
    """The control for `steering`: as many other experts of the same layers, pushed the same ways.

    experts: how many each layer of the rule has, in the order of its parts.
    """
    rng = np.random.default_rng(seed)
    parts = []
    for part, size in zip(rule.parts, experts, strict=True):
        named = (*part.up, *part.down)
        others = [e for e in range(size) if e not in named]
        free = others if len(others) >= len(named) else range(size)
        drawn = rng.permutation(free)[: len(named)].tolist()
        ups = len(part.up)
        parts.append(Steer(drawn[:ups], drawn[ups:], layers=part.layers))
    return Rule(tuple(parts))


def steering_cost(
    plain: Sequence[RoutingTrace], steered: Sequence[RoutingTrace], seed: int = 0
) -> tuple[float, float, float]:
    """(mean, low, high) change of the next-token loss in nats over all tokens of the texts, and its
    95 % bootstrap interval, whole texts being drawn anew; nan for a model without a loss."""
    if any(trace.loss is None for trace in (*plain, *steered)):
        return (math.nan,) * 3
    changes = [b.loss - a.loss for a, b in zip(plain, steered, strict=True)]
    sums = np.array([np.nansum(change) for change in changes])
    sizes = np.array([np.isfinite(change).sum() for change in changes])
    drawn = np.random.default_rng(seed).integers(0, len(sums), (RESAMPLES, len(sums)))
    means = sums[drawn].sum(axis=1) / np.maximum(sizes[drawn].sum(axis=1), 1)
    low, high = np.quantile(means, (0.025, 0.975))
    return float(sums.sum() / max(1, sizes.sum())), float(low), float(high)


def _plain(trace: RoutingTrace) -> np.ndarray:
    """[T] bool: tokens that stand for text."""
    return ~trace.tokens.special


def _counts(trace: RoutingTrace) -> np.ndarray:
    """[L, E] tokens of one text that choose each expert."""
    layers, _, experts, _ = trace.shape
    ids = trace.experts[:, _plain(trace)].astype(np.int64)
    flat = (np.arange(layers)[:, None, None] * experts + ids)[ids != EMPTY]
    return np.bincount(flat, minlength=layers * experts).reshape(layers, experts)


def _deals(first: int, second: int, seed: int) -> tuple[np.ndarray, bool]:
    """[D, N] bool, which texts are dealt to A; the real deal first. Whether these are all."""
    total = first + second
    every = math.comb(total, first) <= SHUFFLES
    if every:
        parts = np.array(list(combinations(range(total), first)))
    else:
        rng = np.random.default_rng(seed)
        dealt = [rng.permutation(total)[:first] for _ in range(SHUFFLES - 1)]
        parts = np.array([np.arange(first), *dealt])
    labels = np.zeros((len(parts), total), bool)
    np.put_along_axis(labels, parts, True, axis=1)
    return labels, every


def _differences(labels: np.ndarray, counts: np.ndarray, tokens: np.ndarray) -> np.ndarray:
    """[D, L * E] risk differences under each deal."""
    inside = labels.astype(float)
    mine, held = inside @ counts, inside @ tokens
    rest, left = counts.sum(axis=0) - mine, tokens.sum() - held
    return mine / held[:, None] - rest / left[:, None]


def _least(first: int, second: int, deals: int) -> float:
    """Two of all deals show the real difference where the sets are equally large: the real one
    and its mirror image."""
    ways = math.comb(first + second, first)
    return max((2 if first == second else 1) / ways, 1 / deals)


def _check(first: Sequence[RoutingTrace], second: Sequence[RoutingTrace]) -> None:
    if min(len(first), len(second)) < 2:
        raise TraceError(
            f"Each set needs at least 2 texts, one a line; there are {len(first)} and "
            f"{len(second)}."
        )
    one, *rest = (*first, *second)
    if any((x.layers, x.router.experts) != (one.layers, one.router.experts) for x in rest):
        raise TraceError("Both sets must be read by the same model.")
    if any(not _plain(trace).any() for trace in (one, *rest)):
        raise TraceError("A text has no tokens but special ones, so there is nothing to count.")
