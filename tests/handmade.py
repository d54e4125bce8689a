"""Traces small enough to check in your head."""

import json

import numpy as np
from safetensors.numpy import save

from moeviz.corpora.routing import CorpusRouting
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


def version_1(trace: RoutingTrace, arrays=None, without=(), **changes) -> bytes:
    """The file of version 1 with this trace, parts of its arrays or header left out or replaced."""
    vocabulary = {str(i): piece for i, piece in trace.tokens.vocabulary.items()}
    header = {**trace.facts(), "text": trace.tokens.source, "vocabulary": vocabulary, **changes}
    header = {name: value for name, value in header.items() if name not in without}
    metadata = {"format": "moetrace", "version": "1", "header": json.dumps(header)}
    return save({**trace.arrays(), **(arrays or {})}, metadata=metadata)


def make_routing(counts, labels=None, **rest) -> CorpusRouting:
    """A corpus run from nested counts [P, L, E], every passage a document of its own."""
    counts = np.array(counts, np.int32)
    passages, layers, experts = counts.shape
    chosen = rest.pop("chosen", 1)
    own = np.array([f"text {number}" for number in range(passages)])
    defaults = {
        "documents": own,
        "families": own,
        "parallel": np.full(passages, ""),
        "tokens": counts[:, 0].sum(axis=1) // chosen,
    }
    return CorpusRouting(
        model="by hand",
        corpus="hand",
        layers=tuple(range(layers)),
        experts=np.full(layers, experts),
        chosen=np.full(layers, chosen),
        labels={name: np.array(column) for name, column in (labels or {}).items()},
        counts=counts,
        **{**defaults, **rest},
    )
