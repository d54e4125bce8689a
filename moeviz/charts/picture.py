"""What a screen needs to draw one figure: words and small facts, and the arrays behind them."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

MISSING = 65535
"""The stored value of a cell that has none."""


@dataclass(frozen=True)
class Picture:
    """meta: JSON values (titles, labels, colours). arrays: numpy arrays by name."""

    meta: dict
    arrays: dict[str, np.ndarray] = field(default_factory=dict)


def quantised(values: np.ndarray, low: float, high: float) -> np.ndarray:
    """Values as uint16 steps of (high - low) / 65534; anything not finite becomes MISSING.

    Half the bytes of float32 and still five digits, more than a tooltip shows.
    """
    span = (high - low) or 1.0
    finite = np.isfinite(values)
    steps = np.clip((np.where(finite, values, low) - low) / span, 0, 1) * (MISSING - 1)
    return np.where(finite, np.rint(steps), MISSING).astype(np.uint16)
