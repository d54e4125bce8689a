"""The ways that tokens take from layer to layer, as ribbons."""

from __future__ import annotations

import numpy as np

from moeviz.charts import palette
from moeviz.charts.picture import Picture
from moeviz.charts.strip import expert_colours
from moeviz.charts.words import first_for, model_name, percent, range_words
from moeviz.metrics.routes import OTHER, routes
from moeviz.trace import EMPTY, RoutingTrace, TraceError

MOST_LINKS = 300
"""Ribbons in one picture; more cannot be told apart."""

MOST_A_GAP = 20
"""Ribbons between two layers, likewise."""


def flow_picture(trace: RoutingTrace, scope: tuple[int, int] | None = None) -> Picture:
    """First choices from layer to layer, of the tokens first to last in `scope` (all if None).

    Raises TraceError for a trace of a single routed layer.
    """
    layers, tokens, experts, _ = trace.shape
    if layers < 2:
        raise TraceError(
            "This model routes in one layer only, so there are no ways between layers to draw."
        )
    first, last = scope or (0, tokens - 1)
    chosen = trace.experts[:, first : last + 1, 0]
    most = max(1, min(MOST_A_GAP, MOST_LINKS // (layers - 1)))
    found = routes(trace, np.arange(first, last + 1), most)
    drawn = found.source != OTHER
    counts = np.stack([np.bincount(row[row != EMPTY], minlength=experts) for row in chosen])
    row, source, target = (a[drawn] for a in (found.row, found.source, found.target))
    steps = int(found.tokens.sum())
    share = found.tokens[drawn].sum() / max(1, steps)
    scale = palette.experts()
    meta = {
        "key": trace.key,
        "model": model_name(trace.source.model),
        "title": "Ways through the layers",
        "place": range_words(scope),
        "facts": [
            ["Tokens", f"{last - first + 1:,}"],
            ["Ribbons drawn", f"{int(drawn.sum()):,}, {percent(share)} of all steps"],
        ],
        "layers": [str(x) for x in trace.layers],
        "experts": experts,
        "from": first,
        "first": first_for(trace.ranked),
        "light": scale.light,
        "dark": scale.dark,
        "read": (
            "Each row is a layer, each block an expert as wide as the tokens it was "
            f"{first_for(trace.ranked)}; ribbons lead them to the next layer, the strongest of "
            "each layer only. Black line: the picked token. Click a block or ribbon to open that "
            "expert."
        ),
    }
    return Picture(
        meta,
        {
            "counts": counts.astype(np.int32),
            "row": row.astype(np.int32),
            "source": source.astype(np.int32),
            "target": target.astype(np.int32),
            "tokens": found.tokens[drawn].astype(np.int32),
            "expected": _expected(counts, row, source, target).astype(np.float32),
            "place": np.stack([expert_colours(trace, r) for r in range(layers)]),
            "first": chosen.astype(np.int16),
        },
    )


def _expected(
    counts: np.ndarray, row: np.ndarray, source: np.ndarray, target: np.ndarray
) -> np.ndarray:
    """Tokens each link would have if a layer's choice did not depend on the one before."""
    total = np.maximum(counts[row].sum(axis=1), 1)
    return counts[row, source] * counts[row + 1, target] / total
