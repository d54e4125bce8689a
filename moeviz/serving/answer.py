"""What a server told of one text, and the checks that both protocols share."""

from __future__ import annotations

import base64
import binascii
import math
from dataclasses import dataclass

import numpy as np

from moeviz.serving.wire import ServerError, words
from moeviz.trace import MoevizError

CUT_OFF = "The answer was cut off, or is not of this kind of server."


@dataclass(frozen=True, eq=False)
class Answer:
    """The tokens of prompt and continuation, and what was told of each.

    ids, pieces: of all tokens. prompt: how many of them were given. written: the continuation as
    text. scores: natural log of each token's probability after those before it, None where the
    server does not say. experts: [T, A, K] as sent, for all tokens or all but the last.
    engine: name and version of the server.
    """

    ids: list[int]
    pieces: list[str]
    prompt: int
    written: str
    scores: list[float | None]
    experts: np.ndarray
    engine: str


class MissingRouting(MoevizError):
    """The server answered, but without any routing; the caller knows what to do about that."""


def unpacked(packed: object) -> bytes:
    """The bytes that a base64 text stands for; raises ServerError where it is none."""
    try:
        if not isinstance(packed, str):
            raise TypeError(f"{type(packed).__name__} instead of text")
        return base64.b64decode(packed.encode("ascii"), validate=True)
    except (TypeError, UnicodeEncodeError, binascii.Error) as error:
        raise ServerError(
            f"The experts that the server sent are not base64: {words(str(error), 100)}. {CUT_OFF}"
        ) from error


def part(told: object, name: str, kind: type) -> object:
    """`told[name]`, which must be of `kind`; raises ServerError where it is not."""
    found = told.get(name) if isinstance(told, dict) else None
    if not isinstance(found, kind):
        came = "nothing" if found is None else type(found).__name__
        raise ServerError(
            f"The answer should have a {kind.__name__} at {name}, but has {came}. {CUT_OFF}"
        )
    return found


def whole_numbers(found: list, name: str) -> list[int]:
    """A list of token ids as it is; raises ServerError for anything else in it."""
    if not all(type(each) is int and 0 <= each < 2**31 for each in found):
        raise ServerError(f"The answer's {name} are not token ids. {CUT_OFF}")
    return found


def score(value: object) -> float | None:
    """A log probability, None where there is none that can be one."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        return None
    return min(float(value), 0.0)


def piece(value: object) -> str:
    """The text of a token, "" where the server does not know it, without halves of characters."""
    return value.encode("utf-8", "replace").decode() if isinstance(value, str) else ""
