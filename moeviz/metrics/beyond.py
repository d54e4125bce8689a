"""Is a share more than chance, although so many shares were looked at?"""

from __future__ import annotations

import numpy as np

LEVEL = 0.05
"""Chance that any one of all the shares looked at passes, if none is more than chance."""


def beyond(
    share: np.ndarray, base: np.ndarray | float, times: np.ndarray, looks: int
) -> np.ndarray:
    """Whether a share of so many `times` is above `base` beyond chance, where `looks` were tried.

    By the bound P(X >= n q) <= exp(-n KL(q | base)) of a binomial (Chernoff 1952), with
    Bonferroni's correction: on the safe side, if the times are independent.
    """
    return (share > base) & (times * _nats(share, base) > np.log(max(1, looks) / LEVEL))


def _nats(share: np.ndarray, base: np.ndarray | float) -> np.ndarray:
    """KL divergence in nats of yes or no at `share` from yes or no at `base`."""
    base = np.clip(base, 1e-12, 1 - 1e-12)
    yes = share * np.log(np.where(share > 0, share, 1) / base)
    no = (1 - share) * np.log(np.where(share < 1, 1 - share, 1) / (1 - base))
    return yes + np.where(share < 1, no, 0)
