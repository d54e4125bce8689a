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


def take_turns(things: dict[str, Callable[[], object]], rounds: int) -> dict[str, np.ndarray]:
    """[rounds] seconds of each thing; one untimed round first, then all in turn, order reversed
    every other round."""
    for thing in things.values():
        thing()
    took: dict[str, list[float]] = {name: [] for name in things}
    for number in range(rounds):
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


def as_table(ratios: list[Ratio]) -> str:
    """The ratios as aligned text."""
    lines = [f"{'what':<44}{'against':<34}{'ratio':>7}  {'middle half':>15}  {'limit':>6}  median"]
    for row in ratios:
        limit = "" if row.limit is None else f"{row.limit:.2f}"
        spread = f"{row.low:.3f} to {row.high:.3f}"
        lines.append(
            f"{row.what:<44}{row.against:<34}{row.ratio:>7.3f}  {spread:>15}  {limit:>6}"
            f"  {1000 * row.seconds:.1f} ms"
        )
    return "\n".join(lines)
