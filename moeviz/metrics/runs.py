"""One side of a comparison: who was chosen for what, and nothing else of a trace."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from moeviz.trace import Provenance, RouterSpec, RoutingTrace, Tokens, TraceError


@dataclass(frozen=True, eq=False)
class Run:
    """The choices of one run, from a trace, from a part of one, or from a record without gates.

    experts: [L, T, K] chosen ids, -1 for an empty slot. tokens, router, source, layers and shape:
    as those of a RoutingTrace. name: what the screen calls it. gates, logits: never known.
    ranked: whether slot 0 is known to be the first choice.
    """

    name: str
    experts: np.ndarray
    tokens: Tokens
    router: RouterSpec
    source: Provenance
    layers: tuple[int, ...]
    gates: None = None
    logits: None = None
    ranked: bool = True

    @property
    def shape(self) -> tuple[int, int, int, int]:
        """(L, T, E, K)."""
        return len(self.layers), len(self.tokens), self.router.experts, self.router.chosen

    @cached_property
    def key(self) -> str:
        """Content hash of name, choices and tokens."""
        facts = repr((self.name, self.tokens.source, self.router, self.source, self.layers))
        digest = hashlib.sha256(facts.encode("utf-8", "replace"))
        for array in (self.experts, self.tokens.ids, self.tokens.spans):
            digest.update(np.ascontiguousarray(array).data)
        return digest.hexdigest()[:32]


def run_of(trace: RoutingTrace, name: str = "") -> Run:
    """The whole trace as one side of a comparison, called `name` or else by its model."""
    return Run(
        name or trace.source.model,
        trace.experts,
        trace.tokens,
        trace.router,
        trace.source,
        trace.layers,
        ranked=trace.ranked,
    )


def prompt_and_generated(trace: RoutingTrace) -> tuple[Run, Run]:
    """The part that was read at once and the part that was generated token by token.

    Raises TraceError for a trace without one of the two.
    """
    generated = trace.tokens.generated
    if not generated.any():
        raise TraceError("This trace holds no generated tokens, so there is nothing to compare.")
    if generated.all():
        raise TraceError("This trace holds generated tokens only; the prompt is not part of it.")
    return _part(trace, ~generated, "the prompt"), _part(trace, generated, "the generated part")


def _part(trace: RoutingTrace, keep: np.ndarray, name: str) -> Run:
    return replace(
        run_of(trace, name),
        experts=trace.experts[:, keep],
        tokens=_tokens(trace.tokens, keep),
    )


def _tokens(tokens: Tokens, keep: np.ndarray) -> Tokens:
    """The kept tokens over the stretch of text that they cover."""
    spans = tokens.spans[keep]
    known = spans[spans[:, 0] >= 0]
    start, end = (int(known[:, 0].min()), int(known[:, 1].max())) if len(known) else (0, 0)
    return Tokens(
        source=tokens.source[start:end],
        ids=tokens.ids[keep],
        spans=np.where(spans >= 0, spans - start, -1),
        special=tokens.special[keep],
        generated=tokens.generated[keep],
        vocabulary=tokens.vocabulary,
    )
