"""What the user is looking at, and the same as a link: small values, each checked on the way in."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from moeviz.charts.heat import CELLS
from moeviz.charts.strip import COLOURINGS
from moeviz.trace import RoutingTrace, layer_names

LONGEST_LINK_TEXT = 1500
"""Bytes of text a link carries; proxies cut addresses off at about 8 KB, and letters beyond
ASCII take up to nine characters there."""


@dataclass(frozen=True)
class View:
    """Where the user stands: routed layer (row of the trace), expert, token, and the two scales."""

    row: int
    expert: int | None
    token: int
    colour: str = "expert"
    cells: str = "probability"


def first_view(trace: RoutingTrace) -> View:
    """The view before anything was picked: a middle layer, the first token that stands for text."""
    plain = [t for t in range(len(trace.tokens)) if not trace.tokens.special[t]]
    cells = "gate" if trace.logits is None else "probability"
    return View(row=trace.shape[0] // 2, expert=None, token=plain[0] if plain else 0, cells=cells)


def changed(view: View, trace: RoutingTrace, wish: Mapping[str, object]) -> View:
    """The view with every valid part of `wish` taken over, the rest as it was.

    `wish` comes from outside (a link, a browser): row, expert and token may be anything.
    """
    layers, tokens, experts, _ = trace.shape
    row, token, expert = (_whole(wish.get(name)) for name in ("row", "token", "expert"))
    if row is not None and 0 <= row < layers:
        view = replace(view, row=row)
    if token is not None and 0 <= token < tokens:
        view = replace(view, token=token)
    if expert is not None and 0 <= expert < experts:
        view = replace(view, expert=expert)
    elif "expert" in wish and wish["expert"] is None:
        view = replace(view, expert=None)
    if wish.get("colour") in COLOURINGS:
        view = replace(view, colour=str(wish["colour"]))
    if wish.get("cells") in CELLS:
        view = replace(view, cells=str(wish["cells"]))
    return view


def layer_labels(trace: RoutingTrace) -> list[str]:
    """A name for each routed layer: its number, with a, b, ... where a layer routes twice."""
    return layer_names(trace.layers)


def to_link(view: View, trace: RoutingTrace) -> dict[str, str]:
    """The view as link parameters; what equals the first view is left out."""
    plain, labels = first_view(trace), layer_labels(trace)
    full = {
        "layer": labels[view.row] if view.row != plain.row else None,
        "expert": view.expert,
        "token": view.token if view.token != plain.token else None,
        "colour": view.colour if view.colour != plain.colour else None,
        "cells": view.cells if view.cells != plain.cells else None,
    }
    return {name: str(value) for name, value in full.items() if value is not None}


def from_link(link: Mapping[str, str], trace: RoutingTrace) -> View:
    """The view a link asks for; whatever in it does not fit this trace is passed over."""
    labels = layer_labels(trace)
    wish = {name: link[name] for name in ("expert", "token", "colour", "cells") if name in link}
    if link.get("layer") in labels:
        wish["row"] = labels.index(link["layer"])
    return changed(first_view(trace), trace, wish)


def text_for_link(text: str) -> str | None:
    """The text if it is short enough for a link, else None."""
    return text if len(text.encode("utf-8", "replace")) <= LONGEST_LINK_TEXT else None


def _whole(value: object) -> int | None:
    """A whole number from a number or its digits; None for anything else."""
    if isinstance(value, bool):
        return None
    if isinstance(value, int):
        return value
    if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) < 10:
        return int(value)
    return None
