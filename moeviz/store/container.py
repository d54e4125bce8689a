"""The outside of a trace file: a safetensors file, read in pieces and written as it comes.

A safetensors file is eight bytes that say how long its header is, the header (JSON: for every
array its number format, shape and place; and under `__metadata__` texts by name), and the arrays
one after the other. The safetensors package maps a file into memory; a mapped file that is cut
short meanwhile kills the process that looks at it. So pieces are read here, and whatever a file
claims is held against its size before anything is read or made room for.
"""

from __future__ import annotations

import json
import math
import threading
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, NoReturn, Protocol

from moeviz.trace import TraceError

MOST_HEADER = 16_000_000
"""Bytes of the longest header that is read: JSON can take twenty times its length in memory."""

ITEM_BYTES = {
    "BOOL": 1, "U8": 1, "I8": 1, "U16": 2, "I16": 2, "F16": 2, "BF16": 2, "U32": 4, "I32": 4,
    "F32": 4, "U64": 8, "I64": 8, "F64": 8,
}  # fmt: skip
"""Number formats of safetensors files, and their bytes a number."""

MOST_AXES = 3
"""Axes of the arrays of a trace."""

MOST_WORDS = 200
"""Letters of a complaint that may quote the file."""


@dataclass(frozen=True)
class Place:
    """Where an array lies: its number format, its shape and its first byte in the file."""

    kind: str
    shape: tuple[int, ...]
    start: int

    @property
    def bytes(self) -> int:
        return math.prod(self.shape) * ITEM_BYTES[self.kind]


class Source(Protocol):
    """Something with a size that hands out stretches of bytes."""

    name: str
    size: int

    def read(self, start: int, count: int) -> bytes: ...


class Held:
    """A file whose bytes are all in memory."""

    def __init__(self, data: bytes, name: str):
        self.name, self.size, self._data = name, len(data), data

    def read(self, start: int, count: int) -> bytes:
        return self._data[start : start + count]


class OnDisk:
    """A file that stays open; stretches are read when asked for. EOFError if it became shorter."""

    def __init__(self, path: Path):
        self.name = path.name
        self._file: BinaryIO = path.open("rb")
        self._lock = threading.Lock()
        self.size = self._file.seek(0, 2)

    def read(self, start: int, count: int) -> bytes:
        with self._lock:
            self._file.seek(start)
            found = self._file.read(count)
        if len(found) != count:
            raise EOFError("it became shorter while it was open")
        return found


def read_header(source: Source) -> tuple[dict[str, str], dict[str, Place]]:
    """The metadata of a file and the places of its arrays; raises TraceError for another file."""
    try:
        length, header = _header(source)
        metadata = header.pop("__metadata__", {})
        if not all(isinstance(text, str) for text in metadata.values()):
            raise ValueError("its metadata are not texts")
        return metadata, _places(header, 8 + length, source.size)
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError, EOFError) as error:
        raise TraceError(f"{source.name} is not a trace file: {_why(error)}.") from error


def header_bytes(metadata: dict[str, str], arrays: Iterable[tuple[str, str, tuple]]) -> bytes:
    """The beginning of a file with these arrays (name, number format, shape) in this order."""
    header: dict[str, dict] = {"__metadata__": metadata}
    end = 0
    for name, kind, shape in arrays:
        start, end = end, end + math.prod(shape) * ITEM_BYTES[kind]
        header[name] = {"dtype": kind, "shape": list(shape), "data_offsets": [start, end]}
    text = json.dumps(header, ensure_ascii=False, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    if len(text) > MOST_HEADER:
        raise TraceError(
            f"The facts of this trace take {len(text):,} bytes, and a trace file has room for "
            f"{MOST_HEADER:,}. Shorten its notes."
        )
    return len(text).to_bytes(8, "little") + text


def plain_json(text: bytes | str) -> dict:
    """A JSON object in which no name comes twice; raises ValueError or RecursionError."""
    found = json.loads(text, object_pairs_hook=_once, parse_constant=_no_number)
    if not isinstance(found, dict):
        raise ValueError("its header is no object")
    return found


def _header(source: Source) -> tuple[int, dict]:
    length = int.from_bytes(source.read(0, min(8, source.size)), "little")
    if source.size < 8 or length > source.size - 8:
        raise ValueError(f"its header would be longer than the file, which has {source.size} bytes")
    if length > MOST_HEADER:
        raise ValueError(f"its header has {length:,} bytes; at most {MOST_HEADER:,} are read")
    return length, plain_json(source.read(8, length))


def _places(header: dict, start: int, end: int) -> dict[str, Place]:
    """The arrays, which must fill the file from `start` to `end` without gap or overlap."""
    places, at = {}, start
    for name, facts in sorted(header.items(), key=lambda entry: entry[1]["data_offsets"]):
        if facts["dtype"] not in ITEM_BYTES:
            raise ValueError(f"{name} is in the number format {facts['dtype']!r}")
        place = Place(facts["dtype"], tuple(facts["shape"]), at)
        sizes = place.shape
        if len(sizes) > MOST_AXES or not all(type(n) is int and 0 <= n <= end for n in sizes):
            raise ValueError(f"{name} has the shape {facts['shape']}")
        if facts["data_offsets"] != [at - start, at - start + place.bytes]:
            raise ValueError(f"{name} does not lie where its shape and the other arrays put it")
        places[name], at = place, at + place.bytes
    if at != end:
        raise ValueError(f"it has {end:,} bytes, and its header speaks of {at:,}")
    return places


def _once(pairs: list[tuple[str, object]]) -> dict:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("its header says something twice")
    return found


def _no_number(name: str) -> NoReturn:
    raise ValueError(f"its header has {name} in the place of a number")


def _why(error: Exception) -> str:
    """Our own sentences as they are, as long as a screen bears; Python's in other words."""
    told = str(error)
    own = type(error) in (ValueError, EOFError) and not told.startswith("Exceeds the limit")
    if not own:
        return "its header is not that of a safetensors file"
    return told if len(told) <= MOST_WORDS else f"{told[:MOST_WORDS]}…"
