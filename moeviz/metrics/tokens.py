"""One token on its way through the layers."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from moeviz.metrics.router import as_probabilities, gate_share
from moeviz.trace import RoutingTrace, TraceError


@dataclass(frozen=True)
class TokenPath:
    """What every routed layer did with one token.

    probability: [L, E] the router's distribution, or None without logits.
    experts: [L, K] chosen ids, -1 for an empty slot. gates: [L, K] as multiplied.
    share: [L, K] gates over their sum. loss: nats to predict the next token, nan for none.
    """

    token: int
    probability: np.ndarray | None
    experts: np.ndarray
    gates: np.ndarray
    share: np.ndarray
    loss: float


def token_path(trace: RoutingTrace, token: int) -> TokenPath:
    """The path of token `token`; raises TraceError when there is no such token."""
    tokens = len(trace.tokens)
    if not 0 <= token < tokens:
        raise TraceError(f"This trace has tokens 0 to {tokens - 1}; there is no token {token}.")
    probability = None
    if trace.logits is not None:
        probability = as_probabilities(trace.logits[:, token], trace.router.scoring)
    return TokenPath(
        token=token,
        probability=probability,
        experts=trace.experts[:, token],
        gates=trace.gates[:, token],
        share=gate_share(trace)[:, token],
        loss=float("nan") if trace.loss is None else float(trace.loss[token]),
    )
