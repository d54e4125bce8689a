"""What did the router think of each token: probabilities, doubt, and how close the call was."""

from __future__ import annotations

import numpy as np

from moeviz.metrics.load import layer_sizes
from moeviz.trace import RoutingTrace, TraceError


def router_probabilities(trace: RoutingTrace, row: int) -> np.ndarray:
    """[T, E] float32, one distribution over experts per token of routed layer `row`.

    Softmax of the logits; for sigmoid routers the sigmoids divided by their sum, so that rows
    add up to 1 either way. Raises TraceError where the layer's logits are not known.
    """
    return as_probabilities(router_logits(trace, row), trace.router.scoring)


def as_probabilities(logits: np.ndarray, scoring: str) -> np.ndarray:
    """Logits [..., E] as distributions over the last axis, by the router's own scoring."""
    if scoring == "sigmoid":
        weights = 0.5 * (1 + np.tanh(logits / 2))  # the sigmoid, without overflow
    else:
        weights = np.exp(logits - logits.max(axis=-1, keepdims=True))
    return weights / np.maximum(weights.sum(axis=-1, keepdims=True), np.finfo(np.float32).tiny)


def top_probability(trace: RoutingTrace) -> float:
    """The largest probability any token gave any expert in any layer; 1 without logits."""
    known = [row for row in range(trace.shape[0]) if has_logits(trace, row)]
    return max((float(router_probabilities(trace, row).max()) for row in known), default=1.0)


def probability_recipe(trace: RoutingTrace) -> str:
    """How `router_probabilities` made its numbers, in words for the screen."""
    if trace.router.scoring == "sigmoid":
        return "sigmoids of the router logits, scaled to sum to 1"
    return "softmax of the router logits"


def router_entropy(trace: RoutingTrace, row: int) -> np.ndarray:
    """[T] entropy of the router's distribution over ln E: 0 is certain, 1 is no preference."""
    p = router_probabilities(trace, row)
    experts = layer_sizes(trace)[0][row]
    nats = -(p * np.log(np.maximum(p, np.finfo(np.float32).tiny))).sum(axis=-1)
    return nats / np.log(experts) if experts > 1 else np.zeros_like(nats)


def choice_margin(trace: RoutingTrace, row: int) -> np.ndarray:
    """[T] score of the last chosen expert minus that of the best one left out.

    In the units of what the top-K was taken of: `scores` where the trace has them, else logits.
    Near 0 the choice hung on a hair; nan where every expert is chosen. Raises TraceError when
    neither was recorded, or when a bias the trace does not hold had a say.
    """
    if trace.scores is None and trace.router.bias:
        raise TraceError(
            "This model adds a bias before it chooses, and the trace does not hold the biased "
            "scores, so how close the choice was is not known."
        )
    scores = trace.scores[row] if trace.scores is not None else router_logits(trace, row)
    chosen = int(layer_sizes(trace)[1][row])
    if chosen >= layer_sizes(trace)[0][row]:
        return np.full(len(scores), np.nan, np.float32)
    ordered = np.partition(scores, (-chosen - 1, -chosen), axis=-1)
    return ordered[:, -chosen] - ordered[:, -chosen - 1]


def router_gates(trace: RoutingTrace) -> np.ndarray:
    """[L, T, K] gates; raises TraceError where the trace holds choices alone."""
    if trace.gates is None:
        raise TraceError(
            "This trace holds the chosen experts but not their gates, so how much weight each got "
            "is not known."
        )
    return trace.gates


def gate_share(trace: RoutingTrace, token: int | slice = slice(None)) -> np.ndarray:
    """[L, T, K] each gate over the sum of its token's gates; 0 where a token has none.

    token: [L, K] of this one only. Raises TraceError where the trace holds choices alone.
    """
    gates = router_gates(trace)[:, token]
    total = gates.sum(axis=-1, keepdims=True)
    return np.divide(gates, total, out=np.zeros_like(gates), where=total != 0)


def has_logits(trace: RoutingTrace, row: int) -> bool:
    """Whether the router logits of routed layer `row` are known; nan stands for unknown."""
    return trace.logits is not None and not np.isnan(trace.logits[row, 0, 0])


def router_logits(trace: RoutingTrace, row: int) -> np.ndarray:
    """[T, E] raw logits of routed layer `row`; raises TraceError where they are not known."""
    if trace.logits is None:
        raise TraceError(
            "This trace holds the chosen experts but not the router's logits, so only "
            f"{'choices' if trace.gates is None else 'choices and gates'} can be shown. Trace the "
            "text again with logits to see the rest."
        )
    if not has_logits(trace, row):
        raise TraceError(
            f"Layer {trace.layers[row]} of this model chooses without logits that could be read, "
            f"so only its choices{'' if trace.gates is None else ' and gates'} can be shown."
        )
    return trace.logits[row]
