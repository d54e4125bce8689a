"""A long trace whose routing is random: for timing only, never shown as a model's."""

from __future__ import annotations

import numpy as np

from moeviz.trace import Provenance, RouterSpec, RoutingTrace, Tokens

WORDS = ["the ", "router ", "sends ", "路", "é", "x = 1\n", "lighthouse ", "कि "]


def random_trace(tokens: int, layers: int, experts: int, chosen: int) -> RoutingTrace:
    """Choices, gates and losses of so many tokens, without logits."""
    rng = np.random.default_rng(0)
    words = rng.integers(len(WORDS), size=tokens)
    ends = np.cumsum(np.array([len(word) for word in WORDS])[words])
    starts = np.concatenate([[0], ends[:-1]])
    none = np.zeros(tokens, bool)
    ids = np.empty((layers, tokens, chosen), np.int16)
    gates = np.empty((layers, tokens, chosen), np.float32)
    for row in range(layers):
        ids[row] = (rng.integers(experts, size=(tokens, 1)) + np.arange(chosen)) % experts
        gates[row] = -np.sort(-rng.random((tokens, chosen), np.float32), axis=1) / chosen
    for array in (ids, gates):
        array.setflags(write=False)  # so that the trace takes them as they are
    return RoutingTrace(
        experts=ids,
        gates=gates,
        tokens=Tokens(
            source="".join(WORDS[word] for word in words),
            ids=words,
            spans=np.stack([starts, ends], axis=1),
            special=none,
            generated=none,
            vocabulary=dict(enumerate(WORDS)),
        ),
        router=RouterSpec(experts, chosen),
        source=Provenance("random routing"),
        layers=tuple(range(layers)),
        loss=rng.random(tokens),
    )
