"""One trace, one file: a safetensors file with a versioned header.

**Version 2**, which is written. The safetensors metadata (text by name) hold

    format   "moetrace"
    version  "2"
    key      the trace's content hash, 32 hexadecimal digits
    facts    JSON: layers, router, source (see RoutingTrace.facts)

and the arrays are, with L routed layers, T tokens, E experts and K chosen:

    experts               [L, T, K]  U8 where E is at most 255 (255: empty slot), else I16
                                     (-1: empty slot)
    gates                 [L, T, K]  F16, BF16 or F32; only where the trace has them
    logits, scores        [L, T, E]  F16, BF16 or F32; only where the trace has them
    loss                  [T]        F32; only where the trace has it
    tokens.ids            [T]        I32
    tokens.spans          [T, 2]     I32, characters of the text; -1 for none
    tokens.special        [T]        BOOL
    tokens.generated      [T]        BOOL
    text                  [bytes]    U8, UTF-8
    vocabulary.ids        [V]        I32, ascending: the token ids whose spelling is known
    vocabulary.ends       [V]        I32, where each spelling ends in
    vocabulary.letters    [bytes]    U8, UTF-8: all spellings, one after the other
    checksums.NAME        [n, 32]    U8, for each of the [L, T, ...] arrays: the SHA-256 of every
                                     block of 16,384 tokens of one layer, layer by layer

Every real number is stored in the first of F16, BF16 and F32 that all numbers of its array survive
bit by bit, so a trace comes back as it went, key and all: in memory it is float32 always. Gates of
a model that ran in bfloat16 or float16 thus take 2 bytes, those of a float32 model 4. A compact
file has them rounded to F16 (11 significant bits: at most 0.05 % off, and 3e-8 near 0); a note
in `source` says so, and the key is that of the rounded trace. Choices and gates of a slot then
take 3 bytes for up to 255 experts and 4 for more.

Checksums are of the numbers as they are in memory (int16, float32, little-endian), so they and the
key do not depend on how narrow a file is. The key binds all: it is the hash of the facts, the text,
the vocabulary and the checksums of every array.

A file of up to 16 MB is read and checked whole when it is opened. Of a larger one, header, tokens,
text and key are read and checked, and of the [L, T, ...] arrays each block when it is first looked
at: its checksum, then its contents, so that no number is shown that was not checked. A million
tokens of 16 layers and top-8 take 410 MB, 384 MB of them choices and gates, and open in about a
tenth of a second.

**Version 1**, which is still read: metadata `header` holds the facts, text and vocabulary as one
JSON; experts are I16, all real numbers F32; there are neither checksums nor key.

Nothing in a file is ever executed, and what it claims is held against its size before room is made
for it. A header of more than 16 MB is not read.
"""

from __future__ import annotations

import os
import tempfile
from io import BytesIO
from pathlib import Path

from moeviz.store.container import Held, OnDisk, Source, read_header
from moeviz.store.version_1 import read_version_1
from moeviz.store.version_2 import FORMAT, VERSION, compacted, read_version_2, write_trace
from moeviz.trace import RoutingTrace, TraceError

WHOLE = 16_000_000
"""Bytes of a file that is read whole when it is opened, unless asked otherwise."""

_READERS = {"1": read_version_1, "2": read_version_2}


def save_trace(trace: RoutingTrace, path: str | Path, compact: bool = False) -> Path:
    """Path of the written file. Written beside its place first and moved there when complete.

    compact: see RoutingTrace.save. Raises TraceError where the file cannot be written; what was
    there before is then there still.
    """
    path = Path(path)
    trace = compacted(trace) if compact else trace
    try:
        handle, draft = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    except OSError as error:
        raise TraceError(f"Cannot write {path}: {error.strerror}.") from error
    try:
        with os.fdopen(handle, "wb") as file:
            write_trace(trace, file)
            file.flush()
            os.fsync(handle)
        os.chmod(draft, 0o644)
        os.replace(draft, path)
    except BaseException as error:
        Path(draft).unlink(missing_ok=True)
        if isinstance(error, OSError):
            raise TraceError(
                f"Cannot write {path}: {error.strerror}. Nothing was changed there; free some "
                "space or choose another folder."
            ) from error
        raise
    return path


def trace_bytes(trace: RoutingTrace, compact: bool = False) -> bytes:
    """The whole file as bytes, for a download."""
    file = BytesIO()
    write_trace(compacted(trace) if compact else trace, file)
    return file.getvalue()


def open_trace(path: str | Path, whole: bool | None = None) -> RoutingTrace:
    """The trace in a file written by `save_trace`; raises TraceError for any other file.

    whole: read and check everything now, so that the file is needed no longer; False leaves the
    [L, T, ...] arrays in it until they are looked at. None does so for files of more than 16 MB.
    """
    path = Path(path)
    try:
        source = OnDisk(path)
    except FileNotFoundError as error:
        raise TraceError(f"There is no file {path}.") from error
    except OSError as error:
        raise TraceError(f"{path.name} is not a trace file: {error}.") from error
    return _trace_in(source, source.size <= WHOLE if whole is None else whole)


def read_trace(data: bytes, name: str) -> RoutingTrace:
    """The trace in the bytes of a file called `name`; raises TraceError for any other file."""
    return _trace_in(Held(data, name), whole=True)


def _trace_in(source: Source, whole: bool) -> RoutingTrace:
    try:
        metadata, places = read_header(source)
        if metadata.get("format") != FORMAT:
            raise TraceError(f"{source.name} is a safetensors file, but not a MoEViz trace.")
        version = metadata.get("version", "")
        if version not in _READERS:
            raise TraceError(
                f"{source.name} has trace version {version[:20]!r}; this MoEViz reads versions 1 "
                f"to {VERSION}. Update MoEViz to open it."
            )
        return _READERS[version](source, metadata, places, whole)
    except MemoryError as error:
        raise TraceError(
            f"{source.name} needs more memory than there is. Open it on a larger machine, or with "
            "moeviz.open_trace(path, whole=False)."
        ) from error
