"""Adding up choices batch by batch, in memory that does not grow with the text."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from moeviz.corpora.routing import POSITIONS, CorpusRouting, TokenCounts
from moeviz.trace import EMPTY

MOST_CELLS = 2**26
"""Largest dense table of (layer, expert, token) counts: 256 MiB."""

MOST_WAITING = 2**22
"""Choices that wait at least until they are sorted into a sparse table."""


@dataclass(frozen=True, eq=False)
class Rows:
    """R counted tokens of some passages, in reading order, and what each layer chose for them.

    passage: [R] row of the corpus. position: [R] place in the passage, special tokens included.
    ids: [L, R, K] chosen experts, largest gate first, -1 empty. gates: [L, R, K].
    tokens: by kind of vocabulary, [R] token ids, -1 where there is none.
    """

    passage: np.ndarray
    position: np.ndarray
    ids: np.ndarray
    gates: np.ndarray
    tokens: dict[str, np.ndarray]

    @cached_property
    def filled(self) -> np.ndarray | None:
        """[L, R, K] which slots hold an expert; None where all do."""
        filled = self.ids != EMPTY
        return None if filled.all() else filled

    def of_filled(self, values: np.ndarray) -> np.ndarray:
        """Those of `values` [L, R, K] whose slots hold an expert, as one row."""
        return values.ravel() if self.filled is None else values[self.filled]


class Tally:
    """The counts of a `CorpusRouting` in the making."""

    BY_PASSAGE = ("tokens", "neighbours", "counts", "first", "gates", "same_first", "shared")
    IN_ALL = ("together", "ranked", "positions")

    def __init__(self, passages: int, layers: int, experts: int, vocabulary: dict[str, int]):
        shape = (passages, layers, experts)
        self.tokens = np.zeros(passages, np.int32)
        self.neighbours = np.zeros(passages, np.int32)
        self.counts = np.zeros(shape, np.int32)
        self.first = np.zeros(shape, np.int32)
        self.gates = np.zeros(shape, np.float32)
        self.same_first = np.zeros(shape[:2], np.int32)
        self.shared = np.zeros(shape[:2], np.int32)
        self.together = np.zeros((layers, experts, experts), np.int64)
        self.ranked = np.zeros_like(self.together)
        self.positions = np.zeros((layers, experts, POSITIONS), np.int64)
        self._words = {kind: _Words(layers, experts, size) for kind, size in vocabulary.items()}

    def add(self, rows: Rows) -> None:
        """Counts some rows; all rows of one passage must come in one call."""
        if not len(rows.passage):
            return
        self._by_passage(rows)
        self._neighbours(rows)
        self._together(rows.ids)
        self._positions(rows)
        for kind, words in self._words.items():
            words.add(rows.tokens[kind], rows.ids)

    def take(self, rows: slice, counted: CorpusRouting) -> None:
        """Takes over what was counted of these passages elsewhere."""
        for name in self.BY_PASSAGE:
            getattr(self, name)[rows] = getattr(counted, name)
        for name in self.IN_ALL:
            getattr(self, name)[:] += getattr(counted, name)
        for kind, words in self._words.items():
            words.take(counted.vocabulary[kind])

    @property
    def kinds(self) -> tuple[str, ...]:
        """The kinds of vocabulary that are counted."""
        return tuple(self._words)

    def totals(self) -> dict:
        """Everything counted, by the names that `CorpusRouting` has for it."""
        vocabulary = {kind: words.total() for kind, words in self._words.items()}
        counted = {name: getattr(self, name) for name in (*self.BY_PASSAGE, *self.IN_ALL)}
        return {**counted, "vocabulary": vocabulary}

    def _by_passage(self, rows: Rows) -> None:
        touched, owner = np.unique(rows.passage, return_inverse=True)
        _, layers, experts = self.counts.shape
        size = (len(touched), layers, experts)
        self.tokens[touched] += np.bincount(owner).astype(np.int32)
        place = (owner * layers + np.arange(layers)[:, None]) * experts  # [L, R]
        flat = rows.of_filled(place[..., None] + rows.ids)
        self.counts[touched] += np.bincount(flat, minlength=np.prod(size)).reshape(size)
        summed = np.bincount(flat, rows.of_filled(rows.gates), minlength=np.prod(size))
        self.gates[touched] += summed.reshape(size)
        flat = (place + rows.ids[..., 0])[rows.ids[..., 0] != EMPTY]
        self.first[touched] += np.bincount(flat, minlength=np.prod(size)).reshape(size)

    def _neighbours(self, rows: Rows) -> None:
        owner = rows.passage[1:]
        if not len(owner):
            return
        beside = (owner == rows.passage[:-1]) & (rows.position[1:] == rows.position[:-1] + 1)
        choices = np.moveaxis(rows.ids, 2, 0).copy()  # [K, L, R]: slot by slot is quicker
        before, after = choices[..., :-1], choices[..., 1:]
        same_first = (before[0] == after[0]) & (after[0] != EMPTY)
        shared = np.zeros_like(same_first)
        for other in after:
            met = (before == other).any(0)
            shared |= met & (other != EMPTY)
        starts = np.flatnonzero(np.diff(owner, prepend=-1))
        passages = owner[starts]
        self.neighbours[passages] += np.add.reduceat(beside, starts, dtype=np.int32)
        for total, hit in ((self.same_first, same_first), (self.shared, shared)):
            total[passages] += np.add.reduceat(hit & beside, starts, axis=1, dtype=np.int32).T

    def _together(self, ids: np.ndarray) -> None:
        experts = self.counts.shape[2]
        chosen = ids.shape[2]
        pairs = [(a, b) for a in range(chosen) for b in range(a + 1, chosen)]
        for layer, choice in enumerate(np.where(ids == EMPTY, experts, ids)):
            counted = np.zeros((2, experts + 1, experts + 1), np.int64)
            for a, b in pairs:
                flat = choice[:, a] * (experts + 1) + choice[:, b]
                found = np.bincount(flat, minlength=counted[0].size).reshape(counted[0].shape)
                counted[0] += found
                counted[1] += found if b == a + 1 else 0
            both = (counted + counted.transpose(0, 2, 1))[:, :experts, :experts]
            self.together[layer] += both[0]
            self.ranked[layer] += both[1]

    def _positions(self, rows: Rows) -> None:
        layers, experts, bins = self.positions.shape
        where = np.minimum(np.frexp(rows.position)[1], bins - 1)  # bits that the position needs
        place = np.arange(layers)[:, None, None] * experts + rows.ids
        flat = rows.of_filled(place * bins + where[:, None])
        self.positions += np.bincount(flat, minlength=self.positions.size).reshape(
            self.positions.shape
        )


class _Words:
    """`TokenCounts` in the making: a dense table where one fits, else sorted blocks."""

    def __init__(self, layers: int, experts: int, vocabulary: int):
        self._experts, self._vocabulary = experts, vocabulary
        self._tokens = np.zeros(vocabulary, np.int64)
        cells = layers * experts * vocabulary
        self._table = np.zeros(cells, np.int32) if cells <= MOST_CELLS else None
        self._kept = TokenCounts(vocabulary, _NOTHING, _NOTHING, self._tokens)
        self._waiting: list[np.ndarray] = []

    def add(self, tokens: np.ndarray, ids: np.ndarray) -> None:
        if (tokens < 0).any():
            known = tokens >= 0
            tokens, ids = tokens[known], ids[:, known]
        words = tokens.astype(np.int64)
        _add(self._tokens, words)
        place = np.arange(len(ids))[:, None, None] * self._experts + ids
        keys = place * self._vocabulary + words[:, None]
        filled = ids != EMPTY
        self._waiting.append(keys.ravel() if filled.all() else keys[filled])
        if sum(map(len, self._waiting)) > self._most():
            self._merge()

    def take(self, counted: TokenCounts) -> None:
        self._tokens += counted.tokens
        if self._table is not None:
            self._table[counted.keys] += counted.counts.astype(np.int32)
            return
        self._kept = self._kept + dataclasses.replace(counted, tokens=np.zeros_like(self._tokens))

    def _most(self) -> int:
        """Choices that may wait: merging reads a sorted table whole, a dense one costs little."""
        if self._table is not None:
            return min(MOST_WAITING, len(self._table) // 4)
        return max(MOST_WAITING, len(self._kept.keys))

    def _merge(self) -> None:
        keys = np.concatenate([_NOTHING, *self._waiting])
        self._waiting = []
        if self._table is not None:
            _add(self._table, keys)
            return
        keys, counts = np.unique(keys, return_counts=True)
        found = TokenCounts(self._vocabulary, keys, counts, np.zeros_like(self._tokens))
        self._kept = self._kept + found

    def total(self) -> TokenCounts:
        self._merge()
        if self._table is not None:
            keys = np.flatnonzero(self._table)
            counts = self._table[keys].astype(np.int64)
            return TokenCounts(self._vocabulary, keys, counts, self._tokens)
        return TokenCounts(self._vocabulary, self._kept.keys, self._kept.counts, self._tokens)


def _add(table: np.ndarray, places: np.ndarray) -> None:
    """Adds 1 at each of the places: by counting them all, unless the table is far longer."""
    if len(table) <= 64 * len(places):
        table += np.bincount(places, minlength=len(table)).astype(table.dtype)  # ten times quicker
    else:
        np.add.at(table, places, 1)


_NOTHING = np.zeros(0, np.int64)
