"""Traces small enough to check in your head."""

import numpy as np

from moeviz.trace import Provenance, RouterSpec, RoutingTrace, Tokens


def make_tokens(text: str = "abcd") -> Tokens:
    """One token a character."""
    count = len(text)
    return Tokens(
        source=text,
        ids=np.arange(count),
        spans=np.stack([np.arange(count), np.arange(count) + 1], axis=1),
        special=np.zeros(count, bool),
        generated=np.zeros(count, bool),
        vocabulary=dict(enumerate(text)),
    )


def make_trace(experts, gates=None, logits=None, number=4, text="abcd", **rest) -> RoutingTrace:
    """A trace of layers 0, 1, ... over `text`, from nested lists of ids [L, T, K]."""
    experts = np.array(experts)
    if gates is None:
        gates = np.where(experts >= 0, 1 / experts.shape[-1], 0)
    return RoutingTrace(
        experts=experts,
        gates=np.array(gates),
        logits=logits,
        tokens=make_tokens(text),
        router=rest.pop("router", RouterSpec(experts=number, chosen=experts.shape[-1])),
        source=Provenance(model="by hand"),
        layers=rest.pop("layers", tuple(range(len(experts)))),
        **rest,
    )
