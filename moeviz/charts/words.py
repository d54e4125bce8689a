"""Numbers and findings as plain English."""

from __future__ import annotations

import math
from pathlib import PurePath

import numpy as np

from moeviz.metrics.load import Load, LoadChance
from moeviz.trace import RoutingTrace


def percent(share: float) -> str:
    """A share as a percentage with two telling digits: "18 %", "0.4 %", "under 0.01 %"."""
    value = 100 * share
    if 0 < value < 0.005:
        return "under 0.01 %"
    digits = 0 if value >= 9.95 or value == 0 else 1 if value >= 0.095 else 2
    return f"{value:.{digits}f} %"


def model_name(name: str) -> str:
    """A model's name for the screen: of a folder only its last part."""
    return PurePath(name).name if name.startswith(("/", "~", ".", "\\")) else name


def first_for(ranked: bool) -> str:
    """What an expert in slot 0 of a token is: where slots are not ranked by gate, only the one
    that the record names first."""
    return "first choice of" if ranked else "named first for"


def plural(count: int, noun: str) -> str:
    """ "1 token", "1,024 tokens"."""
    return f"{count:,} {noun}" + ("" if count == 1 else "s")


def range_words(scope: tuple[int, int] | None) -> str:
    """A selection of tokens (first, last) counted from 1: "tokens 3 to 17"; "all tokens"."""
    return f"tokens {scope[0] + 1:,} to {scope[1] + 1:,}" if scope else "all tokens"


def visible(text: str) -> str:
    """A token's text with its white space made visible, for labels."""
    signs = {" ": "·", "\n": "↵", "\t": "⇥", "\r": "␍", "\u00a0": "⍽"}
    return "".join(signs.get(c) or _picture(c) for c in text) or "∅"


def spelt(piece: str) -> str:
    """A vocabulary piece as text: byte-level BPE's stand-ins for bytes, or "▁" for a space, undone.

    A piece that is part of a character keeps a replacement sign for it.
    """
    if piece and all(sign in _BYTES for sign in piece):
        return bytes(_BYTES[sign] for sign in piece).decode("utf-8", "replace")
    return piece.replace("▁", " ")


def _byte_signs() -> dict[str, int]:
    """The sign that byte-level BPE writes for each byte (Radford et al. 2019, GPT-2)."""
    shown = [*range(33, 127), *range(161, 173), *range(174, 256)]
    hidden = [byte for byte in range(256) if byte not in shown]
    signs = {chr(byte): byte for byte in shown}
    return signs | {chr(256 + place): byte for place, byte in enumerate(hidden)}


_BYTES = _byte_signs()


def load_sentence(load: Load, chance: LoadChance, row: int, layer: str, expert: int | None) -> str:
    """What one layer's load comes to: the picked or busiest expert, and chance beside it."""
    share = load.share[row]
    busiest = int(np.nanargmax(share))
    who = busiest if expert is None or not np.isfinite(share[expert]) else expert
    role = ", the busiest," if who == busiest else ""
    band = f"{percent(chance.low)} to {percent(chance.high)}"
    top = f"{percent(chance.busiest_low)} to {percent(chance.busiest_high)}"
    idle = int((load.counts[row] == 0).sum())
    rest = f" {plural(idle, 'expert')} got nothing." if idle else ""
    return (
        f"In layer {layer}, expert {who}{role} took {percent(share[who])} of the "
        f"{plural(int(load.assignments[row]), 'assignment')}. Chance alone would "
        f"give one expert {band}, and the busiest {top}.{rest}"
    )


def model_sentence(trace: RoutingTrace) -> str:
    """What a mixture of experts does, in the numbers of this model and this text."""
    layers, tokens, experts, chosen = trace.shape
    uneven = trace.router.experts_per_layer or trace.router.chosen_per_layer
    upto = "up to " if uneven else ""
    name = model_name(trace.source.model)
    where = "In its one routed layer" if layers == 1 else f"In each of {layers} layers"
    return (
        f"{where}, {name} has {upto}{plural(experts, 'expert')} and "
        f"a router that sends every token to {upto}{chosen} of them. Here is where your "
        f"{plural(tokens, 'token')} went."
    )


def loss_words(loss: float) -> str:
    """A next-token loss for a person: nats, and the probability it stands for."""
    if not math.isfinite(loss):
        return "no next token"
    return f"{loss:.2f} nats, probability {percent(math.exp(-loss))}"


def _picture(sign: str) -> str:
    """A control code as the sign Unicode has for it; any other character as it is."""
    code = ord(sign)
    return chr(0x2400 + code) if code < 32 else "␡" if code == 127 else sign
