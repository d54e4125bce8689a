"""A traced text as the pieces a reader sees: each character shown once, however it was cut."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from moeviz.charts.once import once
from moeviz.trace import Tokens


@dataclass(frozen=True)
class Unit:
    """A stretch of text and the tokens behind it.

    Usually one token; several when they are byte pieces of the same characters; none (count 0)
    for text that the tokenizer passed over. special: stands for no text, like <|endoftext|>.
    """

    text: str
    first: int
    count: int
    special: bool = False


@once
def text_units(tokens: Tokens) -> tuple[Unit, ...]:
    """The units of the text in reading order; together they cover it up to the last token.

    Tokens whose spans overlap share a unit: cutting there would cut a character in two.
    """
    units: list[Unit] = []
    at = 0
    for first, count in _groups(tokens):
        start, end = _span(tokens, first, count)
        if end <= start:
            units += [_mark(tokens, t) for t in range(first, first + count)]
            continue
        if start > at:
            units.append(Unit(tokens.source[at:start], first, 0))
        units.append(Unit(tokens.source[start:end], first, count))
        at = max(at, end)
    return tuple(units)


def unit_of_token(units: tuple[Unit, ...], tokens: int) -> np.ndarray:
    """[T] which unit each token belongs to."""
    owner = np.zeros(tokens, dtype=np.int32)
    for i, unit in enumerate(units):
        owner[unit.first : unit.first + unit.count] = i
    return owner


def _groups(tokens: Tokens) -> list[tuple[int, int]]:
    """(first token, how many) of each run of tokens with overlapping spans."""
    groups: list[tuple[int, int]] = []
    reach = -1
    for t, (start, end) in enumerate(tokens.spans.tolist()):
        if groups and 0 <= start < end and start < reach:
            groups[-1] = (groups[-1][0], groups[-1][1] + 1)
        else:
            groups.append((t, 1))
        reach = max(reach, end) if start < end else reach
    return groups


def _span(tokens: Tokens, first: int, count: int) -> tuple[int, int]:
    spans = tokens.spans[first : first + count]
    return int(spans[:, 0].min()), int(spans[:, 1].max())


def _mark(tokens: Tokens, t: int) -> Unit:
    token = tokens[t]
    return Unit(token.piece or token.text or f"id {token.id}", t, 1, special=True)
