"""What the user is looking at, and the same as a link: small values, each checked on the way in."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from moeviz.charts.heat import CELLS, COLUMNS
from moeviz.charts.layers import MEASURES
from moeviz.charts.strip import COLOURINGS
from moeviz.trace import RoutingTrace, layer_names

LONGEST_LINK_TEXT = 1500
"""Bytes of text a link carries; proxies cut addresses off at about 8 KB, and letters beyond
ASCII take up to nine characters there."""


LOOKS = {"token": "Token", "expert": "Expert", "layer": "Layer", "flow": "Flow"}
"""What the panel beside the text looks at closely: the name in links, and the word on screen."""

_CHOICES = {"colour": COLOURINGS, "cells": CELLS, "columns": COLUMNS, "look": LOOKS,
            "measure": MEASURES}  # fmt: skip


@dataclass(frozen=True)
class View:
    """Where the user stands: routed layer (row of the trace), expert and token, and how to look.

    until: the other end of a range of tokens that starts or ends at `token`, or None.
    """

    row: int
    expert: int | None
    token: int
    colour: str = "expert"
    cells: str = "probability"
    until: int | None = None
    columns: str = "experts"
    look: str = "token"
    measure: str = "load"

    @property
    def selection(self) -> tuple[int, int] | None:
        """(first, last) of the selected range of tokens, both included; None for no range."""
        return None if self.until is None else tuple(sorted((self.token, self.until)))


def first_view(trace: RoutingTrace) -> View:
    """The view before anything was picked: a middle layer, the first token that stands for text."""
    plain = [t for t in range(len(trace.tokens)) if not trace.tokens.special[t]]
    return View(
        row=trace.shape[0] // 2,
        expert=None,
        token=plain[0] if plain else 0,
        cells=next(iter(known_cells(trace))),
    )


def known_cells(trace: RoutingTrace) -> list[str]:
    """What the cells of the token grid can show of this trace, the most telling first."""
    unknown = {"probability", "logit"} if trace.logits is None else set()
    unknown |= {"gate"} if trace.gates is None else set()
    return [name for name in CELLS if name not in unknown]


def changed(view: View, trace: RoutingTrace, wish: Mapping[str, object]) -> View:
    """The view with every valid part of `wish` taken over, the rest as it was.

    `wish` comes from outside (a link, a browser): row, expert, token and until may be anything. A
    token without `until` ends the range.
    """
    layers, tokens, experts, _ = trace.shape
    row, token, expert = (_whole(wish.get(name)) for name in ("row", "token", "expert"))
    if row is not None and 0 <= row < layers:
        view = replace(view, row=row)
    if token is not None and 0 <= token < tokens:
        view = replace(view, token=token, until=None)
    if expert is not None and 0 <= expert < experts:
        view = replace(view, expert=expert)
    elif "expert" in wish and wish["expert"] is None:
        view = replace(view, expert=None)
    until = _whole(wish.get("until"))
    if until is not None and 0 <= until < tokens:
        view = replace(view, until=until if until != view.token else None)
    elif "until" in wish and wish["until"] is None:
        view = replace(view, until=None)
    wanted = {name: wish[name] for name in _CHOICES if name in wish}
    return replace(view, **{n: str(v) for n, v in wanted.items() if _among(v, _CHOICES[n])})


def look_after(look: str, pick: Mapping[str, object]) -> str:
    """What the panel should look at after a click on `pick`: what was picked, closely.

    The flow stays, since every click shows in it; a range of tokens opens it.
    """
    if look == "flow":
        return look
    if pick.get("until") is not None:
        return "flow" if look == "token" else look
    if "token" in pick:
        return look if "expert" in pick and look == "expert" else "token"
    if pick.get("expert") is not None:
        return "expert"
    return "layer" if "row" in pick else look


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
        "until": view.until,
        **{n: getattr(view, n) for n in _CHOICES if getattr(view, n) != getattr(plain, n)},
    }
    return {name: str(value) for name, value in full.items() if value is not None}


def from_link(link: Mapping[str, str], trace: RoutingTrace) -> View:
    """The view a link asks for; whatever in it does not fit this trace is passed over."""
    labels = layer_labels(trace)
    names = ("expert", "token", "until", *_CHOICES)
    wish = {name: link[name] for name in names if name in link}
    if link.get("layer") in labels:
        wish["row"] = labels.index(link["layer"])
    return changed(first_view(trace), trace, wish)


def text_for_link(text: str) -> str | None:
    """The text if it is short enough for a link, else None."""
    return text if len(text.encode("utf-8", "replace")) <= LONGEST_LINK_TEXT else None


def _among(value: object, choices: Mapping[str, str]) -> bool:
    return isinstance(value, str) and value in choices


def _whole(value: object) -> int | None:
    """A whole number from a number or its digits; None for anything else."""
    if isinstance(value, bool):
        return None
    if isinstance(value, int):
        return value
    if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) < 10:
        return int(value)
    return None
