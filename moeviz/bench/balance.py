"""What do load and balance of a long trace cost, against merely counting its choices?"""

from __future__ import annotations

import numpy as np

from moeviz.bench.random_trace import random_trace
from moeviz.bench.timing import Ratio, ratio, take_turns
from moeviz.metrics.balance import balance
from moeviz.metrics.load import expert_load


def balance_speed(
    tokens: int = 200_000, layers: int = 8, experts: int = 64, chosen: int = 8, rounds: int = 9
) -> list[Ratio]:
    """`expert_load` and `balance` of a trace against numpy.bincount over the choices of each layer.

    The routing is random, without logits, as a long trace has none. `balance` also reads every gate
    for the importance loss, and gives evenness, spread and dead experts.
    """
    trace = random_trace(tokens, layers, experts, chosen)

    def count() -> None:
        for ids in trace.experts:
            np.bincount(ids.ravel(), minlength=experts)

    size, base = f"of {tokens:,} tokens x {layers} layers", "numpy.bincount"
    ways = {
        f"expert_load {size}": lambda: expert_load(trace),
        f"balance {size}": lambda: balance(trace),
    }
    took = take_turns({**ways, base: count}, rounds)
    return [ratio(took, name, base, limit=8.0) for name in ways]
