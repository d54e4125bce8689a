"""What would chance alone show? Labels dealt anew over whole documents, many times."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from moeviz.corpora.corpus import CorpusError
from moeviz.corpora.routing import CorpusRouting

DRAWS = 199
"""Deals behind each band: with the true labels 200, so that 5 % is a whole number of them."""

LEVEL = 0.05
"""Share of deals in which something may rise above the band by chance."""


@dataclass(frozen=True, eq=False)
class Deal:
    """The true labels of a corpus run and labels dealt at random.

    names: [G] labels. unit: [P] unit of each passage, -1 without a label; units are what is dealt
    whole: "families" (documents with their translations) where all of a family have one label (and
    one stratum), else "documents", else "passages"; kind: which of them.
    codes: [1 + D, U] label of each unit, the true ones first.
    """

    names: np.ndarray
    unit: np.ndarray
    codes: np.ndarray
    kind: str

    @property
    def draws(self) -> int:
        """D; 0 where nothing can be dealt because every label has one unit only."""
        return len(self.codes) - 1

    def sums(self, values: np.ndarray) -> np.ndarray:
        """[1 + D, G, M] sums of per-passage counts [P, M] by label: the true ones, then the deals.

        As products with 0 and 1: float32, in which whole numbers up to 2^24 add up exactly, else
        float64.
        """
        known = np.flatnonzero(self.unit >= 0)
        rows = known[np.argsort(self.unit[known], kind="stable")]
        starts = np.searchsorted(self.unit[rows], np.arange(self.codes.shape[1]))
        kind = np.float32 if values.sum(axis=0, dtype=np.int64).max() < 2**24 else np.float64
        by_unit = np.add.reduceat(values[rows], starts, axis=0, dtype=kind)
        labels = np.arange(len(self.names))[:, None]
        return np.stack([(codes == labels).astype(kind) @ by_unit for codes in self.codes])


def deal_labels(
    routing: CorpusRouting, label: str, draws: int = DRAWS, seed: int = 0, within: str = ""
) -> Deal:
    """The labels of a column and `draws` random deals of them over whole units.

    within: deal only among units of one value of that column, so that what it explains (such as
    the language, when the label is the domain) cannot pass for an effect of the label.
    Raises CorpusError when fewer than two labels are there to compare.
    """
    column = routing.column(label)
    known = column != ""
    names, code = np.unique(column[known], return_inverse=True)
    if len(names) < 2:
        raise CorpusError(
            f"{routing.corpus} has {len(names)} value of {label!r}; at least two are needed to "
            "compare."
        )
    strata = routing.column(within)[known] if within else np.full(len(code), "")
    stratum = np.unique(strata, return_inverse=True)[1]
    kind, member = _units(routing, known, code, stratum)
    _, first, unit = np.unique(member, return_index=True, return_inverse=True)
    true, stratum = code[first], stratum[first]
    if len(true) == len(names):
        draws = 0  # one unit a label: any deal only swaps the names
    rng = np.random.default_rng(seed)
    order = np.argsort(stratum, kind="stable")
    codes = np.repeat(true[None], draws + 1, axis=0)
    for row in codes[1:]:
        row[order] = true[np.lexsort((rng.random(len(true)), stratum))]
    place = np.full(len(column), -1)
    place[known] = unit
    return Deal(names, place, codes, kind)


def _units(routing: CorpusRouting, known: np.ndarray, *codes: np.ndarray) -> tuple[str, np.ndarray]:
    """The largest units of which every one has a single value in each of `codes` [P]."""
    for kind, column in (("families", routing.families), ("documents", routing.documents)):
        member = np.unique(column[known], return_inverse=True)[1]
        if all(_constant(member, code) for code in codes):
            return kind, member
    return "passages", np.arange(int(known.sum()))


def _constant(member: np.ndarray, code: np.ndarray) -> bool:
    last = np.zeros(member.max() + 1, int)
    last[member] = code
    return bool((last[member] == code).all())


@dataclass(frozen=True, eq=False)
class Band:
    """A figure beside what dealt labels give.

    low, high: the middle 95 % of the deals, one by one. mean: their mean. above: what rises above
    chance even though so many were looked at: at most LEVEL of all deals have any such. nan, nan,
    nan and None without deals.
    """

    low: np.ndarray
    high: np.ndarray
    mean: np.ndarray
    above: np.ndarray | None


def bands(layers: list[np.ndarray]) -> list[Band]:
    """Bands of figures [1 + D, ...], the true one first; one array a layer.

    `above` compares each figure, in units of its own spread over all deals, with the largest of
    all figures of all layers in each deal (Westfall and Young 1993, step one: the family-wise error
    is LEVEL, exactly, as the true labels count as one of the deals).
    """
    if len(layers[0]) < 2:
        return [Band(*[np.full(layer.shape[1:], np.nan)] * 3, None) for layer in layers]
    scores, found = [], []
    for layer in layers:
        spread = layer.std(axis=0)
        score = (layer - layer.mean(axis=0)) / np.where(spread > 1e-12, spread, np.inf)
        scores.append(score)
    most = np.max([score.reshape(len(score), -1).max(axis=1) for score in scores], axis=0)
    bar = np.sort(most)[-int(LEVEL * len(most)) - 1]
    for layer, score in zip(layers, scores, strict=True):
        low, high = np.quantile(layer[1:], (0.025, 0.975), axis=0)
        found.append(Band(low, high, layer[1:].mean(axis=0), score[0] > bar))
    return found
