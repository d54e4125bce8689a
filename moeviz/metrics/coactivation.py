"""Which experts of a layer fire together?"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from moeviz.corpora.corpus import CorpusError
from moeviz.corpora.routing import CorpusRouting
from moeviz.metrics.beyond import beyond
from moeviz.trace import EMPTY, RoutingTrace, TraceError

VARIANTS = ("paper", "script")


def coactivation(trace: RoutingTrace, row: int, variant: str = "paper") -> np.ndarray:
    """[E, E] share of the tokens of expert i that also chose expert j, in routed layer `row`.

    N_ij / N_i with N_ij over all pairs of a token's choices: Muennighoff et al. 2024
    (arXiv:2409.02060), eq. 6; chance is (K-1) / (E-1). The diagonal is nan, as are rows of experts
    that no token chose. variant "script" counts only choices next to each other in rank, as the
    published script does, whose chance is lower: `coactivation_chance`.
    """
    ids = trace.experts[row].astype(np.int64)
    experts = trace.router.experts
    together = np.zeros((experts, experts))
    for first, second in _pairs(ids.shape[1], variant):
        both = (ids[:, first] != EMPTY) & (ids[:, second] != EMPTY)
        np.add.at(together, (ids[both, first], ids[both, second]), 1)
        np.add.at(together, (ids[both, second], ids[both, first]), 1)
    return _share(together, np.bincount(ids[ids != EMPTY], minlength=experts))


def corpus_coactivation(routing: CorpusRouting, row: int, variant: str = "paper") -> np.ndarray:
    """`coactivation` of a whole corpus run, in routed layer `row`."""
    _pairs(1, variant)
    together = routing.together if variant == "paper" else routing.ranked
    if together is None:
        raise CorpusError(
            f"For {routing.corpus} it is not known which experts fired together, only how often "
            "each did."
        )
    size = int(routing.experts[row])
    chosen = routing.counts[:, row, :size].sum(axis=0)
    return _share(together[row, :size, :size].astype(float), chosen)


@dataclass(frozen=True, eq=False)
class Company:
    """Which experts of one layer fire together more than their loads make them.

    share: [E, E] N_ij / N_i, the part of expert i's tokens for which j was chosen too; nan for i
    itself and for experts that were never chosen. alone: [E, E] the same if each other slot were
    filled by load alone. even: the same for an even router.
    above: [E, E] what is more than chance even though so many pairs of the layer were looked at, as
    in `beyond`, of tokens taken one by one.
    """

    share: np.ndarray
    alone: np.ndarray
    even: float
    above: np.ndarray


def company(routing: CorpusRouting, row: int, variant: str = "paper") -> Company:
    """The pairs of experts in routed layer `row`; see `coactivation` for the variants."""
    share = corpus_coactivation(routing, row, variant)
    size, chosen = len(share), int(routing.chosen[row])
    load = routing.counts[:, row, :size].sum(axis=0).astype(float)
    even = coactivation_chance(size, chosen, variant)
    others = np.where(load.sum() > load, load.sum() - load, np.nan)
    alone = even * (size - 1) * load / others[:, None]
    np.fill_diagonal(alone, np.nan)
    pairs = size * (size - 1)
    above = beyond(np.nan_to_num(share), np.nan_to_num(alone), load[:, None], pairs)
    return Company(share, alone, even, above & np.isfinite(share))


def _share(together: np.ndarray, chosen: np.ndarray) -> np.ndarray:
    """N_ij / N_i of pair counts [E, E] and counts [E]."""
    share = together / np.where(chosen > 0, chosen, np.nan)[:, None]
    np.fill_diagonal(share, np.nan)
    return share


def coactivation_chance(experts: int, chosen: int, variant: str = "paper") -> float:
    """What every pair would show under uniformly random choices.

    paper: (K-1) / (E-1). script: each token of an expert has on average 2 (K-1) / K rank
    neighbours, so 2 (K-1) / (K (E-1)).
    """
    _pairs(chosen, variant)
    if experts < 2:
        return float("nan")
    paper = (chosen - 1) / (experts - 1)
    return paper if variant == "paper" else 2 * paper / chosen


def coactivation_band(tokens: int, experts: int, chosen: int) -> tuple[float, float]:
    """(low, high) shares that hold 95 % of pairs when an expert of `tokens` tokens meets others at
    random: quantiles of Binomial(tokens, (K-1) / (E-1)), over all pairs of a token's choices.
    """
    return binomial_band(tokens, coactivation_chance(experts, chosen))


def binomial_band(count: int, p: float) -> tuple[float, float]:
    """(low, high) 2.5 % and 97.5 % quantiles of Binomial(count, p) / count; nan for no count."""
    if not count or not np.isfinite(p):
        return float("nan"), float("nan")
    if p in (0.0, 1.0):
        return p, p
    k = np.arange(1, count + 1)
    log_ways = np.concatenate([[0.0], np.cumsum(np.log((count - k + 1) / k))])
    k = np.arange(count + 1)
    below = np.cumsum(np.exp(log_ways + k * np.log(p) + (count - k) * np.log1p(-p)))
    low, high = np.searchsorted(below, (0.025, 0.975))
    return low / count, min(high, count) / count


def _pairs(chosen: int, variant: str) -> list[tuple[int, int]]:
    if variant not in VARIANTS:
        raise TraceError(f"variant {variant!r} is not one of {', '.join(VARIANTS)}.")
    if variant == "script":
        return [(slot, slot + 1) for slot in range(chosen - 1)]
    return [(a, b) for a in range(chosen) for b in range(a + 1, chosen)]
