"""Do neighbouring tokens go to the same experts more often than chance would send them there?"""

from __future__ import annotations

from dataclasses import dataclass
from math import comb

import numpy as np

from moeviz.corpora.corpus import CorpusError
from moeviz.corpora.routing import CorpusRouting
from moeviz.metrics.load import layer_sizes
from moeviz.trace import EMPTY, RoutingTrace

SHUFFLES = 200
"""Random orders behind the band: enough for two digits."""


@dataclass(frozen=True)
class Repetition:
    """Share of consecutive token pairs, every array [L].

    first: both have the same first choice. shared: they share any chosen expert.
    even_first, even_shared: chance of an even random router, 1/E and 1 - C(E-K, K) / C(E, K).
    loaded_first: chance of a random router with this layer's own load, sum of squared shares of
    first choices; a layer with one busy expert repeats much by this alone.
    Jiang et al. 2024 (arXiv:2401.04088), Table 5.
    """

    first: np.ndarray
    shared: np.ndarray
    even_first: np.ndarray
    even_shared: np.ndarray
    loaded_first: np.ndarray


def repetition(trace: RoutingTrace) -> Repetition:
    """How often each token is routed like the one before it; all nan for a single token."""
    ids = trace.experts
    before, after = ids[:, :-1], ids[:, 1:]
    same = (before[..., 0] == after[..., 0]) & (after[..., 0] != EMPTY)
    meet = (before[..., :, None] == after[..., None, :]) & (after[..., None, :] != EMPTY)
    sizes, chosen = layer_sizes(trace)
    return Repetition(
        first=_mean(same),
        shared=_mean(meet.any(axis=(-1, -2))),
        even_first=1 / sizes,
        even_shared=_even_shared(sizes, chosen),
        loaded_first=np.array([_meeting_chance(row[:, 0]) for row in ids]),
    )


def corpus_repetition(routing: CorpusRouting, label: str = "") -> dict[str, Repetition]:
    """`repetition` of a whole corpus run, by value of `label`, or of all passages ("all").

    Pairs of tokens within a passage; nan where there are none.
    """
    if routing.neighbours is None or routing.first is None:
        raise CorpusError(
            f"For {routing.corpus} it is not known which tokens stood side by side, nor so how "
            "often neighbours share experts."
        )
    groups = {"all": np.ones(len(routing.tokens), bool)}
    if label:
        column = routing.column(label)
        groups = {str(name): column == name for name in np.unique(column[column != ""])}
    return {name: _of_passages(routing, keep) for name, keep in groups.items()}


def _of_passages(routing: CorpusRouting, keep: np.ndarray) -> Repetition:
    pairs = routing.neighbours[keep].sum() or np.nan
    first = routing.first[keep].sum(axis=0)
    share = first / np.maximum(first.sum(axis=1, keepdims=True), 1)
    return Repetition(
        first=routing.same_first[keep].sum(axis=0) / pairs,
        shared=routing.shared[keep].sum(axis=0) / pairs,
        even_first=1 / routing.experts,
        even_shared=_even_shared(routing.experts, routing.chosen),
        loaded_first=(share**2).sum(axis=1),
    )


def _even_shared(sizes: np.ndarray, chosen: np.ndarray) -> np.ndarray:
    """[L] chance that two random choices of K of E meet: 1 - C(E-K, K) / C(E, K)."""
    pairs = zip(sizes.tolist(), chosen.tolist(), strict=True)
    return np.array([1 - comb(e - k, k) / comb(e, k) for e, k in pairs])


def shuffled_repetition(
    trace: RoutingTrace, shuffles: int = SHUFFLES, seed: int = 0
) -> tuple[np.ndarray, np.ndarray]:
    """([L], [L]) 95 % band of `Repetition.first` with the same tokens in random order.

    Each layer keeps its load, so what lies above the band is due to the order of the text alone.
    """
    first = trace.experts[:, :, 0]
    rng = np.random.default_rng(seed)
    shares = []
    for _ in range(shuffles):
        dealt = first[:, rng.permutation(first.shape[1])]
        shares.append(_mean((dealt[:, :-1] == dealt[:, 1:]) & (dealt[:, 1:] != EMPTY)))
    low, high = np.quantile(shares, (0.025, 0.975), axis=0)
    return low, high


def _mean(pairs: np.ndarray) -> np.ndarray:
    return pairs.mean(axis=1) if pairs.shape[1] else np.full(len(pairs), np.nan)


def _meeting_chance(first: np.ndarray) -> float:
    counts = np.bincount(first[first != EMPTY])
    return float(((counts / max(1, counts.sum())) ** 2).sum())
