"""Timing things in turn, so that a busy moment of the machine hits all of them alike."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Ratio:
    """How long `what` takes against `against`, over rounds in which both ran in turn.

    ratio: median over rounds; low, high: the middle half of the rounds. limit: the most it may
    be, or None. seconds, base_seconds: medians. rounds: how many.
    """

    what: str
    against: str
    ratio: float
    low: float
    high: float
    limit: float | None
    seconds: float
    base_seconds: float
    rounds: int


MOST_SECONDS, FEWEST_ROUNDS = 60, 3
"""After so long no further round begins, once there were a few."""


def take_turns(things: dict[str, Callable[[], object]], rounds: int) -> dict[str, np.ndarray]:
    """[rounds] seconds of each thing; one untimed round first, then all in turn, order reversed
    every other round. On a slow machine there are fewer rounds."""
    for thing in things.values():
        thing()
    took: dict[str, list[float]] = {name: [] for name in things}
    began = time.perf_counter()
    for number in range(rounds):
        if number >= FEWEST_ROUNDS and time.perf_counter() - began > MOST_SECONDS:
            break
        names = list(things) if number % 2 else list(reversed(things))
        for name in names:
            start = time.perf_counter()
            things[name]()
            took[name].append(time.perf_counter() - start)
    return {name: np.array(seconds) for name, seconds in took.items()}


def ratio(
    took: dict[str, np.ndarray], what: str, against: str, limit: float | None = None
) -> Ratio:
    """The `Ratio` of two of the things that took turns."""
    each = took[what] / took[against]
    low, middle, high = np.quantile(each, (0.25, 0.5, 0.75))
    return Ratio(
        what,
        against,
        float(middle),
        float(low),
        float(high),
        limit,
        float(np.median(took[what])),
        float(np.median(took[against])),
        len(each),
    )


HEAD = ("what", "against", "ratio", "middle half", "at most", "median", "rounds")


def as_table(ratios: list[Ratio]) -> str:
    """The ratios as aligned text."""
    rows = [HEAD, *(cells(row) for row in ratios)]
    wide = [max(len(row[column]) for row in rows) for column in range(len(HEAD))]
    return "\n".join(
        "  ".join(
            cell.ljust(width) if column < 2 else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(row, wide, strict=True))
        ).rstrip()
        for row in rows
    )


def cells(row: Ratio) -> tuple[str, ...]:
    """What a table says of it, in the order of HEAD."""
    return (
        row.what,
        row.against,
        f"{row.ratio:.3f}",
        f"{row.low:.3f} to {row.high:.3f}",
        "" if row.limit is None else f"{row.limit:.2f}",
        f"{1000 * row.seconds:.1f} ms",
        str(row.rounds),
    )
