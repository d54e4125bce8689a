"""A run of tokens out of a trace, to be looked at by itself."""

from __future__ import annotations

import dataclasses

import numpy as np

from moeviz.trace import RoutingTrace, TraceError


def selected(trace: RoutingTrace, first: int, last: int) -> RoutingTrace:
    """What the model did with tokens `first` to `last` (both included) while it read them all.

    Every measure of a trace can be taken of it. It is not a trace of that piece alone: the tokens
    were routed with everything before them in view. Raises TraceError for tokens that are not
    there.
    """
    tokens = trace.tokens
    if not 0 <= first <= last < len(tokens):
        raise TraceError(
            f"Tokens {first} to {last} cannot be selected: this trace has tokens 0 to "
            f"{len(tokens) - 1}."
        )
    here = slice(first, last + 1)
    columns = ("ids", "spans", "special", "generated")
    cut = dataclasses.replace(tokens, **{name: getattr(tokens, name)[here] for name in columns})
    return dataclasses.replace(
        trace,
        tokens=cut,
        loss=_part(trace.loss, here),
        **{
            name: _part(getattr(trace, name), (slice(None), here))
            for name in ("experts", "gates", "logits", "scores")
        },
    )


def _part(array: np.ndarray | None, here: slice | tuple) -> np.ndarray | None:
    return None if array is None else array[here]
