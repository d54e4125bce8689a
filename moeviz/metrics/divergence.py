"""How differently do groups of tokens use a layer's experts, and how much of that is chance?"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from moeviz.trace import EMPTY, RoutingTrace, TraceError

SHUFFLES = 200


@dataclass(frozen=True)
class Divergence:
    """bits: [L] generalised Jensen-Shannon divergence between groups, 0 where all route alike.

    low, high: [L] 95 % band of the same figure with tokens dealt to groups at random.
    shuffles: number of deals behind the band. groups: their names.
    """

    bits: np.ndarray
    low: np.ndarray
    high: np.ndarray
    shuffles: int
    groups: tuple[str, ...]


def divergence_bits(counts: np.ndarray) -> np.ndarray:
    """Generalised JSD in bits of counts [..., G, E]: H(mean of shares) - mean of H(share).

    Every group weighs the same. Lin 1991 (IEEE Trans. Inf. Theory 37:145), eq. 5.1.
    """
    share = counts / np.maximum(counts.sum(axis=-1, keepdims=True), 1)
    return _bits(share.mean(axis=-2)) - _bits(share).mean(axis=-1)


def counted_bits(counts: np.ndarray) -> float:
    """Bits that groups of counts [G, E] would show on average if all chose by the same shares.

    (G-1) (E-1) / (2 n ln 2) of n choices made one by one, the mean of a chi-square over 2 n ln 2;
    choices that hang together, as in whole documents, show more.
    """
    groups, experts = counts.shape
    return (groups - 1) * (experts - 1) / (2 * max(1, int(counts.sum())) * np.log(2))


def divergence(
    traces: dict[str, RoutingTrace], shuffles: int = SHUFFLES, seed: int = 0
) -> Divergence:
    """The divergence between the texts of `traces`, by name, at every layer.

    All traces must be of one model. The band deals whole tokens, with all their choices, to groups
    of the same sizes at random. Raises TraceError for fewer than two traces or unlike models.
    """
    _check(traces)
    ids = np.concatenate([trace.experts for trace in traces.values()], axis=1)
    sizes = [len(trace.tokens) for trace in traces.values()]
    groups = np.repeat(np.arange(len(sizes)), sizes)
    experts = next(iter(traces.values())).router.experts
    rng = np.random.default_rng(seed)
    dealt = [_of(ids, rng.permutation(groups), len(sizes), experts) for _ in range(shuffles)]
    low, high = np.quantile(dealt, (0.025, 0.975), axis=0)
    return Divergence(_of(ids, groups, len(sizes), experts), low, high, shuffles, tuple(traces))


def _of(ids: np.ndarray, groups: np.ndarray, count: int, experts: int) -> np.ndarray:
    """[L] divergence of ids [L, T, K] under one assignment of tokens to groups [T]."""
    layers = len(ids)
    filled = ids != EMPTY
    place = (np.arange(layers)[:, None] * count + groups)[..., None] * experts
    flat = (place + ids.astype(np.int64))[filled]
    counts = np.bincount(flat, minlength=layers * count * experts)
    return divergence_bits(counts.reshape(layers, count, experts))


def _bits(share: np.ndarray) -> np.ndarray:
    return -(share * np.log2(np.where(share > 0, share, 1))).sum(axis=-1)


def _check(traces: dict[str, RoutingTrace]) -> None:
    if len(traces) < 2:
        raise TraceError("Divergence compares at least two texts; give another one.")
    first, *rest = traces.values()
    for other in rest:
        if (other.layers, other.router.experts) != (first.layers, first.router.experts):
            raise TraceError(
                f"{first.source.model} and {other.source.model} have different experts, so their "
                "shares cannot be compared expert by expert."
            )
