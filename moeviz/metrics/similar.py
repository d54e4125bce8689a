"""Which other tokens of the text were routed most like this one?"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from moeviz.metrics.load import layer_sizes
from moeviz.trace import EMPTY, RoutingTrace


@dataclass(frozen=True)
class SimilarTokens:
    """tokens: [N] other tokens, most alike first. overlap: [N] share of this token's choices, over
    all layers, that they made too. chance: what two uniformly random tokens share, mean of K/E.
    """

    tokens: np.ndarray
    overlap: np.ndarray
    chance: float


def similar_tokens(trace: RoutingTrace, token: int, most: int = 10) -> SimilarTokens:
    """The `most` tokens that share most of token's chosen experts; equal ones in text order."""
    mine = trace.experts[:, token]
    filled = mine != EMPTY
    meet = (trace.experts[..., :, None] == mine[:, None, None, :]).any(axis=2)  # [L, T, K]
    overlap = (meet & filled[:, None]).sum(axis=(0, 2)) / max(1, filled.sum())
    overlap[token] = -1
    order = np.argsort(-overlap, kind="stable")[: min(most, len(overlap) - 1)]
    sizes, chosen = layer_sizes(trace)
    return SimilarTokens(order, overlap[order], float((chosen / sizes).mean()))
