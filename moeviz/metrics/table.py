"""The routing as a tidy table: one row for each layer, token and slot."""

from __future__ import annotations

import io

import numpy as np
import pandas as pd

from moeviz.metrics.router import gate_share, router_probabilities
from moeviz.trace import EMPTY, RoutingTrace

COLUMNS = (
    "model", "layer", "token", "token_id", "text", "slot",
    "expert", "gate", "gate_share", "probability", "next_token_loss",
)  # fmt: skip


def routing_table(trace: RoutingTrace) -> pd.DataFrame:
    """L * T * K rows in the order layer, token, slot; empty slots are left out.

    gate and gate_share are empty where the trace has no gates, probability where it has no logits,
    next_token_loss (nats) where it has no loss. token_id is negative where it is not known. layer
    counts the model's layers from 0, token and slot count from 0; without gates the slots of a
    token stand in the order of their source.
    """
    layers, tokens, _, chosen = trace.shape
    token = np.tile(np.repeat(np.arange(tokens), chosen), layers)
    unknown = np.full(len(token), np.nan, np.float32)
    table = pd.DataFrame(
        {
            "model": trace.source.model,
            "layer": np.repeat(trace.layers, tokens * chosen),
            "token": token,
            "token_id": trace.tokens.ids[token],
            "text": np.asarray(trace.tokens.texts, dtype=object)[token],
            "slot": np.tile(np.arange(chosen), layers * tokens),
            "expert": trace.experts.ravel(),
            "gate": unknown if trace.gates is None else trace.gates.ravel(),
            "gate_share": unknown if trace.gates is None else gate_share(trace).ravel(),
            "probability": _chosen_probability(trace),
            "next_token_loss": unknown if trace.loss is None else trace.loss[token],
        },
        columns=list(COLUMNS),
    )
    return table[table["expert"] != EMPTY].reset_index(drop=True)


def routing_csv(trace: RoutingTrace) -> bytes:
    """`routing_table` as `csv_bytes` writes it."""
    return csv_bytes(routing_table(trace))


def routing_parquet(trace: RoutingTrace) -> bytes:
    """`routing_table` as `parquet_bytes` writes it."""
    return parquet_bytes(routing_table(trace))


def csv_bytes(table: pd.DataFrame) -> bytes:
    """A table as UTF-8 CSV; a byte order mark first, or spreadsheets garble other scripts."""
    text = table.to_csv(index=False, float_format="%.9g")
    return text.encode("utf-8-sig", "replace")


def parquet_bytes(table: pd.DataFrame) -> bytes:
    """A table as Parquet: every column in its own type, and no digit lost."""
    file = io.BytesIO()
    table.to_parquet(file, index=False)
    return file.getvalue()


def _chosen_probability(trace: RoutingTrace) -> np.ndarray:
    if trace.logits is None:
        return np.full(trace.experts.size, np.nan)
    rows = range(trace.shape[0])
    ids = np.maximum(trace.experts, 0)
    parts = [np.take_along_axis(router_probabilities(trace, r), ids[r], axis=-1) for r in rows]
    return np.stack(parts).ravel()
