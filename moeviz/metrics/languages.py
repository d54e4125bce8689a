"""Do languages that say the same take the same route? Divergence on parallel text, per layer."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from moeviz.corpora.corpus import LANGUAGE, CorpusError
from moeviz.corpora.routing import CorpusRouting
from moeviz.metrics.shuffle import DRAWS


@dataclass(frozen=True, eq=False)
class LanguageDivergence:
    """How differently G languages use the experts for the same passages.

    pairs: [L, G, G] JSD(q_a, q_b) / (ln E - (H_a + H_b) / 2), in nats over nats; 0 on the diagonal.
    mean: [L] over all pairs. low, high: [L] 95 % band with the languages of each passage dealt anew
    among its translations. names: [G] languages. passages: sets of translations. draws: of the
    band.

    arXiv:2510.04694, where the curve over layers is U-shaped: languages part at both ends and meet
    in the middle.
    """

    layers: tuple[int, ...]
    names: np.ndarray
    pairs: np.ndarray
    mean: np.ndarray
    low: np.ndarray
    high: np.ndarray
    passages: int
    draws: int


def language_divergence(
    routing: CorpusRouting, label: str = LANGUAGE, draws: int = DRAWS, seed: int = 0
) -> LanguageDivergence:
    """The divergence on sets of passages that say the same in every one of the languages.

    Takes the languages that occur in at least half of the sets, and the sets that have all of
    them. Raises CorpusError where fewer than two languages share a set.
    """
    names, sets = _parallel_sets(routing, label)
    counts = routing.counts[sets].astype(np.float64)  # [S, G, L, E]
    rng = np.random.default_rng(seed)
    real = _pairs(counts.sum(axis=0), routing.experts)
    first = np.arange(len(sets))[:, None]
    dealt = []
    for _ in range(draws):
        order = rng.permuted(np.tile(np.arange(len(names)), (len(sets), 1)), axis=1)
        dealt.append(_mean(_pairs(counts[first, order].sum(axis=0), routing.experts)))
    low, high = np.quantile(dealt, (0.025, 0.975), axis=0)
    return LanguageDivergence(routing.layers, names, real, _mean(real), low, high, len(sets), draws)


def _parallel_sets(routing: CorpusRouting, label: str) -> tuple[np.ndarray, np.ndarray]:
    """(names [G], passages [S, G]) of the sets of translations that have all of the languages."""
    column = routing.column(label)
    rows = np.flatnonzero((routing.parallel != "") & (column != ""))
    sets, which = np.unique(routing.parallel[rows], return_inverse=True)
    languages, spoken = np.unique(column[rows], return_inverse=True)
    place = np.full((len(sets), len(languages)), -1)
    place[which, spoken] = rows
    usual = (place >= 0).mean(axis=0) >= 0.5 if len(sets) else np.zeros(0, bool)
    whole = (place[:, usual] >= 0).all(axis=1)
    if usual.sum() < 2 or not whole.any():
        raise CorpusError(
            f"{routing.corpus} has no passages that say the same in several languages (two or more "
            f"values of {label!r} with one parallel name)."
        )
    return languages[usual], place[whole][:, usual]


def _pairs(counts: np.ndarray, experts: np.ndarray) -> np.ndarray:
    """[L, G, G] from counts [G, L, E]."""
    share = counts / np.maximum(counts.sum(axis=-1, keepdims=True), 1)
    share = share.transpose(1, 0, 2)
    entropy = _nats(share)
    middle = _nats((share[:, :, None] + share[:, None]) / 2)
    own = (entropy[:, :, None] + entropy[:, None]) / 2
    room = np.log(experts)[:, None, None] - own
    return np.where(room > 1e-12, np.maximum(middle - own, 0) / np.maximum(room, 1e-12), 0)


def _nats(share: np.ndarray) -> np.ndarray:
    return -(share * np.log(np.where(share > 0, share, 1))).sum(axis=-1)


def _mean(pairs: np.ndarray) -> np.ndarray:
    groups = pairs.shape[-1]
    return pairs.sum(axis=(1, 2)) / (groups * (groups - 1))
