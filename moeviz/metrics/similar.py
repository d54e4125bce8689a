"""Which other tokens of the text were routed most like this one?"""

from __future__ import annotations

from dataclasses import dataclass
from math import comb

import numpy as np

from moeviz.metrics.load import layer_sizes
from moeviz.trace import RoutingTrace


@dataclass(frozen=True)
class SimilarTokens:
    """tokens: [N] other tokens, most alike first. overlap: [N] share of this token's choices, over
    all layers, that they made too. average: the mean of that share over all other tokens of the
    text. chance: what two uniformly random tokens share, mean of K/E. closest: 95 % band (low,
    high) of the most alike of as many uniformly random tokens; nan for a text of one token.
    """

    tokens: np.ndarray
    overlap: np.ndarray
    average: float
    chance: float
    closest: tuple[float, float]


def similar_tokens(trace: RoutingTrace, token: int, most: int = 10) -> SimilarTokens:
    """The `most` tokens that share most of token's chosen experts; equal ones in text order."""
    layers, tokens, experts, _ = trace.shape
    mine = np.zeros((layers, experts + 1), bool)  # the last column stands for empty slots
    np.put_along_axis(mine, trace.experts[:, token].astype(np.int64) % (experts + 1), True, axis=1)
    mine[:, experts] = False
    shared = np.zeros(tokens, np.int64)
    for row in range(layers):
        shared += mine[row, trace.experts[row]].sum(axis=-1)
    overlap = shared / max(1, shared[token])
    others = np.delete(np.arange(len(overlap)), token)
    order = others[np.argsort(-overlap[others], kind="stable")][:most]
    sizes, chosen = layer_sizes(trace)
    return SimilarTokens(
        tokens=order,
        overlap=overlap[order],
        average=float(overlap[others].mean()) if len(others) else float("nan"),
        chance=float((chosen / sizes).mean()),
        closest=_closest(sizes.tolist(), chosen.tolist(), len(others)),
    )


def _closest(sizes: list[int], chosen: list[int], others: int) -> tuple[float, float]:
    """95 % band of the largest overlap of `others` random tokens with one token.

    Shared choices of a layer are hypergeometric, of all layers their convolution; the largest of
    n independent ones has that distribution's cumulative function to the n-th power.
    """
    if not others:
        return float("nan"), float("nan")
    shared = np.ones(1)
    for e, k in zip(sizes, chosen, strict=True):
        ways = [comb(k, s) * comb(e - k, k - s) / comb(e, k) for s in range(k + 1)]
        shared = np.convolve(shared, ways)
    largest = np.minimum(np.cumsum(shared), 1) ** others
    low, high = np.searchsorted(largest, (0.025, 0.975))
    total = sum(chosen)
    return min(low, total) / total, min(high, total) / total
