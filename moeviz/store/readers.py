"""Files of routing that other programs recorded, each read into a trace or refused.

None of these formats has a standard of its own, so this is what is read. Their first axis counts
tokens, their second layers (of the whole model or its routed ones), their third a token's choices.

.npy      One array [tokens, layers, top-k] of whole numbers: `routed_experts` of vLLM's offline
          outputs, or what its servers send, out of base64 (docs.vllm.ai, "Routed Experts").
.npz      Arrays by name: `experts` or `routed_experts` as above; if there, `gates` alike,
          `token_ids` [tokens], `texts` [tokens], `layers` [layers], and the numbers `num_experts`,
          `start` and `prompt`. Of SGLang's bare numbers this is
          np.savez(path, experts=array.reshape(-1, layers, top_k)).
.csv,     A table with a row for each choice and the columns token, layer and expert; if there,
.parquet  slot, gate, token_id, text, phase and next_token_loss. MoEViz's own tables are of this
          kind, and so are those of llama.cpp's relatives, see moeviz.store.table.
.csv      Rows `layer,expert` without a heading, as llama.cpp's moe-trace writes them (see
          moeviz.store.llama).

What none of them tells must be given: how many experts a layer has, and of bare rows how many a
token takes. Pickled files (.pkl, .pt) are refused, since opening one may run code.
"""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np

from moeviz.store.npy import npy_array, npz_arrays
from moeviz.store.record import Record, Told, Untold, as_trace
from moeviz.trace import RoutingTrace, TraceError

SUFFIXES = (".npy", ".npz", ".csv", ".parquet")
"""Endings of files that can be read."""

PICKLED = (".pkl", ".pickle", ".pt", ".pth", ".bin", ".ckpt")

_BARE = re.compile(rb"\s*-?\d+\s*,\s*-?\d+\s*(\r?\n|$)")
"""Two numbers and no heading."""


def read_routing(path: str | Path, **told) -> RoutingTrace:
    """The trace in a file that another program wrote; see the module for what is read.

    told: what the file does not say, by the names of `Told`, such as num_experts=64. Gates and
    logits that are not in the file are None in the trace. Raises TraceError for a file that cannot
    be read and for routing that cannot be true, Untold (a TraceError) where something must be told
    first.
    """
    path = Path(path)
    try:
        data = path.read_bytes()
    except OSError as error:
        raise TraceError(f"Cannot read {path}: {error.strerror}.") from error
    return recorded_trace(data, path.name, Told(**told))


def recorded_trace(data: bytes, name: str, told: Told) -> RoutingTrace:
    """The same from the bytes of a file called `name`."""
    suffix = Path(name).suffix.lower()
    if suffix in PICKLED:
        raise TraceError(
            f"{name} is a pickle, and opening one may run code that it brings. Save the array with "
            "numpy.save, or with numpy.savez under the name experts."
        )
    if suffix not in SUFFIXES:
        raise TraceError(
            f"{name} is not a record that can be read: give {', '.join(SUFFIXES[:-1])} or "
            f"{SUFFIXES[-1]}."
        )
    try:
        return as_trace(_record(data, suffix, told), told)
    except Untold as error:
        raise Untold(f"{name}: {error}", error.wanted) from error
    except TraceError as error:
        raise TraceError(f"{name}: {error}") from error


def _record(data: bytes, suffix: str, told: Told) -> Record:
    if not data:
        raise TraceError("The file is empty.")
    if suffix == ".npy":
        return Record(npy_array(data))
    if suffix == ".npz":
        return _npz(data)
    if suffix == ".csv" and _BARE.match(data):
        from moeviz.store.llama import bare_rows  # late: pandas takes a second

        return bare_rows(data, told.chosen)
    from moeviz.store.table import table_record  # late: pandas takes a second

    return table_record(data, suffix)


def _npz(data: bytes) -> Record:
    arrays = npz_arrays(data)
    found = next((name for name in ("experts", "routed_experts") if name in arrays), None)
    if found is None:
        held = ", ".join(sorted(arrays)) or "nothing"
        raise TraceError(f"There is no array called experts or routed_experts, but {held}.")
    said = {name: _number(arrays[name], name)
            for name in ("num_experts", "start", "prompt") if name in arrays}  # fmt: skip
    for name, part in (("token_ids", "tokens"), ("layers", "layers")):
        if name in arrays:
            said[part] = arrays[name]
    if "texts" in arrays:
        said["texts"] = [str(text) for text in arrays["texts"].ravel()]
    return Record(arrays[found], arrays.get("gates"), said)


def _number(array: np.ndarray, name: str) -> int:
    if array.size != 1 or array.dtype.kind not in "iu":
        raise TraceError(f"{name} must be one whole number, not {array.size} of {array.dtype}.")
    return int(array.reshape(())[()])
