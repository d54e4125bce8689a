"""The same router logits under another routing algorithm: what would change, beside chance?

A simulation: the model itself ran with its own route, and later layers would see other inputs.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from moeviz.metrics.load import DRAWS, layer_sizes
from moeviz.metrics.router import router_logits
from moeviz.rules.assignment import Assignment, Weighing, assigned
from moeviz.rules.balancing import at_bias
from moeviz.rules.routing import RoutingRule
from moeviz.trace import RoutingTrace


@dataclass(frozen=True, eq=False)
class Rerouted:
    """One layer under `rule`, against the model's own route.

    kept: share of the model's own choices that the algorithm makes too. chance: the same if each
    token's experts were drawn at random, as many as the algorithm gives it; 95 % of the `draws`
    lie from low to high. own_weight: share of the algorithm's weight that lies on own choices.
    """

    rule: RoutingRule
    assignment: Assignment
    kept: float
    chance: float
    low: float
    high: float
    own_weight: float
    draws: int = DRAWS


def own_route(trace: RoutingTrace, row: int) -> Assignment:
    """What the model itself did in routed layer `row`."""
    return assigned(trace.experts[row], trace.gates[row], int(layer_sizes(trace)[0][row]))


def rerouted_layer(
    trace: RoutingTrace, row: int, rule: RoutingRule, bias: np.ndarray | None = None
) -> Rerouted:
    """Routed layer `row` of `trace` under `rule`.

    bias: [E], one step of loss-free balancing, to take the place of its last.
    Raises TraceError where the layer's logits are not known, RuleError where the rule does not fit.
    """
    experts = int(layer_sizes(trace)[0][row])
    logits = router_logits(trace, row)[:, :experts]
    weighing = Weighing.of(trace.router)
    if bias is None:
        found = rule.applied(logits, trace.tokens.ids, weighing, trace.layers[row])
    else:
        found = at_bias(logits, rule.chosen, bias, weighing)
    own = own_route(trace, row)
    choices, sizes = own.taken.sum(axis=1), found.taken.sum(axis=1)
    chance, low, high = _chance(*_grouped(choices, sizes), experts)
    total = float(found.weights.sum())
    return Rerouted(
        rule=rule,
        assignment=found,
        kept=float((own.taken & found.taken).sum() / max(1, choices.sum())),
        chance=chance,
        low=low,
        high=high,
        own_weight=float(found.weights[own.taken].sum() / total) if total else np.nan,
    )


def rerouted(trace: RoutingTrace, rule: RoutingRule) -> tuple[Rerouted, ...]:
    """Every routed layer of `trace` under `rule`, each for itself; errors as for one layer."""
    return tuple(rerouted_layer(trace, row, rule) for row in range(trace.shape[0]))


def _grouped(choices: np.ndarray, sizes: np.ndarray) -> tuple[tuple, tuple]:
    """Tokens with the same number of own choices and of given experts, and how many they are."""
    pairs, tokens = np.unique(np.column_stack([choices, sizes]), axis=0, return_counts=True)
    return tuple(map(tuple, pairs.tolist())), tuple(tokens.tolist())


@lru_cache(maxsize=256)
def _chance(pairs: tuple, tokens: tuple, experts: int) -> tuple[float, float, float]:
    """(mean, low, high) share kept; what one token keeps by chance is hypergeometric."""
    rng = np.random.default_rng(0)
    total = sum(own * n for (own, _), n in zip(pairs, tokens, strict=True))
    if not total:
        return np.nan, np.nan, np.nan
    kept = sum(
        rng.hypergeometric(own, experts - own, given, size=(DRAWS, n)).sum(axis=1)
        for (own, given), n in zip(pairs, tokens, strict=True)
    )
    exact = sum(own * given * n for (own, given), n in zip(pairs, tokens, strict=True))
    low, high = np.quantile(kept / total, (0.025, 0.975))
    return exact / experts / total, float(low), float(high)
