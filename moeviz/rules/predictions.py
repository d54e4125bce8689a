"""What two runs of one text predict, side by side: a small value instead of two [T, V] tables."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, eq=False)
class Predictions:
    """Next-token predictions of a changed run against the plain one, token by token.

    kl: [T] float32, KL(plain || changed) of the two distributions over the vocabulary, nats.
    before_ids, after_ids: [T, N] int32, the likeliest next tokens, best first; before, after:
    [T, N] float32, their probabilities. pieces: the text of each id that occurs.
    """

    kl: np.ndarray
    before_ids: np.ndarray
    before: np.ndarray
    after_ids: np.ndarray
    after: np.ndarray
    pieces: dict[int, str]
