"""One token on its way through the layers."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from moeviz.metrics.load import layer_sizes
from moeviz.metrics.router import as_probabilities, gate_share
from moeviz.trace import EMPTY, RoutingTrace, TraceError


@dataclass(frozen=True)
class TokenPath:
    """What every routed layer did with one token.

    probability: [L, E] the router's distribution, or None without logits.
    experts: [L, K] chosen ids, -1 for an empty slot. gates: [L, K] as multiplied.
    share: [L, K] gates over their sum; both None where the trace holds choices alone. loss: nats to
    predict the next token, nan for none.
    runner_up: [L] the best expert left out, -1 where it is not known. behind: [L] how far its score
    lay behind the last chosen one, in the units of what the top-K was taken of; nan likewise.
    """

    token: int
    probability: np.ndarray | None
    experts: np.ndarray
    gates: np.ndarray | None
    share: np.ndarray | None
    loss: float
    runner_up: np.ndarray
    behind: np.ndarray


def token_path(trace: RoutingTrace, token: int) -> TokenPath:
    """The path of token `token`; raises TraceError when there is no such token."""
    tokens = len(trace.tokens)
    if not 0 <= token < tokens:
        raise TraceError(f"This trace has tokens 0 to {tokens - 1}; there is no token {token}.")
    probability = None
    if trace.logits is not None:
        probability = as_probabilities(trace.logits[:, token], trace.router.scoring)
    runner_up, behind = _left_out(trace, token)
    return TokenPath(
        token=token,
        probability=probability,
        experts=trace.experts[:, token],
        gates=None if trace.gates is None else trace.gates[:, token],
        share=None if trace.gates is None else gate_share(trace, token),
        loss=float("nan") if trace.loss is None else float(trace.loss[token]),
        runner_up=runner_up,
        behind=behind,
    )


def _left_out(trace: RoutingTrace, token: int) -> tuple[np.ndarray, np.ndarray]:
    """([L] best expert that was not chosen, [L] how far behind); -1 and nan where not known.

    Not known: without logits, where a bias had a say that the trace does not hold, where every
    expert is chosen, and where the model itself left a slot empty.
    """
    layers = trace.shape[0]
    runner_up, behind = np.full(layers, EMPTY), np.full(layers, np.nan)
    scores = trace.scores if trace.scores is not None else trace.logits
    if scores is None or (trace.scores is None and trace.router.bias):
        return runner_up, behind
    sizes, chosen = layer_sizes(trace)
    for row in range(layers):
        took = trace.experts[row, token, : chosen[row]]
        rest = np.delete(scores[row, token, : sizes[row]], took[took != EMPTY])
        if (took == EMPTY).any() or not np.isfinite(rest).any():
            continue
        others = np.delete(np.arange(sizes[row]), took)
        runner_up[row] = others[np.nanargmax(rest)]
        behind[row] = scores[row, token, took].min() - np.nanmax(rest)
    return runner_up, behind
