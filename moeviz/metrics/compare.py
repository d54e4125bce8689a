"""Two runs over the same tokens: what did the second one cost, and where did it route otherwise?"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from moeviz.trace import EMPTY, RoutingTrace, TraceError

RESAMPLES = 1000


@dataclass(frozen=True)
class Comparison:
    """A changed run against the plain one, token by token.

    loss_change: [T] next-token loss of the changed run minus the plain one, nats; last nan; None
    where a run has no loss. mean_change, low, high: its mean over tokens and a 95 % bootstrap
    interval. rerouted: [L, T] bool, the changed run sent the token to an expert that the plain run
    did not choose there. dropped: [L, T, K] bool, slots that the changed run left empty.
    """

    loss_change: np.ndarray | None
    mean_change: float
    low: float
    high: float
    rerouted: np.ndarray
    dropped: np.ndarray


def compare(plain: RoutingTrace, changed: RoutingTrace, seed: int = 0) -> Comparison:
    """The difference that a rule made; raises TraceError for runs over different tokens."""
    if not np.array_equal(plain.tokens.ids, changed.tokens.ids) or plain.layers != changed.layers:
        raise TraceError("Only two runs of one model over the same tokens can be compared.")
    change = None
    mean = low = high = float("nan")
    if plain.loss is not None and changed.loss is not None:
        change = changed.loss - plain.loss
        known = change[np.isfinite(change)]
        if len(known):
            mean = float(known.mean())
            low, high = _bootstrap(known, seed)
    kept = changed.experts != EMPTY
    familiar = (changed.experts[..., :, None] == plain.experts[..., None, :]).any(axis=-1)
    return Comparison(
        loss_change=change,
        mean_change=mean,
        low=low,
        high=high,
        rerouted=(kept & ~familiar).any(axis=-1),
        dropped=~kept & (plain.experts != EMPTY),
    )


def _bootstrap(values: np.ndarray, seed: int) -> tuple[float, float]:
    """95 % percentile interval of the mean, from resampled tokens (Efron 1979)."""
    rng = np.random.default_rng(seed)
    draws = rng.integers(0, len(values), size=(RESAMPLES, len(values)))
    low, high = np.quantile(values[draws].mean(axis=1), (0.025, 0.975))
    return float(low), float(high)
