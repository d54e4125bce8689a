"""A table with a row for each choice, as a record of routing.

Columns are found by name: token, layer and expert must be there; slot, gate, token_id, text,
phase and next_token_loss may be. Other programs' names for the same are taken too:

    token    step, position
    slot     rank
    gate     weight

So MoEViz's own tables are read back, and so are the CSVs of llama.cpp's relatives that add what
moe-trace leaves out: `phase,token,layer,rank,expert`, and the route trace
`turn,phase,step,layer,slot,expert,weight,...` whose first lines, `# route_trace v1` and
`# model=... n_expert=128 n_expert_used=8`, tell E and K (github.com/Helldez/BigMoeOnEdge,
pull request 21). Its unknown weights are nan, and stay unknown.
"""

from __future__ import annotations

import io
import re
from pathlib import PurePath

import numpy as np
import pandas as pd

from moeviz.store.record import Record
from moeviz.trace import EMPTY, TraceError

NAMES = {
    "token": ("token", "step", "position"),
    "layer": ("layer",),
    "expert": ("expert",),
    "slot": ("slot", "rank"),
    "gate": ("gate", "weight"),
    "token_id": ("token_id",),
    "text": ("text",),
    "phase": ("phase",),
    "loss": ("next_token_loss",),
    "turn": ("turn",),
    "model": ("model",),
}
"""What is read, and the names of columns it is found under."""

MOST_ROWS = 50_000_000
"""Rows of a table that are read: 390,000 tokens of 16 layers and top 8."""

MOST_PLACES = 2**31
"""Numbers that tokens and layers may have."""

GENERATED = ("decode", "generated", "1")
"""Phases in which a token was written by the model."""


def table_record(data: bytes, suffix: str) -> Record:
    """The record in a .csv or .parquet file; raises TraceError where it is no such table."""
    said, data = _preamble(data) if suffix == ".csv" else ({}, data)
    table, own = _parquet(data) if suffix == ".parquet" else _csv(data)
    for name, what in (("turn", "turns"), ("model", "models")):
        if name in table and table[name].nunique() > 1:
            raise TraceError(
                f"The table holds {table[name].nunique():,} {what}, but a trace is of one text "
                f"read once. Keep the rows of one."
            )
    if "model" in table:
        said["model"] = str(table["model"].iloc[0])
    return _record(table, said, own)


def _record(table: pd.DataFrame, said: dict, own: bool) -> Record:
    token, layer = _whole(table, "token"), _whole(table, "layer")
    expert, slot = _whole(table, "expert"), _slots(table, token, layer)
    first = int(token.min())
    if len(np.unique(token)) != int(token.max()) - first + 1:
        raise TraceError(_gap(token))
    layers, row = np.unique(layer, return_inverse=True)
    shape = (int(token.max()) - first + 1, len(layers), int(slot.max()) + 1)
    if np.prod(shape, dtype=object) > 4 * len(table) + 1000:
        raise TraceError(
            f"The table has {len(table):,} rows, which leave most of {shape[0]:,} tokens, "
            f"{shape[1]:,} layers and {shape[2]:,} choices empty. Rows are missing."
        )
    at = (token - first, row, slot)
    flat = np.ravel_multi_index(at, shape)
    twice = np.flatnonzero(np.bincount(flat, minlength=1) > 1)
    if len(twice):
        t, k, s = (int(x) for x in np.unravel_index(twice[0], shape))
        raise TraceError(
            f"Token {t + first} has two rows for slot {s} of layer {layers[k]}. Two runs, or the "
            "ranks of one, are in this table: keep one, or merge them."
        )
    experts = np.full(shape, EMPTY, expert.dtype)
    experts[at] = expert
    gates = _gates(table, at, shape)
    experts, gates, kept, notes = _without_short_last(experts, gates, layers)
    said = {**said, "layers": kept.tolist(), **_tokens(table, token - first, shape[0])}
    return Record(experts, gates, said, _loss(table, token - first, shape[0]), own, notes)


def _preamble(data: bytes) -> tuple[dict, bytes]:
    """(what comment lines before the heading say of E, K and the model, the rest)."""
    said = {}
    while data.startswith(b"#"):
        line, _, data = data.partition(b"\n")
        for name, value in re.findall(r"(\w+)=(\S+)", line.decode("utf-8", "replace")):
            part = {"n_expert": "num_experts", "n_expert_used": "chosen"}.get(name)
            if part and value.isascii() and value.isdigit() and len(value) < 7:
                said[part] = int(value)
            elif name == "model":
                said["model"] = PurePath(value).name
    return said, data


def _csv(data: bytes) -> tuple[pd.DataFrame, bool]:
    try:
        head = pd.read_csv(io.BytesIO(data), nrows=0, encoding="utf-8-sig")
        columns = _columns(list(head))
        words = [name for name, part in columns.items() if part in ("text", "phase", "model")]
        numbers = [name for name, part in columns.items() if part in ("gate", "loss")]
        table = pd.read_csv(
            io.BytesIO(data),
            usecols=list(columns),
            encoding="utf-8-sig",
            nrows=MOST_ROWS + 1,
            dtype=dict.fromkeys(words, str),
            keep_default_na=False,
            na_values={name: ["", "nan"] for name in numbers},
        )
    except (pd.errors.ParserError, pd.errors.EmptyDataError, UnicodeDecodeError) as error:
        raise TraceError("It is not a table in UTF-8, or it is damaged.") from error
    _check_size(len(table))
    return table.rename(columns=columns), "gate_share" in head


