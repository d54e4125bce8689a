"""The facts in a trace file's header, every one of the kind it must be."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import numpy as np

from moeviz.trace import Provenance, RouterSpec, TraceError


@contextmanager
def damage_in_words(name: str) -> Iterator[None]:
    """Whatever reading the file `name` trips over, as one sentence about that file."""
    try:
        yield
    except TraceError as error:
        raise TraceError(f"{name} is damaged: {error}") from error
    except (EOFError, OSError) as error:
        raise TraceError(f"{name} can no longer be read: {error}.") from error
    except KeyError as error:
        raise TraceError(f"{name} is damaged: part of its header is missing.") from error
    except (json.JSONDecodeError, RecursionError) as error:
        raise TraceError(f"{name} is damaged: its header cannot be read.") from error
    except (TypeError, ValueError, AttributeError, OverflowError) as error:
        raise TraceError(f"{name} is damaged: part of it is not what a trace holds.") from error


def router_from(header: dict) -> RouterSpec:
    return _facts(RouterSpec, header["router"])


def source_from(header: dict) -> Provenance:
    return _facts(Provenance, header["source"])


def layers_from(header: dict) -> tuple[int, ...]:
    return _tuple(header["layers"], _count)


def vocabulary_from(pieces: dict) -> dict[int, str]:
    return {int(i): text_from(piece) for i, piece in pieces.items()}


def _facts(kind: type, found: dict):
    """A RouterSpec or Provenance from JSON, every value of the kind that its field declares."""
    declared = {field.name: field.type for field in dataclasses.fields(kind)}
    return kind(**{name: _CHECKS[declared[name]](value) for name, value in found.items()})


def text_from(value: object) -> str:
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
    name, version = _tuple(value, text_from)
    return name, version


_CHECKS: dict[str, Callable] = {
    "str": text_from,
    "int": _count,
    "float": _number,
    "bool": _truth,
    "tuple[str, ...]": lambda value: _tuple(value, text_from),
    "tuple[int, ...]": lambda value: _tuple(value, _count),
    "tuple[tuple[str, str], ...]": lambda value: _tuple(value, _pair),
}
"""What a header's value must be, by the type its field declares."""
