"""The text itself as a picture: every token inline, coloured by what its router did."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from moeviz.charts import palette
from moeviz.charts.once import once
from moeviz.charts.picture import Picture
from moeviz.charts.units import text_units
from moeviz.charts.words import first_for, model_name, percent, plural
from moeviz.metrics.load import layer_sizes
from moeviz.metrics.router import (
    choice_margin,
    gate_share,
    has_logits,
    router_entropy,
    router_gates,
    router_probabilities,
)
from moeviz.trace import EMPTY, RoutingTrace, TraceError

COLOURINGS = {
    "expert": "Top expert",
    "confidence": "Confidence",
    "entropy": "Entropy",
    "margin": "Margin",
    "agreement": "One expert",
    "loss": "Loss",
}
"""What tokens can be coloured by: the name in links, and the word on screen."""

PLAIN = 255
"""Shade of a unit without a value: left uncoloured."""


@dataclass(frozen=True)
class Shading:
    """values [T] on a scale from low to high, in words and with its reading.

    root: small values are spread, as in the token grid, with a quarter of the top in the middle.
    """

    values: np.ndarray
    low: float
    high: float
    name: str
    ends: tuple[str, ...]
    read: str
    root: bool = False


def strip_picture(
    trace: RoutingTrace,
    row: int,
    colour: str,
    expert: int | None = None,
    cells: str = "probability",
    ranges: bool = False,
) -> Picture:
    """The token strip of routed layer `row`; raises TraceError when `colour` cannot be had.

    expert: whose weight colours the text by "agreement"; None for the busiest of the layer.
    cells: "gate" for the gates it got there, else the router's probabilities where known.
    ranges: whether a run of tokens can be selected.
    """
    units = text_units(trace.tokens)
    first = np.array([u.first for u in units], dtype=np.int32)
    count = np.array([u.count for u in units], dtype=np.int32)
    if colour == "expert":
        shade, values, words = _by_expert(trace, row)
    elif colour == "agreement":
        shade, values, words = _by_look(_agreement(trace, row, expert, cells))
        words |= _chips(trace, row, coloured=False)
    else:
        shade, values, words = _by_look(shading(trace, row, colour))
    meta = {
        "key": trace.key,
        "layer": trace.layers[row],
        "chosen": trace.shape[3],
        "model": model_name(trace.source.model),
        "units": [u.text for u in units],
        "special": [i for i, u in enumerate(units) if u.special],
        "colour": colour,
        "ranges": ranges,
        **words,
    }
    arrays = {
        "first": first,
        "count": count,
        "shade": np.where(count > 0, shade[np.minimum(first, len(shade) - 1)], PLAIN),
        "value": values.astype(np.float32),
        "experts": trace.experts[row],
        "ids": trace.tokens.ids,
    }
    if trace.gates is not None:
        arrays["gates"] = trace.gates[row]
    arrays["shade"] = arrays["shade"].astype(np.uint8)
    if has_logits(trace, row):
        chosen = np.maximum(trace.experts[row], 0)
        arrays["probability"] = np.take_along_axis(router_probabilities(trace, row), chosen, -1)
    return Picture(meta, arrays)


def shading(trace: RoutingTrace, row: int, colour: str) -> Shading:
    """Values of a continuous colouring; its scale is the same for every layer of a trace."""
    return {"confidence": _confidence, "entropy": _entropy, "margin": _margin, "loss": _loss}[
        colour
    ](trace, row)


def expert_colours(trace: RoutingTrace, row: int) -> np.ndarray:
    """[E] place of each expert in the palette, PLAIN for none.

    Up to sixteen experts keep the colour of their number; among more, the sixteen that are most
    often first choice in this layer get one.
    """
    experts = trace.shape[2]
    if experts <= palette.EXPERT_COLOURS:
        return np.arange(experts, dtype=np.uint8)
    firsts = _first_choices(trace, row)
    busiest = np.argsort(-firsts, kind="stable")[: palette.EXPERT_COLOURS]
    places = np.full(experts, PLAIN, dtype=np.uint8)
    places[busiest] = np.arange(len(busiest))
    return places


def _by_expert(trace: RoutingTrace, row: int) -> tuple[np.ndarray, np.ndarray, dict]:
    places, top = expert_colours(trace, row), trace.experts[row, :, 0]
    shade = np.where(top == EMPTY, PLAIN, places[np.maximum(top, 0)])
    scale = palette.experts()
    first = (
        "it gave the largest gate in this layer."
        if trace.ranked
        else "that the record names first in this layer; without gates, that need not be the one "
        "with the most weight."
    )
    words = {
        "kind": "expert",
        "light": scale.light,
        "dark": scale.dark,
        **_chips(trace, row),
        "legend": first_for(trace.ranked).capitalize(),
        "read": (
            f"Each patch is one token, coloured by the expert {first} Hover for its experts, "
            "click to follow it through all layers."
        ),
    }
    return shade, top.astype(np.float32), words


def _chips(trace: RoutingTrace, row: int, coloured: bool = True) -> dict:
    """The experts most often first choice, most frequent first, and words for the others."""
    places, firsts = expert_colours(trace, row), _first_choices(trace, row)
    order = [int(e) for e in np.argsort(-firsts, kind="stable") if firsts[e]]
    chips = [
        {
            "expert": e,
            "place": int(places[e]) if coloured else PLAIN,
            "share": percent(firsts[e] / firsts.sum()),
        }
        for e in order[: palette.EXPERT_COLOURS]
    ]
    left = len(order) - len(chips)
    sign = ", uncoloured" if coloured else ""
    more = f"and {plural(left, 'more expert')}{sign}" if left > 0 else ""
    return {"chips": chips, "more": more, "first": first_for(trace.ranked)}


def _by_look(look: Shading) -> tuple[np.ndarray, np.ndarray, dict]:
    place = np.clip((look.values - look.low) / ((look.high - look.low) or 1), 0, 1)
    place = np.sqrt(place) if look.root else place
    finite = np.isfinite(look.values)
    shade = np.where(finite, np.rint(np.where(finite, place, 0) * (palette.STEPS - 1)), PLAIN)
    scale = palette.sequential()
    words = {
        "kind": "value",
        "light": scale.light,
        "dark": scale.dark,
        "legend": look.name,
        "ends": look.ends,
        "read": look.read,
    }
    return shade, look.values, words


def _agreement(trace: RoutingTrace, row: int, expert: int | None, cells: str) -> Shading:
    experts = int(layer_sizes(trace)[0][row])
    firsts = _first_choices(trace, row)
    busiest = expert is None or expert >= experts
    who = int(firsts.argmax()) if busiest else expert
    took = trace.experts[row] == who
    if trace.gates is None and not has_logits(trace, row):
        read = f"Coloured: the tokens that chose expert {who}. Pick another below the text."
        chose = took.any(axis=-1).astype(np.float32)
        return Shading(chose, 0.0, 1.0, f"Chose expert {who}", ("no", "yes"), read)
    if cells == "gate" or not has_logits(trace, row):
        gates = router_gates(trace)
        values = np.where(took, gates[row], 0).sum(axis=-1)
        name, high = "Gate", float(max(gates.max(), 1e-6))
        ends = ("0", f"{high / 4:.2f}", f"{high:.2f}")
    else:
        values, name, high = router_probabilities(trace, row)[:, who], "Probability", 1.0
        ends = ("0 %", "25 %", "100 %")
    most = ", the most frequent first choice," if busiest else ""
    read = (
        f"Stronger colour: the router gave expert {who}{most} more of the token. "
        "Pick another expert below the text or above the grid."
    )
    return Shading(values, 0.0, high, f"{name} of expert {who}", ends, read, root=True)


def _confidence(trace: RoutingTrace, row: int) -> Shading:
    if not has_logits(trace, row):
        values, name = gate_share(trace)[row, :, 0], "Share of the largest gate"
    else:
        values, name = router_probabilities(trace, row).max(axis=-1), "Largest probability"
    read = "Stronger colour: surer, the router put more of its weight on one expert."
    return Shading(values, 0.0, 1.0, name, ("0 %", "100 %"), read)


def _entropy(trace: RoutingTrace, row: int) -> Shading:
    read = "Stronger colour: less decided, the router spread its probability over more experts."
    ends = ("0, one expert", "1, all alike")
    return Shading(router_entropy(trace, row), 0.0, 1.0, "Entropy", ends, read)


def _margin(trace: RoutingTrace, row: int) -> Shading:
    values = choice_margin(trace, row)
    if not np.isfinite(values).any():
        raise TraceError("This layer chooses every expert, so there is no runner-up to compare.")
    high = _highest_margin(trace)
    last = int(layer_sizes(trace)[1][row])
    name = f"Lead of choice {last} over the best expert left out"
    read = "Fainter colour: a closer call; a small change would have sent the token elsewhere."
    return Shading(values, 0.0, high, name, ("0", f"{high:.1f} logits"), read)


@once
def _highest_margin(trace: RoutingTrace) -> float:
    """Where the scale of margins ends for every layer: 98 % are below."""
    rows = range(trace.shape[0])
    every = [
        choice_margin(trace, r) for r in rows if trace.scores is not None or has_logits(trace, r)
    ]
    return float(np.nanquantile(np.concatenate(every), 0.98)) or 1.0


def _loss(trace: RoutingTrace, row: int) -> Shading:
    if trace.loss is None:
        raise TraceError("This trace holds no next-token loss, so tokens cannot be coloured by it.")
    read = "Stronger colour: a bigger surprise, the next token had less probability."
    name = "Loss on the next token"
    return Shading(trace.loss, 0.0, 8.0, name, ("0 nats", "8 nats and more"), read)


def _first_choices(trace: RoutingTrace, row: int) -> np.ndarray:
    top = trace.experts[row, :, 0]
    return np.bincount(top[top != EMPTY], minlength=trace.shape[2])
