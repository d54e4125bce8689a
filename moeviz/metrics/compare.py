"""Two runs over the same tokens: what did the second one cost, and where did it route otherwise?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from moeviz.rules.predictions import Predictions
from moeviz.trace import EMPTY, RoutingTrace, TraceError

RESAMPLES = 1000


@dataclass(frozen=True)
class Comparison:
    """A changed run against the plain one, token by token.

    loss_change: [T] next-token loss of the changed run minus the plain one, nats; last nan; None
    where a run has no loss. mean_change, low, high: its mean over tokens and a 95 % bootstrap
    interval. rerouted: [L, T] bool, the changed run sent the token to an expert that the plain run
    did not choose there. dropped: [L, T, K] bool, slots that the changed run left empty; K of the
    plain run. moved: [L, T] bool, the token's set of experts is not what it was.
    predictions: what both runs predict, or None. mean_kl, kl_low, kl_high: mean over tokens of
    KL(plain || changed) in nats and its interval; nan without predictions.
    """

    loss_change: np.ndarray | None
    mean_change: float
    low: float
    high: float
    rerouted: np.ndarray
    dropped: np.ndarray
    moved: np.ndarray
    predictions: Predictions | None = None
    mean_kl: float = float("nan")
    kl_low: float = float("nan")
    kl_high: float = float("nan")


@dataclass(frozen=True, eq=False)
class Control:
    """What changes drawn at random cost: mean_changes [R] nats, of one run each; their mean, and
    low and high, between which all lie."""

    mean_changes: np.ndarray
    mean: float
    low: float
    high: float


@dataclass(frozen=True, eq=False)
class Ablations:
    """Each expert of one layer muted in turn.

    mean_change, low, high: [E] mean change of the next-token loss in nats and its 95 % bootstrap
    interval. used: [E] tokens that went to the expert in the plain run. order: [E] experts, the
    costliest to lose first.
    """

    mean_change: np.ndarray
    low: np.ndarray
    high: np.ndarray
    used: np.ndarray
    order: np.ndarray


def compare(
    plain: RoutingTrace,
    changed: RoutingTrace,
    seed: int = 0,
    predictions: Predictions | None = None,
) -> Comparison:
    """The difference that a rule made; raises TraceError for runs over different tokens.

    The runs may differ in K. predictions: of `moeviz.what_if`, kept with the rest.
    """
    if not np.array_equal(plain.tokens.ids, changed.tokens.ids) or plain.layers != changed.layers:
        raise TraceError("Only two runs of one model over the same tokens can be compared.")
    change = None
    if plain.loss is not None and changed.loss is not None:
        change = changed.loss - plain.loss
    mean, low, high = mean_interval(change, seed)
    kl = mean_interval(None if predictions is None else predictions.kl, seed)
    kept, had = changed.experts != EMPTY, plain.experts != EMPTY
    same = changed.experts[..., :, None] == plain.experts[..., None, :]
    new = (kept & ~same.any(axis=-1)).any(axis=-1)
    gone = (had & ~same.any(axis=-2)).any(axis=-1)
    slots = had.shape[-1]
    filled = np.zeros_like(had)
    filled[..., : kept.shape[-1]] = kept[..., :slots]
    return Comparison(
        loss_change=change,
        mean_change=mean,
        low=low,
        high=high,
        rerouted=new,
        dropped=had & ~filled,
        moved=new | gone,
        predictions=predictions,
        mean_kl=kl[0],
        kl_low=kl[1],
        kl_high=kl[2],
    )


def control(plain: RoutingTrace, losses: Sequence[np.ndarray]) -> Control:
    """What runs under randomly drawn rules cost; losses: [T] nats of each."""
    means = np.array([np.nanmean(loss - plain.loss) for loss in losses])
    return Control(means, float(means.mean()), float(means.min()), float(means.max()))


def ablations(plain: RoutingTrace, row: int, losses: np.ndarray, seed: int = 0) -> Ablations:
    """What each expert of the routed layer in `row` is worth; losses [E, T] with it muted."""
    found = np.array([mean_interval(loss - plain.loss, seed) for loss in losses])
    used = [(plain.experts[row] == e).any(axis=-1).sum() for e in range(len(losses))]
    order = np.argsort(-found[:, 0], kind="stable")
    return Ablations(found[:, 0], found[:, 1], found[:, 2], np.array(used), order)


def mean_interval(values: np.ndarray | None, seed: int = 0) -> tuple[float, float, float]:
    """Mean of the finite values and a 95 % percentile interval of it, from resampled tokens
    (Efron 1979); nan where there are none."""
    known = values[np.isfinite(values)] if values is not None else np.zeros(0)
    if not len(known):
        return (float("nan"),) * 3
    return (float(known.mean()), *_bootstrap(known, seed))


def _bootstrap(values: np.ndarray, seed: int) -> tuple[float, float]:
    """95 % percentile interval of the mean, from resampled tokens (Efron 1979)."""
    rng = np.random.default_rng(seed)
    draws = rng.integers(0, len(values), size=(RESAMPLES, len(values)))
    low, high = np.quantile(values[draws].mean(axis=1), (0.025, 0.975))
    return float(low), float(high)
