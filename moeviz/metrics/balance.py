"""How evenly do the experts share the work, layer by layer, and how even would chance be?

n_i assignments to expert i of E, mean n = sum n / E. Layers are never pooled: four layers that
each collapsed onto a different expert look perfectly even together.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from moeviz.metrics.load import (
    DRAWS,
    expert_load,
    layer_sizes,
    random_choices,
    random_loads,
)
from moeviz.metrics.router import has_logits, router_probabilities
from moeviz.trace import EMPTY, RoutingTrace

Z_DRAWS = 40
"""Shuffles of the logits behind the band of the z-loss; each costs as much as the loss itself."""


@dataclass(frozen=True)
class Balance:
    """Balance of each layer; every array is [L] but for `share` [L, E].

    share: n_i / sum n. cv: coefficient of variation, std / mean of n. max_violation: MaxVio,
    (max n - mean n) / mean n. entropy: of the shares over ln E; 1 is even. gini: 0 even, 1 - 1/E
    collapsed. dead: experts that no token chose.
    aux_loss: Switch auxiliary loss E * sum f_i P_i without its coefficient, 1 when even. z_loss:
    mean squared logsumexp of the logits. importance: (std / mean)^2 of summed gates. The first
    two are nan where the trace has no logits, the last where it has no gates.
    """

    share: np.ndarray
    cv: np.ndarray
    max_violation: np.ndarray
    entropy: np.ndarray
    gini: np.ndarray
    dead: np.ndarray
    aux_loss: np.ndarray
    z_loss: np.ndarray
    importance: np.ndarray


@dataclass(frozen=True)
class BalanceChance:
    """95 % bands (low, high) of what uniformly random routers of this T, E and K give."""

    cv: tuple[float, float]
    max_violation: tuple[float, float]
    entropy: tuple[float, float]
    gini: tuple[float, float]
    dead: tuple[float, float]
    draws: int


def balance(trace: RoutingTrace) -> Balance:
    """The balance of every layer of `trace`; see the functions below for formulas and sources."""
    load = expert_load(trace)
    sizes, _ = layer_sizes(trace)
    counts = [row[:size] for row, size in zip(load.counts, sizes, strict=True)]
    each = {
        name: np.array([float(measure(row)) for row in counts])
        for name, measure in (
            ("cv", variation),
            ("max_violation", max_violation),
            ("entropy", evenness),
            ("gini", gini),
        )
    }
    rows = range(len(counts))
    return Balance(
        share=load.share,
        dead=np.array([int((row == 0).sum()) for row in counts]),
        aux_loss=np.array([_aux_loss(trace, row, int(sizes[row])) for row in rows]),
        z_loss=np.array([_z_loss(trace, row, int(sizes[row])) for row in rows]),
        importance=np.array([_importance(trace, row, int(sizes[row])) for row in rows]),
        **each,
    )


def balance_chance(
    tokens: int, experts: int, chosen: int, draws: int = DRAWS, seed: int = 0
) -> BalanceChance:
    """What `draws` routers that send each token to `chosen` distinct random experts would show."""
    counts = random_loads(tokens, experts, chosen, draws, seed)

    def band(values: np.ndarray) -> tuple[float, float]:
        low, high = np.quantile(values, (0.025, 0.975))
        return float(low), float(high)

    return BalanceChance(
        cv=band(variation(counts)),
        max_violation=band(max_violation(counts)),
        entropy=band(evenness(counts)),
        gini=band(gini(counts)),
        dead=band((counts == 0).sum(axis=-1)),
        draws=draws,
    )


@dataclass(frozen=True)
class LossChance:
    """95 % bands of the losses that need gates or probabilities, of random routers; each [L].

    Of the auxiliary loss: the model's mean probabilities, first choices at random. Of the
    importance loss: the model's gates, given to experts at random. nan where not known.
    """

    aux_low: np.ndarray
    aux_high: np.ndarray
    importance_low: np.ndarray
    importance_high: np.ndarray
    draws: int


def loss_chance(trace: RoutingTrace, draws: int = DRAWS, seed: int = 0) -> LossChance:
    """What `draws` random routers would show of the losses of every layer of `trace`."""
    sizes = list(zip(*(x.tolist() for x in layer_sizes(trace)), strict=True))
    bands = np.full((len(sizes), 4), np.nan)
    for experts, chosen in sorted(set(sizes)):
        rows = [row for row, size in enumerate(sizes) if size == (experts, chosen)]
        rng = np.random.default_rng(seed)
        for row in rows:
            bands[row, :2] = _aux_band(trace, row, experts, draws, rng)
        if trace.gates is None:
            continue
        random = _random_importance(trace, rows, experts, chosen, draws, rng)
        bands[rows, 2:] = np.quantile(random, (0.025, 0.975), axis=0).T
    return LossChance(*bands.T, draws)


def _aux_band(
    trace: RoutingTrace, row: int, experts: int, draws: int, rng: np.random.Generator
) -> np.ndarray:
    if not has_logits(trace, row):
        return np.full(2, np.nan)
    tokens = max(1, int((trace.experts[row, :, 0] != EMPTY).sum()))
    firsts = rng.multinomial(tokens, np.full(experts, 1 / experts), size=draws) / tokens
    mean = router_probabilities(trace, row)[:, :experts].mean(axis=0)
    return np.quantile(experts * firsts @ mean, (0.025, 0.975))


def _random_importance(
    trace: RoutingTrace,
    rows: list[int],
    experts: int,
    chosen: int,
    draws: int,
    rng: np.random.Generator,
) -> np.ndarray:
    """[draws, rows] importance loss when the gates of every token go to random experts.

    All layers share the draws; the slots of a draw are shuffled, since the larger gates come first.
    """
    tokens = len(trace.tokens)
    gates = trace.gates[rows][..., :chosen].reshape(len(rows), -1)
    found = []
    for _ in range(draws):
        ids = rng.permuted(random_choices(rng, tokens, experts, chosen), axis=1).ravel()
        found.append([np.bincount(ids, weights, minlength=experts) for weights in gates])
    return variation(np.array(found)) ** 2


def variation(counts: np.ndarray) -> np.ndarray:
    """Coefficient of variation of counts [..., E]: population standard deviation over mean."""
    return counts.std(axis=-1) / counts.mean(axis=-1)


def max_violation(counts: np.ndarray) -> np.ndarray:
    """MaxVio of counts [..., E]: (max - mean) / mean; 0 is even, E/K - 1 is all on the same K.

    Wang et al. 2024 (arXiv:2408.15664).
    """
    mean = counts.mean(axis=-1)
    return (counts.max(axis=-1) - mean) / mean


def evenness(counts: np.ndarray) -> np.ndarray:
    """Entropy of the shares of counts [..., E] over ln E: 1 is even, 0 is a single expert."""
    share = counts / counts.sum(axis=-1, keepdims=True)
    nats = -(share * np.log(np.where(share > 0, share, 1))).sum(axis=-1)
    return nats / np.log(counts.shape[-1]) if counts.shape[-1] > 1 else np.ones_like(nats)


def gini(counts: np.ndarray) -> np.ndarray:
    """Gini coefficient of counts [..., E]: mean absolute difference over twice the mean."""
    ordered = np.sort(counts, axis=-1)
    size = counts.shape[-1]
    weights = 2 * np.arange(1, size + 1) - size - 1
    return (weights * ordered).sum(axis=-1) / (size * ordered.sum(axis=-1))


def switch_aux_loss(first: np.ndarray, probabilities: np.ndarray) -> float:
    """E * sum over experts of f_i P_i: 1 when even, E when collapsed; without its coefficient.

    first [T]: each token's first choice; f_i is the share of tokens whose it is.
    probabilities [T, E]; P_i is their mean. Fedus et al. 2021 (arXiv:2101.03961), eq. 4 to 6.
    """
    experts = probabilities.shape[-1]
    share = np.bincount(first, minlength=experts) / len(first)
    return float(experts * (share * probabilities.mean(axis=0)).sum())


def pooled_aux_loss(trace: RoutingTrace) -> float:
    """The auxiliary loss as transformers' load_balancing_loss_func has it, for comparison only.

    E * sum over slots and experts of f P with all layers' tokens in one pool: K when even, and
    also K when every layer collapsed, each onto another expert. nan without logits.
    """
    if trace.logits is None:
        return float("nan")
    layers, tokens, experts, _ = trace.shape
    counts = np.bincount(trace.experts[trace.experts != EMPTY], minlength=experts)
    mean = np.mean([router_probabilities(trace, row).mean(axis=0) for row in range(layers)], axis=0)
    return float(experts * (counts / (layers * tokens) * mean).sum())


def _aux_loss(trace: RoutingTrace, row: int, experts: int) -> float:
    if trace.logits is None:
        return float("nan")
    first = trace.experts[row, :, 0]
    chose = first != EMPTY
    if not chose.any():
        return float("nan")
    return switch_aux_loss(first[chose], router_probabilities(trace, row)[chose, :experts])


def _z_loss(trace: RoutingTrace, row: int, experts: int) -> float:
    """Mean of (ln sum exp logits)^2. Zoph et al. 2022 (arXiv:2202.08906), eq. 5."""
    if trace.logits is None:
        return float("nan")
    return _mean_squared_total(trace.logits[row, :, :experts].astype(np.float64))


def _mean_squared_total(logits: np.ndarray) -> float:
    peak = logits.max(axis=-1)
    total = peak + np.log(np.exp(logits - peak[:, None]).sum(axis=-1))
    return float((total**2).mean())


def z_loss_chance(
    trace: RoutingTrace, draws: int = Z_DRAWS, seed: int = 0
) -> tuple[np.ndarray, np.ndarray]:
    """[L] low and high of the z-loss, 95 % of `draws`, when each expert's logits are dealt anew
    among the tokens.

    A random choice of experts says nothing about the size of logits, and neither does a renaming
    of experts. This permutation keeps each expert's own logits and breaks what binds those of one
    token: outside the band they hang together. Our own null; nan where logits are not known.
    """
    sizes, _ = layer_sizes(trace)
    bands = np.full((len(sizes), 2), np.nan)
    rng = np.random.default_rng(seed)
    for row, experts in enumerate(sizes.tolist()):
        if has_logits(trace, row):
            logits = trace.logits[row, :, :experts].astype(np.float32)
            dealt = [_mean_squared_total(rng.permuted(logits, axis=0)) for _ in range(draws)]
            bands[row] = np.quantile(dealt, (0.025, 0.975))
    return bands[:, 0], bands[:, 1]


def _importance(trace: RoutingTrace, row: int, experts: int) -> float:
    """(std / mean)^2 of each expert's summed gates. Shazeer et al. 2017 (arXiv:1701.06538), eq. 6
    to 7."""
    if trace.gates is None:
        return float("nan")
    ids, gates = trace.experts[row].ravel(), trace.gates[row].ravel()
    summed = np.bincount(ids[ids != EMPTY], gates[ids != EMPTY], minlength=experts)
    return float(variation(summed) ** 2)
