"""How the numbers of a trace stand in a file: as narrow as they fit without loss."""

from __future__ import annotations

import numpy as np

from moeviz.lazy import LazyArray
from moeviz.trace import EMPTY, TraceError

NO_EXPERT = 255
"""What an empty slot is in a file of one byte a choice."""

KINDS = {"BOOL": "bool", "U8": "uint8", "I16": "<i2", "I32": "<i4", "F16": "<f2", "F32": "<f4"}
"""numpy's names for the number formats of a file; BF16, which it does not know, is read as U16."""


def kind_of_ids(experts: int) -> str:
    """One byte a choice where 255 is left to say "empty", else two."""
    return "U8" if experts <= NO_EXPERT else "I16"


def kind_of_reals(array: np.ndarray | LazyArray) -> str:
    """The narrowest of F16, BF16 and F32 that every number of [L, ...] survives, bit by bit.

    Gates of a model that ran in bfloat16 or float16 are numbers of that format.
    """
    for kind in ("F16", "BF16"):
        if all(_survives(part, kind) for part in array):
            return kind
    return "F32"


def to_file(block: np.ndarray, kind: str) -> bytes:
    """The bytes of a block in the number format `kind`."""
    if kind == "BF16":
        return (_bits(block) >> 16).astype("<u2").tobytes()
    if kind == "U8" and block.dtype == np.int16:
        return np.where(block == EMPTY, NO_EXPERT, block).astype(np.uint8).tobytes()
    with np.errstate(over="ignore"):
        return block.astype(KINDS[kind]).tobytes()


def from_file(data: bytes, kind: str, shape: tuple[int, ...]) -> np.ndarray:
    """The block again: ids as int16, gates and logits as float32, others as they stand."""
    if kind == "BF16":
        wide = np.frombuffer(data, "<u2").astype(np.uint32) << 16
        return wide.view(np.float32).reshape(shape)
    if kind == "BOOL" and data.strip(b"\0\1"):
        raise TraceError("Something that is either true or false is neither.")
    found = np.frombuffer(data, KINDS[kind]).reshape(shape)
    return found.astype(np.float32) if kind == "F16" else found


def ids_from_file(block: np.ndarray) -> np.ndarray:
    """Expert ids as int16, from one byte or two a choice."""
    if block.dtype != np.uint8:
        return block.astype(np.int16, copy=False)
    wide = block.astype(np.int16)
    wide[block == NO_EXPERT] = EMPTY
    return wide


def rounded(array: np.ndarray | LazyArray) -> np.ndarray:
    """[L, ...] float32 numbers rounded to float16: 11 significant bits, so 0.05 % off at most.

    Raises TraceError for numbers beyond its range of ±65,504.
    """
    out = np.empty(array.shape, np.float32)
    for row, part in enumerate(array):
        with np.errstate(over="ignore"):
            out[row] = part.astype(np.float16)
        if (np.isinf(out[row]) & np.isfinite(part)).any():
            raise TraceError(
                f"Numbers up to {np.abs(part[np.isfinite(part)]).max():,.0f} do not fit a compact "
                "file, which goes up to 65,504. Save the trace without compact."
            )
    return out


def _survives(part: np.ndarray, kind: str) -> bool:
    return bool((_bits(from_file(to_file(part, kind), kind, part.shape)) == _bits(part)).all())


def _bits(block: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(block, np.float32).view(np.uint32)


def check_known(part: np.ndarray, name: str, unknown: bool) -> None:
    """Raises TraceError where a number is nan; the logits of an `unknown` layer all are."""
    missing = np.isnan(part)
    wrong = not missing.all() if unknown and name == "logits" else missing.any()
    if wrong:
        raise TraceError(f"some {name} are not numbers.")
