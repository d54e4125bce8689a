"""Which experts set some passages apart from the rest, and how many would by chance?"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from moeviz.corpora.routing import CorpusRouting
from moeviz.metrics.map import MapError

DRAWS = 200
"""Random sets behind each band."""

_MUCH = 5_000_000
"""Counts beyond which a quarter of the draws must do, or a click would wait for them."""


@dataclass(frozen=True)
class Apart:
    """Some passages against all the others, per (layer, expert); a layer's shares sum to 1.

    share: [L, E] of the passages' choices. rest: [L, E] of the choices of all other passages.
    lift: [L, E] share over rest; inf where the others never choose the expert, nan where nobody
    does. low, high: [L, E] 95 % of the share of as many passages taken at random.
    stands_out: [L, E] true where share differs from rest by more than the most different expert
    of 95 % of random sets does, so that no expert stands out by chance in 19 of 20 questions.
    passages, families: how many were asked about; draws: random sets behind the band.
    """

    share: np.ndarray
    rest: np.ndarray
    lift: np.ndarray
    low: np.ndarray
    high: np.ndarray
    stands_out: np.ndarray
    passages: int
    families: int
    draws: int

    def best(self, most: int = 10) -> list[tuple[int, int]]:
        """(layer row, expert) with the most lift among those that stand out above the rest."""
        lift = np.where(self.stands_out & (self.share > self.rest), self.lift, -1)
        order = np.argsort(-lift, axis=None, kind="stable")[:most]
        places = (np.unravel_index(at, lift.shape) for at in order if lift.flat[at] > 0)
        return [(int(row), int(expert)) for row, expert in places]


def set_apart(routing: CorpusRouting, chosen: np.ndarray, seed: int = 0) -> Apart:
    """The passages where `chosen` [P] is true against the others.

    Chance takes whole families of passages (one document and its translations) at random until
    there are as many passages, since passages of one text are not independent.
    Raises MapError unless some passages are chosen and some are not.
    """
    chosen = np.asarray(chosen, dtype=bool)
    if not chosen.any():
        raise MapError("No passage is selected, so there is nothing to compare.")
    if chosen.all():
        raise MapError("All passages are selected, so there are no others to compare them with.")
    passages, *shape = routing.shape
    flat = routing.counts.reshape(passages, -1).astype(np.float32)
    codes = np.unique(routing.families, return_inverse=True)[1]
    count, draws = int(chosen.sum()), DRAWS if flat.size <= _MUCH else DRAWS // 4
    drawn = np.stack(list(_random_sums(flat, codes, count, draws, seed)))
    inside, total = flat[chosen].sum(axis=0), flat.sum(axis=0)
    share, rest = _shares(inside, shape), _shares(total - inside, shape)
    chance = _shares(drawn, shape)
    gap = chance - _shares(total - drawn, shape)
    spread = np.maximum(gap.std(axis=0), 1e-9)
    most = (np.abs(gap) / spread).reshape(draws, -1).max(axis=1)
    low, high = np.quantile(chance, (0.025, 0.975), axis=0)
    with np.errstate(divide="ignore", invalid="ignore"):
        lift = share / rest
    stands_out = np.abs(share - rest) / spread > np.quantile(most, 0.95)
    families = len(np.unique(codes[chosen]))
    return Apart(share, rest, lift, low, high, stands_out, count, families, draws)


def _random_sums(
    flat: np.ndarray, codes: np.ndarray, count: int, draws: int, seed: int
) -> Iterator[np.ndarray]:
    """[L * E] counts of `count` passages, families taken whole at random, the last in part."""
    rng = np.random.default_rng(seed)
    for _ in range(draws):
        order = rng.permutation(int(codes.max()) + 1)[codes] + rng.random(len(codes))
        yield flat[np.argpartition(order, count - 1)[:count]].sum(axis=0)


def _shares(counts: np.ndarray, shape: Sequence[int]) -> np.ndarray:
    """[..., L, E] shares of each layer."""
    table = counts.reshape(*counts.shape[:-1], *shape)
    return table / np.maximum(table.sum(axis=-1, keepdims=True), 1)
