"""One trace, one file: a safetensors file with a versioned header.

Layout, version 1. The safetensors metadata (string to string) holds

    format   "moetrace"
    version  "1"
    header   JSON: layers, router, source, text, vocabulary (see RoutingTrace.header)

and the tensors are those of RoutingTrace.arrays(): experts int16 [L, T, K], optional gates float32
[L, T, K], optional logits and scores float32 [L, T, E], optional loss float32 [T], and the token
columns tokens.ids int32 [T], tokens.spans int32 [T, 2], tokens.special and tokens.generated
bool [T]. Nothing in the file is ever executed.
"""

from __future__ import annotations

import dataclasses
import json
import os
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load, save

from moeviz.trace import Provenance, RouterSpec, RoutingTrace, Tokens, TraceError

FORMAT = "moetrace"
VERSION = 1

_KINDS = {
    "experts": "int16", "gates": "float32", "logits": "float32", "scores": "float32",
    "loss": "float32", "tokens.ids": "int32", "tokens.spans": "int32", "tokens.special": "bool",
    "tokens.generated": "bool",
}  # fmt: skip
"""Number format of every array in a file."""


def save_trace(trace: RoutingTrace, path: str | Path) -> Path:
    """Path of the written file. Written beside its place first and moved there when complete."""
    path = Path(path)
    data = trace_bytes(trace)
    try:
        handle, draft = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    except OSError as error:
        raise TraceError(f"Cannot write {path}: {error.strerror}.") from error
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
        os.chmod(draft, 0o644)
        os.replace(draft, path)
    except OSError as error:
        Path(draft).unlink(missing_ok=True)
        raise TraceError(f"Cannot write {path}: {error.strerror}.") from error
    return path


def trace_bytes(trace: RoutingTrace) -> bytes:
    """The whole file as bytes, for a download."""
    header = json.dumps(trace.header(), ensure_ascii=False)
    metadata = {"format": FORMAT, "version": str(VERSION), "header": header}
    return save(trace.arrays(), metadata=metadata)


def open_trace(path: str | Path) -> RoutingTrace:
    """The trace in a file written by `save_trace`; raises TraceError for any other file."""
    path = Path(path)
    try:
        data = path.read_bytes()
    except FileNotFoundError as error:
        raise TraceError(f"There is no file {path}.") from error
    except OSError as error:
        raise TraceError(f"{path.name} is not a trace file: {error}.") from error
    return read_trace(data, path.name)


def read_trace(data: bytes, name: str) -> RoutingTrace:
    """The trace in the bytes of a file called `name`; raises TraceError for any other file."""
    try:
        arrays = load(data)
    except (SafetensorError, KeyError, TypeError, ValueError) as error:
        raise TraceError(f"{name} is not a trace file: {error}.") from error
    size = int.from_bytes(data[:8], "little")
    metadata = json.loads(data[8 : 8 + size]).get("__metadata__") or {}
    return _assemble(_header(metadata, name), arrays, name)


def _header(metadata: dict[str, str], name: str) -> dict:
    if metadata.get("format") != FORMAT:
        raise TraceError(f"{name} is a safetensors file, but not a MoEViz trace.")
    version = metadata.get("version", "")
    if version != str(VERSION):
        raise TraceError(
            f"{name} has trace version {version!r}; this MoEViz reads version {VERSION}. "
            "Update MoEViz to open it."
        )
    try:
        return json.loads(metadata["header"])
    except (KeyError, ValueError, RecursionError) as error:
        raise TraceError(f"{name} is damaged: its header cannot be read.") from error


def _assemble(header: dict, arrays: dict[str, np.ndarray], name: str) -> RoutingTrace:
    try:
        columns = {n.removeprefix("tokens."): a for n, a in arrays.items() if "." in n}
        vocabulary = {int(i): _text(piece) for i, piece in header["vocabulary"].items()}
        tokens = Tokens(source=_text(header["text"]), vocabulary=vocabulary, **columns)
        own = {"gates": None} | {n: a for n, a in arrays.items() if "." not in n}
        _check_kinds(arrays)
        _check_numbers(own)
        return RoutingTrace(
            tokens=tokens,
            router=_facts(RouterSpec, header["router"]),
            source=_facts(Provenance, header["source"]),
            layers=_tuple(header["layers"], _count),
            **own,
        )
    except TraceError as error:
        raise TraceError(f"{name} is damaged: {error}") from error
    except KeyError as error:
        raise TraceError(f"{name} is damaged: part of its header is missing.") from error
    except (TypeError, ValueError, AttributeError, OverflowError) as error:
        raise TraceError(f"{name} is damaged: part of it is not what a trace holds.") from error


def _check_kinds(arrays: dict[str, np.ndarray]) -> None:
    for name, kind in _KINDS.items():
        if name in arrays and arrays[name].dtype != kind:
            raise TraceError(f"{name} holds {arrays[name].dtype} numbers instead of {kind}.")


def _check_numbers(arrays: dict[str, np.ndarray]) -> None:
    """Only a whole layer's logits may be unknown (nan); anything else that is no number is not."""
    for kind in ("logits", "scores"):
        unknown = np.isnan(arrays.get(kind, np.zeros((1, 1))))
        each = unknown.reshape(len(unknown), -1)
        if (kind == "scores" and each.any()) or (each.any(axis=1) != each.all(axis=1)).any():
            raise TraceError(f"some {kind} are not numbers.")


def _facts(kind: type, found: dict):
    """A RouterSpec or Provenance from JSON, every value of the kind that its field declares."""
    declared = {field.name: field.type for field in dataclasses.fields(kind)}
    return kind(**{name: _CHECKS[declared[name]](value) for name, value in found.items()})


def _text(value: object) -> str:
    """The value if it is a text that can be written out again: no halves of characters."""
    if not isinstance(value, str):
        raise TypeError(value)
    value.encode()
    return value


def _number(value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not np.isfinite(value):
        raise TypeError(value)
    return value


def _count(value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value < 2**31:
        raise TypeError(value)
    return value


def _truth(value: object) -> bool:
    if not isinstance(value, bool):
        raise TypeError(value)
    return value


def _tuple(value: object, part: Callable) -> tuple:
    if not isinstance(value, list):
        raise TypeError(value)
    return tuple(part(each) for each in value)


def _pair(value: object) -> tuple[str, str]:
    name, version = _tuple(value, _text)
    return name, version


_CHECKS: dict[str, Callable] = {
    "str": _text,
    "int": _count,
    "float": _number,
    "bool": _truth,
    "tuple[str, ...]": lambda value: _tuple(value, _text),
    "tuple[int, ...]": lambda value: _tuple(value, _count),
    "tuple[tuple[str, str], ...]": lambda value: _tuple(value, _pair),
}
"""What a header's value must be, by the type its field declares."""
