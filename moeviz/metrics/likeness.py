"""Two models on one text: do their layers sort the same tokens together?"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from moeviz.metrics.align import Alignment, align
from moeviz.metrics.difference import multi_hot
from moeviz.metrics.divergence import SHUFFLES
from moeviz.metrics.runs import Run
from moeviz.trace import RoutingTrace, TraceError

MOST_TWINS = 192
"""Twins whose routes are compared; of more, so many evenly spaced ones."""


@dataclass(frozen=True)
class Likeness:
    """How alike the layers of two models sort N tokens into experts; A and B layers.

    twins: the tokens that both cut alike. used: [N] which of the twins were compared.
    agreement: [A, B] 1 where tokens that share experts in one layer share them in the other too, 0
    where the two have nothing to do with each other.
    chance: [A, B] its mean when the tokens of one model are shuffled, exactly. low, high: [A, B]
    95 % band of it. lead: 95 % of the shuffles have no pair of layers further above `chance` than
    this, which the best of A * B pairs must beat. shuffles: draws behind the bands.
    """

    twins: Alignment
    used: np.ndarray
    agreement: np.ndarray
    chance: np.ndarray
    low: np.ndarray
    high: np.ndarray
    lead: float
    shuffles: int


def likeness(
    a: RoutingTrace | Run, b: RoutingTrace | Run, shuffles: int = SHUFFLES, seed: int = 0
) -> Likeness:
    """The agreement of every layer of `a` with every layer of `b`; names of experts do not matter.

    Agreement is linear centred kernel alignment (Kornblith et al. 2019, arXiv:1905.00414) of the
    choices: how many experts each two tokens share, one table a layer, compared between models.
    Few tokens agree much by chance, hence the band. Raises TraceError where fewer than three tokens
    are cut alike.
    """
    twins = align(a.tokens, b.tokens)
    used = _spaced(len(twins.pairs))
    if len(used) < 3:
        raise TraceError(
            f"The two runs have {len(used)} tokens in common, too few to compare how they sort "
            "them. Give both the same text."
        )
    pairs = twins.pairs[used]
    one, other = _tables(a.experts[:, pairs[:, 0]]), _tables(b.experts[:, pairs[:, 1]])
    norms = np.outer(np.linalg.norm(one, axis=1), np.linalg.norm(other, axis=1))
    sums = np.outer(*(table[:, :: len(used) + 1].sum(axis=1) for table in (one, other)))
    chance = _ratio(sums / (len(used) - 1), norms)
    draws = np.stack(list(_shuffled(one, other, norms, shuffles, seed)))
    low, high = np.quantile(draws, (0.025, 0.975), axis=0)
    return Likeness(
        twins=twins,
        used=used,
        agreement=_ratio(one @ other.T, norms),
        chance=chance,
        low=low,
        high=high,
        lead=float(np.quantile((draws - chance).max(axis=(1, 2)), 0.95)),
        shuffles=shuffles,
    )


def _shuffled(
    one: np.ndarray, other: np.ndarray, norms: np.ndarray, shuffles: int, seed: int
) -> Iterator[np.ndarray]:
    """[A, B] agreement for each shuffle of one model's tokens, the same in all of its layers."""
    rng, count = np.random.default_rng(seed), math.isqrt(one.shape[1])
    fewer, more = (one, other) if len(one) <= len(other) else (other, one)
    for _ in range(shuffles):
        order = rng.permutation(count)
        places = (order[:, None] * count + order).ravel()
        mixed = np.take(fewer, places, axis=1) @ more.T
        yield _ratio(mixed if fewer is one else mixed.T, norms)


def _tables(experts: np.ndarray) -> np.ndarray:
    """[L, N * N] float32, per layer how many experts each two tokens share, centred both ways."""
    tables = []
    for ids in experts:
        hot = multi_hot(ids, int(ids.max(initial=0)) + 1)
        table = (hot @ hot.T).astype(np.float64)
        table -= table.mean(axis=0)
        table -= table.mean(axis=1, keepdims=True)
        tables.append(table.astype(np.float32).ravel())
    return np.stack(tables)


def _ratio(part: np.ndarray, whole: np.ndarray) -> np.ndarray:
    """part / whole; 0 where a layer sends every token to the same experts and tells nothing."""
    return np.divide(part, whole, out=np.zeros(np.shape(part)), where=whole > 1e-9)


def _spaced(count: int) -> np.ndarray:
    """Up to MOST_TWINS of `count` places, evenly spaced."""
    return np.unique(np.linspace(0, count - 1, min(count, MOST_TWINS)).astype(int))
