"""Which tokens of two runs are the same piece of text?"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Hashable, Sequence
from dataclasses import dataclass

import numpy as np

from moeviz.trace import Tokens

CELLS = 400_000_000
"""Cells of a full search (tokens that differ, times the same of the other run): some 50 MB."""


@dataclass(frozen=True)
class Alignment:
    """pairs: [N, 2] token of the first run and its twin in the second, both columns rising.

    by: how they were found. "ids" (one vocabulary: a longest common subsequence of the token ids),
    "spans" (two vocabularies over one text: tokens that cover the same characters) or "none".
    complete: False where the texts were too long to search between their common beginning and end.
    """

    pairs: np.ndarray
    by: str
    complete: bool = True


UNLINKED = Alignment(np.zeros((0, 2), np.int32), "none")
"""No twins at all, for runs in which none were looked for."""


def align(a: Tokens, b: Tokens) -> Alignment:
    """The twins of two runs: by token id where both use one vocabulary, else by characters.

    Runs of two vocabularies over two different texts have no twins.
    """
    if one_vocabulary(a, b):
        pairs, complete = common_subsequence(a.ids.tolist(), b.ids.tolist())
        return Alignment(_table(pairs), "ids", complete)
    return Alignment(_table(_same_spans(a, b) if _one_text(a, b) else []), "spans")


def one_vocabulary(a: Tokens, b: Tokens) -> bool:
    """Whether both runs seem cut by one tokenizer, told from the ids that occur in both.

    Never where ids are not known (negative): those count the tokens of one run only.
    """
    if min(a.ids.min(initial=0), b.ids.min(initial=0)) < 0:
        return False
    shorter = min(len(a), len(b))
    if _one_text(a, b) and not np.array_equal(a.ids[:shorter], b.ids[:shorter]):
        return False
    shared = a.vocabulary.keys() & b.vocabulary.keys()
    return all(a.vocabulary[i] == b.vocabulary[i] for i in shared)


def _one_text(a: Tokens, b: Tokens) -> bool:
    """Whether both are the same text; a model may have cut its end off."""
    return a.source.startswith(b.source) or b.source.startswith(a.source)


def common_subsequence(
    a: Sequence[Hashable], b: Sequence[Hashable]
) -> tuple[list[tuple[int, int]], bool]:
    """(places in a and in b of a longest common subsequence, whether the search was complete).

    Between the common beginning and end of the two, the search takes n * m / 8 bytes; where that
    is more than CELLS allow, only beginning and end are paired.
    """
    start = _common_start(a, b)
    end = _common_start(a[start:][::-1], b[start:][::-1])
    left, right = a[start : len(a) - end], b[start : len(b) - end]
    complete = len(left) * len(right) <= CELLS
    middle = _search(left, right) if complete else []
    pairs = [(i, i) for i in range(start)]
    pairs += [(start + i, start + j) for i, j in middle]
    pairs += [(len(a) - n, len(b) - n) for n in range(end, 0, -1)]
    return pairs, complete


def _common_start(a: Sequence[Hashable], b: Sequence[Hashable]) -> int:
    for n, (x, y) in enumerate(zip(a, b, strict=False)):
        if x != y:
            return n
    return min(len(a), len(b))


def _search(a: Sequence[Hashable], b: Sequence[Hashable]) -> list[tuple[int, int]]:
    """A longest common subsequence by bit vectors, one row of the usual table a whole number.

    Bit j of row i is 0 where b[j] makes the subsequence of a[:i + 1] longer. Hyyrö 2004,
    "Bit-parallel LCS-length computation revisited"; time does not depend on what repeats, while
    difflib took 53 s for two periodic texts of 2,048 tokens.
    """
    where: dict[Hashable, int] = defaultdict(int)
    for j, item in enumerate(b):
        where[item] |= 1 << j
    full = (1 << len(b)) - 1
    row, rows = full, []
    for item in a:
        met = row & where.get(item, 0)
        row = ((row + met) | (row - met)) & full
        rows.append(row)
    return _trace_back(rows, len(b))


def _trace_back(rows: list[int], width: int) -> list[tuple[int, int]]:
    found, i, j = [], len(rows), width
    while i and j:
        if rows[i - 1] >> (j - 1) & 1:
            j -= 1
        elif i > 1 and not rows[i - 2] >> (j - 1) & 1:
            i -= 1
        else:
            i, j = i - 1, j - 1
            found.append((i, j))
    return found[::-1]


def _same_spans(a: Tokens, b: Tokens) -> list[tuple[int, int]]:
    """Tokens that cover the same characters, white space at their ends aside."""
    there = _places(b)
    return [(t, there[span]) for span, t in _places(a).items() if span in there]


def _places(tokens: Tokens) -> dict[tuple[int, int], int]:
    """Token by the characters it covers; several pieces of one character are left out."""
    found: dict[tuple[int, int], int] = {}
    shared = set()
    for t, (start, end) in enumerate(tokens.spans.tolist()):
        text = tokens.source[start:end] if 0 <= start < end else ""
        if text.strip():
            start += len(text) - len(text.lstrip())
            end -= len(text) - len(text.rstrip())
        elif not text:
            continue
        if (start, end) in found:
            shared.add((start, end))
        found[start, end] = t
    return {span: t for span, t in found.items() if span not in shared}


def _table(pairs: list[tuple[int, int]]) -> np.ndarray:
    table = np.array(pairs, dtype=np.int32).reshape(-1, 2)
    table.setflags(write=False)
    return table
