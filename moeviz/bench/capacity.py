"""What does a capacity rule cost on a million tokens, against merely counting them?"""

from __future__ import annotations

import numpy as np

from moeviz.bench.timing import Ratio, ratio, take_turns
from moeviz.metrics.load import random_choices
from moeviz.rules.capacity import CapacityRule, dropped_slots


def capacity_speed(
    tokens: int = 1_000_000, layers: int = 16, experts: int = 64, chosen: int = 8, rounds: int = 5
) -> list[Ratio]:
    """Overflow of `layers` layers by position against one numpy.bincount over the same choices.

    The choices are random with a skew, so that many experts overflow: a benchmark's data, never
    shown as routing. All layers read the same array, so that memory stays below a gigabyte.
    """
    rng = np.random.default_rng(0)
    ids = random_choices(rng, tokens, experts, chosen).astype(np.int16)
    ids[rng.random(ids.shape) < 0.1] = 0
    gates = np.full(ids.shape, 1 / chosen, np.float32)
    rule = CapacityRule(factor=1.0, convention="vmoe")

    def overflow() -> None:
        for _ in range(layers):
            dropped_slots(ids, gates, experts, rule)

    def count() -> None:
        for _ in range(layers):
            np.bincount(ids.ravel(), minlength=experts)

    name, base = f"overflow of {tokens:,} tokens x {layers} layers", "numpy.bincount"
    took = take_turns({name: overflow, base: count}, rounds)
    return [ratio(took, name, base, limit=8.0)]