def _parquet(data: bytes) -> tuple[pd.DataFrame, bool]:
    from pyarrow import parquet

    try:
        file = parquet.ParquetFile(io.BytesIO(data))
        names = file.schema_arrow.names
        columns = _columns(names)
        _check_size(file.metadata.num_rows)
        table = file.read(columns=list(columns)).to_pandas(ignore_metadata=True)
    except TraceError:
        raise
    except Exception as error:  # Arrow's, and what damaged metadata leads to
        raise TraceError("It is not a Parquet file, or it is damaged.") from error
    return table.rename(columns=columns), "gate_share" in names


def _columns(there: list) -> dict[str, str]:
    """The columns to read, and what each holds; raises TraceError without the three needed."""
    found = {}
    for part, names in NAMES.items():
        name = next((name for name in names if name in there), None)
        if name is not None:
            found[name] = part
    missing = [part for part in ("token", "layer", "expert") if part not in found.values()]
    if missing:
        held = ", ".join(str(name)[:40] for name in there[:12]) or "no columns"
        raise TraceError(
            f"A table of routing has the columns token, layer and expert; this one lacks "
            f"{' and '.join(missing)}, and has {held}."
        )
    return found


def _check_size(count: int) -> None:
    if not count:
        raise TraceError("The table has no rows.")
    if count > MOST_ROWS:
        raise TraceError(f"The table has more than {MOST_ROWS:,} rows. Save a part of the tokens.")


def _whole(table: pd.DataFrame, name: str) -> np.ndarray:
    """A column of whole numbers from 0 on."""
    column = table[name].to_numpy()
    if column.dtype.kind not in "iu" or column.min() < 0 or column.max() >= MOST_PLACES:
        held = [str(value)[:40] for value in column.tolist()]
        row = next((n for n, value in enumerate(held) if not _is_place(value)), 0)
        raise TraceError(
            f"Column {name} must hold whole numbers from 0 on, and holds {held[row] or 'nothing'} "
            f"in row {row + 1:,}."
        )
    return column.astype(np.int64)


def _is_place(value: str) -> bool:
    return value.isascii() and value.isdigit() and len(value) < 10


def _slots(table: pd.DataFrame, token: np.ndarray, layer: np.ndarray) -> np.ndarray:
    """Which choice of its token each row is; by the order of rows where no column says so."""
    if "slot" in table:
        return _whole(table, "slot")
    groups = pd.DataFrame({"token": token, "layer": layer}).groupby(["token", "layer"])
    return groups.cumcount().to_numpy()


def _gap(token: np.ndarray) -> str:
    places = np.unique(token)
    after = int(np.flatnonzero(np.diff(places) > 1)[0])
    return (
        f"Tokens {places[after] + 1} to {places[after + 1] - 1} have no rows, but tokens before "
        "and after them have. Rows are missing, or token does not count the tokens of one text."
    )


def _gates(table: pd.DataFrame, at: tuple, shape: tuple) -> np.ndarray | None:
    if "gate" not in table:
        return None
    column = pd.to_numeric(table["gate"], errors="coerce").to_numpy(np.float32)
    if np.isnan(column).all():
        return None
    if not np.isfinite(column).all():
        raise TraceError(
            f"{int((~np.isfinite(column)).sum()):,} of {len(column):,} gates are no numbers. Leave "
            "the column out, or fill it."
        )
    gates = np.zeros(shape, np.float32)
    gates[at] = column
    return gates


def _without_short_last(
    experts: np.ndarray, gates: np.ndarray | None, layers: np.ndarray
) -> tuple[np.ndarray, np.ndarray | None, np.ndarray, tuple[str, ...]]:
    """Without the last layer where it has no rows for some tokens, as llama.cpp runs it."""
    missing = int((experts[:, -1] == EMPTY).all(axis=1).sum())
    if not missing or len(layers) == 1:
        return experts, gates, layers, ()
    note = (
        f"Layer {layers[-1]} is left out: {missing:,} of {len(experts):,} tokens have no routing "
        "there (llama.cpp runs its last layer only where it predicts)."
    )
    return experts[:, :-1], None if gates is None else gates[:, :-1], layers[:-1], (note,)


def _tokens(table: pd.DataFrame, token: np.ndarray, count: int) -> dict:
    """What the table says of its tokens: ids, texts, and where the prompt ends."""
    _, first = np.unique(token, return_index=True)
    said = {}
    if "token_id" in table:
        ids = table["token_id"].to_numpy()[first]
        if ids.dtype.kind in "iu" and ids.min() >= 0:
            said["tokens"] = ids
    if "text" in table:
        said["texts"] = [str(text) for text in table["text"].to_numpy()[first]]
    if "phase" in table:
        written = table["phase"].astype(str).isin(GENERATED).to_numpy()[first]
        if (np.diff(written.astype(int)) < 0).any():
            raise TraceError("Tokens of the prompt stand behind generated ones in this table.")
        said["prompt"] = int(count - written.sum())
    return said


def _loss(table: pd.DataFrame, token: np.ndarray, count: int) -> np.ndarray | None:
    if "loss" not in table:
        return None
    _, first = np.unique(token, return_index=True)
    loss = pd.to_numeric(table["loss"], errors="coerce").to_numpy(np.float32)[first]
    return None if np.isnan(loss).all() else loss
