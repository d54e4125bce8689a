"""Which tokens did one expert of one layer get?"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from moeviz.trace import RoutingTrace, TraceError


@dataclass(frozen=True)
class ExpertTokens:
    """tokens: [N] tokens that chose the expert, in text order. slot: [N] as which choice, 0 for
    the first. gate: [N] the weight its output was multiplied by, None where that is not known.
    """

    tokens: np.ndarray
    slot: np.ndarray
    gate: np.ndarray | None


def expert_tokens(trace: RoutingTrace, row: int, expert: int) -> ExpertTokens:
    """The tokens of expert `expert` of routed layer `row`; raises TraceError for no such expert."""
    if not 0 <= expert < trace.router.experts:
        raise TraceError(
            f"There is no expert {expert}: this trace has experts 0 to {trace.router.experts - 1}."
        )
    tokens, slot = np.nonzero(trace.experts[row] == expert)
    gate = None if trace.gates is None else trace.gates[row, tokens, slot]
    return ExpertTokens(tokens, slot, gate)
