"""The ways that tokens take from layer to layer."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from moeviz.trace import EMPTY, RoutingTrace

OTHER = -2
"""Stands for all experts of a layer whose links are too thin to be drawn."""


@dataclass(frozen=True)
class Routes:
    """Links between first choices of neighbouring routed layers.

    row: [N] index of the routed layer a link starts in. source, target: [N] expert there and in
    the next routed layer, OTHER for the rest. tokens: [N] how many take it. total: tokens counted.
    """

    row: np.ndarray
    source: np.ndarray
    target: np.ndarray
    tokens: np.ndarray
    total: int


def routes(trace: RoutingTrace, selection: np.ndarray | None = None, most: int = 20) -> Routes:
    """First-choice links of the tokens in `selection` [n] (all if None).

    The `most` strongest links of each pair of layers keep their experts; the others are merged
    into one link from OTHER to OTHER, so that no token is lost.
    """
    ids = trace.experts[:, :, 0].astype(np.int64)
    if selection is not None:
        ids = ids[:, selection]
    found = [_links(ids[row], ids[row + 1], row, most) for row in range(len(ids) - 1)]
    columns = np.concatenate(found) if found else np.zeros((0, 4), np.int64)
    return Routes(*columns.T, total=ids.shape[1])


def _links(here: np.ndarray, there: np.ndarray, row: int, most: int) -> np.ndarray:
    """[n, 4] row, source, target, tokens."""
    both = (here != EMPTY) & (there != EMPTY)
    size = int(max(here.max(initial=0), there.max(initial=0))) + 1
    pairs, counts = np.unique(here[both] * size + there[both], return_counts=True)
    pairs = np.stack(np.divmod(pairs, size), axis=1)
    order = np.argsort(-counts, kind="stable")
    kept, rest = order[:most], order[most:]
    links = np.column_stack([np.full(len(kept), row), pairs[kept], counts[kept]])
    if not len(rest):
        return links
    return np.vstack([links, [row, OTHER, OTHER, counts[rest].sum()]])
