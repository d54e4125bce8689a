"""What one model did with a whole corpus, as counts: small enough to keep, exact to add up.

Axes: P passages, L routed layers, E experts. A layer with fewer experts than the widest has
zeros beyond its own.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np

from moeviz.corpora.corpus import CorpusError, Source, label_column

POSITIONS = 12
"""Bins of token positions: 0, 1, 2-3, 4-7, ... each twice as wide as the one before."""


@dataclass(frozen=True, eq=False)
class TokenCounts:
    """How often each (layer, expert) was chosen where a token stood; sparse.

    keys: [N] int64, (layer * E + expert) * vocabulary + token id, ascending and unique.
    counts: [N] int64. tokens: [vocabulary] int64, times each token stood anywhere.
    """

    vocabulary: int
    keys: np.ndarray
    counts: np.ndarray
    tokens: np.ndarray

    def of(self, place: int) -> tuple[np.ndarray, np.ndarray]:
        """(token ids, counts) of the expert at `place` = layer row * E + expert."""
        low, high = np.searchsorted(
            self.keys, (place * self.vocabulary, (place + 1) * self.vocabulary)
        )
        return self.keys[low:high] % self.vocabulary, self.counts[low:high]

    def __add__(self, other: TokenCounts) -> TokenCounts:
        keys = np.concatenate([self.keys, other.keys])
        order = np.argsort(keys, kind="stable")  # two sorted runs: one merge
        keys = keys[order]
        starts = np.flatnonzero(np.diff(keys, prepend=-1))
        counts = np.concatenate([self.counts, other.counts])[order]
        counts = np.add.reduceat(counts, starts) if len(starts) else counts
        keys = keys[starts]
        return TokenCounts(self.vocabulary, keys, counts, self.tokens + other.tokens)


@dataclass(frozen=True, eq=False)
class CorpusRouting:
    """Counts of one model's choices over a corpus; padding is never among them.

    model, revision, weights: whose they are; `weights` is a digest of them ("" unknown).
    corpus, phase: what was read; "prefill" for text that was read, "decode" for text that the
    model wrote itself after each passage.
    layers: (L,) place of each routed layer in the model. experts, chosen: [L] E and K of each.
    labels: by column, [P] str. documents, families: [P] str, see `Corpus`.
    tokens: [P] int32 counted tokens. counts: [P, L, E] int32, times each expert was chosen.

    What published counts lack may be None:
    first: [P, L, E] int32, times it was the first choice. gates: [P, L, E] float32, its summed
    weights. same_first, shared: [P, L] int32, neighbouring tokens with the same first choice, with
    any choice in common. neighbours: [P] int32, pairs of neighbouring tokens.
    together: [L, E, E] int64, tokens that chose both (paper); ranked: the same where the two stood
    next to each other in rank (script). positions: [L, E, POSITIONS] int64, by place in the text.
    vocabulary: by kind ("input", "next" true, "predicted") the `TokenCounts`.
    pieces: the spelling of each token id that occurs.
    sources: to show beside every figure. notes: sentences the reader must know.

    `a + b` is exactly what one run over both corpora would have counted.
    """

    model: str
    corpus: str
    layers: tuple[int, ...]
    experts: np.ndarray
    chosen: np.ndarray
    labels: Mapping[str, np.ndarray]
    documents: np.ndarray
    families: np.ndarray
    parallel: np.ndarray
    tokens: np.ndarray
    counts: np.ndarray
    revision: str = ""
    weights: str = ""
    phase: str = "prefill"
    first: np.ndarray | None = None
    gates: np.ndarray | None = None
    same_first: np.ndarray | None = None
    shared: np.ndarray | None = None
    neighbours: np.ndarray | None = None
    together: np.ndarray | None = None
    ranked: np.ndarray | None = None
    positions: np.ndarray | None = None
    vocabulary: Mapping[str, TokenCounts] = field(default_factory=dict)
    pieces: Mapping[int, str] = field(default_factory=dict)
    sources: tuple[Source, ...] = ()
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        passages, layers, _ = self.shape
        if self.counts.ndim != 3 or len(self.tokens) != passages or len(self.layers) != layers:
            raise CorpusError(
                f"counts has shape {self.counts.shape}, but {len(self.tokens)} passages and "
                f"{len(self.layers)} layers need ({len(self.tokens)}, {len(self.layers)}, E)."
            )
        for column in (*self.labels.values(), self.documents, self.families, self.parallel):
            if len(column) != passages:
                raise CorpusError(f"A column has {len(column)} entries for {passages} passages.")
        for array in (*self._per_passage().values(), *self._totals().values()):
            array.setflags(write=False)

    @property
    def shape(self) -> tuple[int, int, int]:
        """(P, L, E)."""
        return self.counts.shape

    @cached_property
    def assignments(self) -> np.ndarray:
        """[P, L] filled slots: tokens * K where none was empty."""
        return self.counts.sum(axis=-1)

    def by_label(self, label: str) -> tuple[np.ndarray, np.ndarray]:
        """(names [G], counts [G, L, E] int64) of a label column; passages without it left out."""
        column = self.column(label)
        names = np.unique(column[column != ""])
        return names, np.stack([self.counts[column == name].sum(axis=0) for name in names])

    def column(self, label: str) -> np.ndarray:
        """[P] that label of every passage; raises CorpusError when there is no such column."""
        return label_column(self.labels, label, self.corpus)

    def where(self, keep: np.ndarray) -> CorpusRouting:
        """The passages where `keep` [P] is true, without the totals over all passages."""
        parts = {name: array[keep] for name, array in self._per_passage().items()}
        columns = {name: column[keep] for name, column in self.labels.items()}
        gone = dict.fromkeys(("together", "ranked", "positions"))
        return dataclasses.replace(self, **parts, **gone, labels=columns, vocabulary={})

    def __add__(self, other: CorpusRouting) -> CorpusRouting:
        _check_alike(self, other)
        mine, yours = self._per_passage(), other._per_passage()
        totals, others = self._totals(), other._totals()
        return dataclasses.replace(
            self,
            corpus=self.corpus if self.corpus == other.corpus else f"{self.corpus}, {other.corpus}",
            labels={
                name: np.concatenate([column, other.labels[name]])
                for name, column in self.labels.items()
            },
            **{name: np.concatenate([mine[name], yours[name]]) for name in mine},
            **{name: totals[name] + others[name] for name in totals},
            vocabulary={
                kind: counts + other.vocabulary[kind] for kind, counts in self.vocabulary.items()
            },
            pieces={**self.pieces, **other.pieces},
            sources=tuple(dict.fromkeys((*self.sources, *other.sources))),
            notes=tuple(dict.fromkeys((*self.notes, *other.notes))),
        )

    def _per_passage(self) -> dict[str, np.ndarray]:
        return self._present(
            "documents", "families", "parallel", "tokens", "counts",
            "first", "gates", "same_first", "shared", "neighbours",
        )  # fmt: skip

    def _totals(self) -> dict[str, np.ndarray]:
        return self._present("together", "ranked", "positions")

    def _present(self, *names: str) -> dict[str, np.ndarray]:
        return {name: getattr(self, name) for name in names if getattr(self, name) is not None}

    def __repr__(self) -> str:
        passages, layers, experts = self.shape
        return (
            f"CorpusRouting({self.model!r} on {self.corpus!r}, {self.phase}: {passages} passages, "
            f"{int(self.tokens.sum()):,} tokens, {layers} routed layers, {experts} experts)"
        )


def _check_alike(one: CorpusRouting, other: CorpusRouting) -> None:
    same = (
        (one.model, one.weights, one.layers, one.phase, one.shape[1:])
        == (other.model, other.weights, other.layers, other.phase, other.shape[1:])
        and set(one.labels) == set(other.labels)
        and set(one.vocabulary) == set(other.vocabulary)
        and set(one._per_passage()) == set(other._per_passage())
        and set(one._totals()) == set(other._totals())
    )
    if not same:
        raise CorpusError(
            f"{one.model} on {one.corpus} ({one.phase}) and {other.model} on {other.corpus} "
            f"({other.phase}) cannot be added up: model, phase, labels and what was counted must "
            "be the same."
        )
