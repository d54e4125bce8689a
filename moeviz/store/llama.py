"""Bare rows `layer,expert` in the order of execution, as llama.cpp's moe-trace writes them.

Its example hooks the tensors ffn_moe_topk and prints a row for each choice, layer after layer of
each batch, without a heading (github.com/ggml-org/llama.cpp/pull/28544, examples/moe-trace). What
is token and what slot follows from K: a run of rows of one layer is n tokens times K.

Two things are known of it. llama.cpp runs its last layer only for tokens whose next token is asked
for, so of a prompt that layer has the rows of one token alone: it is left out, with a note. And
early versions read the tensor without its stride, so that of every batch only the first token was
right: moeviz.store.doubts refuses those.
"""

from __future__ import annotations

import io
from collections.abc import Iterable
from math import gcd

import numpy as np
import pandas as pd

from moeviz.store.record import Record, Untold
from moeviz.trace import TraceError

Run = tuple[int, int, int]
"""Layer, first row, and number of rows of a stretch of rows with one layer."""


def bare_rows(data: bytes, chosen: int) -> Record:
    """The record in rows of a layer and an expert each; chosen: K.

    Raises Untold without K, TraceError for rows that do not make up whole tokens.
    """
    layer, expert = _columns(data)
    starts = np.flatnonzero(np.r_[True, layer[1:] != layer[:-1]])
    lengths = np.diff(np.r_[starts, len(layer)])
    if not chosen:
        raise Untold(
            "How many experts does a token take? The rows do not say; they come in multiples of "
            f"{gcd(*lengths.tolist())}.",
            "chosen",
        )
    runs = list(zip(layer[starts].tolist(), starts.tolist(), lengths.tolist(), strict=True))
    for at, start, length in runs:
        if length % chosen:
            raise TraceError(
                f"Row {start + 1:,} begins {length:,} rows of layer {at}, which are not whole "
                f"tokens of {chosen} choices. Check how many experts a token takes."
            )
    layers = sorted(set(layer.tolist()))
    short = _short_last(runs, layers[-1], chosen)
    kept = layers[:-1] if short else layers
    rows = {at: [slice(s, s + n) for where, s, n in runs if where == at] for at in kept}
    found = [np.concatenate([expert[part] for part in rows[at]]) for at in kept]
    return Record(
        np.stack([ids.reshape(-1, chosen) for ids in found], axis=1),
        said={"layers": kept, "engine": "llama.cpp's moe-trace"},
        notes=(short,) if short else (),
    )


def _columns(data: bytes) -> tuple[np.ndarray, np.ndarray]:
    try:
        table = pd.read_csv(io.BytesIO(data), header=None, dtype="int64", skip_blank_lines=True)
    except (ValueError, OverflowError, pd.errors.ParserError) as error:
        raise TraceError(
            "Its rows are not all a layer and an expert, two whole numbers; the file may be cut "
            "off."
        ) from error
    if table.shape[1] != 2 or table[0].min() < 0:
        raise TraceError(
            f"Rows of {table.shape[1]} numbers from {table[0].min()} on are no layers and experts; "
            "two, from 0 on, are needed."
        )
    return table[0].to_numpy(), table[1].to_numpy()


def _short_last(runs: list[Run], last: int, chosen: int) -> str:
    """A note where the last layer was run for fewer tokens than the others; "" where it was not.

    Raises TraceError where any other layer differs from its batch.
    """
    missing = 0
    for batch in _batches(runs):
        tokens = {layer: length // chosen for layer, length in batch}
        most = max(tokens.values())
        odd = [layer for layer, count in tokens.items() if count != most and layer != last]
        if odd or not {layer for layer, _ in batch} >= {at for at, *_ in runs} - {last}:
            raise TraceError(
                "The layers of a batch do not all have the same number of tokens: "
                f"{', '.join(f'layer {layer} {count:,}' for layer, count in tokens.items())}. "
                "Check how many experts a token takes, and that the file is whole."
            )
        missing += most - tokens.get(last, 0)
    if not missing:
        return ""
    return (
        f"Layer {last} is left out: llama.cpp runs its last layer only where it predicts, so "
        f"{missing:,} tokens have no routing there."
    )


def _batches(runs: Iterable[Run]) -> list[list[tuple[int, int]]]:
    """(layer, rows) of each batch: layers count upwards, and a lower one begins the next."""
    found: list[list[tuple[int, int]]] = []
    for layer, _, length in runs:
        if not found or layer <= found[-1][-1][0]:
            found.append([])
        found[-1].append((layer, length))
    return found
