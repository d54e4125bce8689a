"""One trace, one file: a safetensors file with a versioned header.

Layout, version 1. The safetensors metadata (string to string) holds

    format   "moetrace"
    version  "1"
    header   JSON: layers, router, source, text, vocabulary (see RoutingTrace.header)

and the tensors are those of RoutingTrace.arrays(): experts int16 [L, T, K], gates float32
[L, T, K], optional logits and scores float32 [L, T, E], optional loss float32 [T], and the token
columns tokens.ids int32 [T], tokens.spans int32 [T, 2], tokens.special and tokens.generated
bool [T]. Nothing in the file is ever executed.
"""

from __future__ import annotations

import json
import os
import tempfile
from pathlib import Path

from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from moeviz.trace import Provenance, RouterSpec, RoutingTrace, Tokens, TraceError

FORMAT = "moetrace"
VERSION = 1


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
        with safe_open(path, framework="numpy") as file:
            metadata = file.metadata() or {}
            header = _header(metadata, path)
            arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except FileNotFoundError as error:
        raise TraceError(f"There is no file {path}.") from error
    except (SafetensorError, OSError) as error:
        raise TraceError(f"{path.name} is not a trace file: {error}.") from error
    return _assemble(header, arrays, path)


def _header(metadata: dict[str, str], path: Path) -> dict:
    if metadata.get("format") != FORMAT:
        raise TraceError(f"{path.name} is a safetensors file, but not a MoEViz trace.")
    version = metadata.get("version", "")
    if version != str(VERSION):
        raise TraceError(
            f"{path.name} has trace version {version!r}; this MoEViz reads version {VERSION}. "
            "Update MoEViz to open it."
        )
    try:
        return json.loads(metadata["header"])
    except (KeyError, json.JSONDecodeError) as error:
        raise TraceError(f"{path.name} is damaged: its header cannot be read.") from error


def _assemble(header: dict, arrays: dict, path: Path) -> RoutingTrace:
    try:
        columns = {n.removeprefix("tokens."): a for n, a in arrays.items() if "." in n}
        vocabulary = {int(i): piece for i, piece in header["vocabulary"].items()}
        tokens = Tokens(source=header["text"], vocabulary=vocabulary, **columns)
        router = {k: tuple(v) if isinstance(v, list) else v for k, v in header["router"].items()}
        source = dict(header["source"])
        source["versions"] = tuple((name, version) for name, version in source["versions"])
        source["notes"] = tuple(source["notes"])
        own = {n: a for n, a in arrays.items() if "." not in n}
        return RoutingTrace(
            tokens=tokens,
            router=RouterSpec(**router),
            source=Provenance(**source),
            layers=tuple(header["layers"]),
            **own,
        )
    except TraceError as error:
        raise TraceError(f"{path.name} is damaged: {error}") from error
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise TraceError(f"{path.name} is damaged: part of its header is missing.") from error
