"""Who overflows under a capacity rule, and what that costs, as pictures."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np

from moeviz.charts import palette
from moeviz.charts.picture import Picture, quantised
from moeviz.charts.strip import PLAIN
from moeviz.charts.units import text_units
from moeviz.charts.words import model_name, percent
from moeviz.metrics.compare import Comparison
from moeviz.metrics.load import layer_sizes
from moeviz.metrics.overflow import Overflow
from moeviz.metrics.parallel import ParallelLoad
from moeviz.trace import EMPTY, RoutingTrace

if TYPE_CHECKING:
    from moeviz.rules.capacity import CapacityRule

KEPT, PARTLY, DROPPED = 0, 1, 2
"""What became of a token: every slot kept, some lost, all lost."""

_POSITIONS = {
    "position": "First come, first served fills the experts early, so the end of the text pays.",
    "slot": "Within first choices, then second ones, earlier tokens are served before later ones.",
}

LOSS_REACH = 1.0
"""Nats of change at the ends of the colour scale."""


def drops_strip(trace: RoutingTrace, row: int, found: Overflow) -> Picture:
    """The text with the tokens marked that lost a slot, or all of them, in one layer."""
    lost = found.dropped[row]
    slots = np.maximum((trace.experts[row] != EMPTY).sum(axis=1), 1)
    share = lost.sum(axis=1) / slots
    fate = np.where(found.fully_dropped[row], DROPPED, np.where(share > 0, PARTLY, KEPT))
    scale = palette.loss()
    several = int(slots.max()) > 1
    steps = [{"fate": KEPT, "name": "all kept"}]
    if several:
        steps.append({"fate": PARTLY, "name": "some lost", "shade": palette.STEPS // 2})
    steps.append({"fate": DROPPED, "name": "all lost", "shade": palette.STEPS - 1})
    shade = np.rint(share * (palette.STEPS - 1))
    words = {
        "title": "The text and what it loses",
        "kind": "fate",
        "colour": "drops",
        "light": scale.light,
        "dark": scale.dark,
        "legend": "Choices",
        "steps": steps,
        "read": (
            "Orange tokens found at least one of their experts full. Struck through: no expert "
            "took the token in this layer, so only the residual carries it on."
        ),
    }
    arrays = {"experts": trace.experts[row], "lost": lost.astype(np.uint8)}
    return _strip(trace, row, words, np.where(share > 0, shade, PLAIN), fate, arrays)


def change_strip(trace: RoutingTrace, row: int, cost: Comparison) -> Picture:
    """The text coloured by how much worse the next token is predicted with the rule in force."""
    change = cost.loss_change
    finite = np.isfinite(change)
    place = np.clip((np.where(finite, change, 0) + LOSS_REACH) / (2 * LOSS_REACH), 0, 1)
    shade = np.where(finite, np.rint(place * (palette.STEPS - 1)), PLAIN)
    fate = np.where(cost.dropped[row].any(axis=1), PARTLY, KEPT)
    scale = palette.diverging()
    words = {
        "title": "The text and what it costs",
        "kind": "value",
        "colour": "change",
        "light": scale.light,
        "dark": scale.dark,
        "legend": "Change of next-token loss",
        "ends": ("1 nat better", "0", "1 nat worse"),
        "read": (
            "Orange: with the rule in force the model predicts the token after this one worse; "
            "blue: better. Uncoloured where there is no next token."
        ),
    }
    arrays = {"value": change.astype(np.float32), "experts": trace.experts[row]}
    arrays["lost"] = cost.dropped[row].astype(np.uint8)
    return _strip(trace, row, words, shade, fate * 0, arrays)


def overflow_grid(trace: RoutingTrace, found: Overflow) -> Picture:
    """Layers x experts: the share of each expert's assignments that overflow."""
    sent = found.kept + found.lost
    share = np.where(sent > 0, found.lost / np.maximum(sent, 1), 0.0)
    absent = np.arange(trace.shape[2]) >= layer_sizes(trace)[0][:, None]
    scale = palette.loss()
    meta = {
        "title": "Where tokens are lost",
        "rows": {"kind": "layer", "name": "Layer", "labels": [str(x) for x in trace.layers]},
        "fixed": {},
        "cell": {"name": "Lost", "low": 0.0, "high": 1.0, "unit": "%", "root": True},
        "ends": ["0 %", "25 %", "100 %"],
        "read": (
            "Each cell is one expert of one layer: the share of its assignments that overflow. "
            "Click a cell to open its layer."
        ),
        "columns": trace.shape[2],
        "chosen": trace.shape[3],
        **_common(trace, scale),
    }
    arrays = {
        "values": quantised(np.where(absent, np.nan, share), 0.0, 1.0),
        "part": found.lost.astype(np.int32),
        "whole": sent.astype(np.int32),
    }
    return Picture(meta, arrays)


def load_bars(
    trace: RoutingTrace, row: int, found: Overflow, places: int, chance: tuple[float, float]
) -> Picture:
    """Tokens sent to each expert of one layer, kept and overflowed, against its capacity.

    places: tokens one expert takes in the whole text, all windows together. chance: 95 % of the
    experts of random routers are sent between these many.
    """
    size = int(layer_sizes(trace)[0][row])
    windows = len(found.capacity) > 1
    line = f"room for {places:,}" + (" in all windows" if windows else "")
    together = " An expert can overflow in one window and have room in another." if windows else ""
    meta = {
        "kind": "bars",
        "title": "Load against capacity",
        "place": f"layer {trace.layers[row]}",
        "facts": _facts(row, found),
        "x": {"name": "Expert", "labels": [str(e) for e in range(size)], "pick": "expert"},
        "y": {"name": "Assignments", "unit": ""},
        "parts": [{"name": "kept"}, {"name": "lost"}],
        "line": {"at": places, "name": line},
        "band": {"low": chance[0], "high": chance[1], "name": "chance"},
        "read": (
            "Each bar is one expert: blue it takes, orange it has no room for. Grey band: where "
            f"95 % of experts fall when routers choose at random.{together}"
        ),
        **_common(trace, None),
    }
    arrays = {name: getattr(found, name)[row][:size] for name in ("kept", "lost")}
    return Picture(meta, {n: a.astype(np.float32) for n, a in arrays.items()})


def position_bars(
    trace: RoutingTrace, row: int, parts: np.ndarray, rate: float, priority: str
) -> Picture:
    """Share of slots lost in each successive part of the text, against the whole text's."""
    count, tokens = len(parts), len(trace.tokens)
    edges = np.linspace(0, tokens, count + 1).astype(int)
    meta = {
        "kind": "bars",
        "title": "Where in the text",
        "place": f"layer {trace.layers[row]}",
        "x": {
            "name": "Part of the text",
            "labels": [f"{round(100 * (i + 1) / count)} %" for i in range(count)],
            "long": [
                f"tokens {a + 1:,} to {b:,}" if b > a + 1 else f"token {b:,}"
                for a, b in pairwise(edges)
            ],
        },
        "y": {"name": "Choices lost", "unit": "%"},
        "parts": [{"name": "lost"}],
        "line": {"at": rate, "name": f"whole text {percent(rate)}"},
        "read": (
            "Share of the choices lost in each stretch of the text. "
            + _POSITIONS.get(priority, "Who is served does not depend on the place in the text.")
        ),
        **_common(trace, None),
    }
    return Picture(meta, {"lost": parts.astype(np.float32)})


def overflow_lines(
    trace: RoutingTrace,
    row: int,
    rule: CapacityRule,
    factors: np.ndarray,
    curve: np.ndarray,
    band: np.ndarray,
    dropless: np.ndarray,
) -> Picture:
    """Overflow against the capacity factor: a line a layer, the shown one strong.

    curve [F, L]; band [F, 2] of random routers; dropless [L].
    """
    at = float(dropless[row])
    meta = {
        "kind": "lines",
        "title": "How much room would be enough",
        "place": f"layer {trace.layers[row]}",
        "x": {
            "name": "Capacity factor",
            "low": float(factors[0]),
            "high": float(factors[-1]),
            "pick": "factor",
        },
        "y": {"name": "Assignments lost", "unit": "%"},
        "lines": [f"Layer {x}" for x in trace.layers],
        "strong": row,
        "upright": {"at": rule.factor, "name": f"{rule.factor:g}"},
        "dot": {"at": at, "name": f"nothing lost from {at:g}"},
        "band": {"name": "chance"},
        "read": (
            "Each line is a layer: the share of its assignments lost at every capacity factor. "
            "Grey: what routers that choose at random would lose. The dot: the factor from which "
            "this layer loses nothing. Click to set the factor."
        ),
        **_common(trace, None),
    }
    arrays = {"xs": factors, "values": curve, "low": band[:, 0], "high": band[:, 1]}
    return Picture(meta, {n: a.astype(np.float32) for n, a in arrays.items()})


def rerouted_bars(trace: RoutingTrace, cost: Comparison, found: Overflow) -> Picture:
    """Share of tokens that each layer sends elsewhere once the rule is in force."""
    labels = [str(x) for x in trace.layers]
    enforced, offline = cost.dropped.sum(axis=(1, 2)), found.dropped.sum(axis=(1, 2))
    meta = {
        "kind": "bars",
        "title": "What changes downstream",
        "x": {
            "name": "Layer",
            "labels": labels,
            "pick": "row",
            "long": [
                f"{e:,} lost when enforced, {o:,} simulated"
                for e, o in zip(enforced, offline, strict=True)
            ],
        },
        "y": {"name": "Tokens sent to another expert", "unit": "%"},
        "parts": [{"name": "changed"}],
        "read": (
            "Share of tokens that a layer now sends to an expert it did not choose before. A "
            "token that loses an expert leaves the layer changed, so later routers decide anew."
        ),
        **_common(trace, None),
    }
    return Picture(meta, {"changed": cost.rerouted.mean(axis=1).astype(np.float32)})


def device_bars(trace: RoutingTrace, row: int, spread: ParallelLoad, sent: str) -> Picture:
    """Assignments that each device handles in one layer, against the mean. sent: bytes in words."""
    load, devices = spread.assignments[row], spread.assignments.shape[1]
    places = spread.places[row].reshape(devices, -1)
    mean = float(load.mean())
    meta = {
        "kind": "bars",
        "title": "Load of each device",
        "place": f"layer {trace.layers[row]}",
        "facts": [
            ["Straggler ratio", f"{spread.straggler[row]:.2f}"],
            ["Sent to other devices", f"{spread.transfers[row]:,} times a token"],
            ["All-to-all", sent],
        ],
        "x": {
            "name": "Device",
            "labels": [str(d) for d in range(devices)],
            "long": [f"experts {', '.join(map(str, _sorted(own)))}" for own in places],
        },
        "y": {"name": "Assignments", "unit": ""},
        "parts": [{"name": "kept"}],
        "line": {"at": mean, "name": f"mean {mean:,.0f}"},
        "read": (
            "Each bar is one device with its experts. A layer takes as long as its busiest "
            "device: the straggler ratio is that device over the mean, and 1 is ideal."
        ),
        **_common(trace, None),
    }
    return Picture(meta, {"kept": load.astype(np.float32)})


def straggler_bars(trace: RoutingTrace, spread: ParallelLoad) -> Picture:
    """The busiest device over the mean, layer by layer."""
    meta = {
        "kind": "bars",
        "title": "Waiting for the busiest device",
        "x": {"name": "Layer", "labels": [str(x) for x in trace.layers], "pick": "row"},
        "y": {"name": "Straggler ratio", "unit": "×"},
        "parts": [{"name": "kept"}],
        "line": {"at": 1.0, "name": "perfectly even"},
        "read": "How many times the mean the busiest device of each layer carries.",
        **_common(trace, None),
    }
    return Picture(meta, {"kept": spread.straggler.astype(np.float32)})


def _sorted(experts: np.ndarray) -> list[int]:
    return sorted(int(e) for e in experts)


def _facts(row: int, found: Overflow) -> list[list[str]]:
    lost, sent = int(found.lost[row].sum()), int((found.kept + found.lost)[row].sum())
    facts = [
        ["Lost", f"{lost:,} of {sent:,} ({percent(found.rate[row])})"],
        ["Tokens that lose every expert", f"{int(found.fully_dropped[row].sum()):,}"],
        ["Places left empty", percent(found.padding_waste[row])],
    ]
    if np.isfinite(found.dropless_factor[row]):
        facts.append(["Dropless from factor", f"{found.dropless_factor[row]:g}"])
    return facts


def _strip(
    trace: RoutingTrace,
    row: int,
    words: dict,
    shade: np.ndarray,
    fate: np.ndarray,
    arrays: dict[str, np.ndarray],
) -> Picture:
    """A token strip of `words`; a unit of several tokens shows the worst of them."""
    units = text_units(trace.tokens)
    first = np.array([u.first for u in units], dtype=np.int32)
    count = np.array([u.count for u in units], dtype=np.int32)
    worst = worst_tokens(first, count, fate)
    meta = {
        "key": trace.key,
        "layer": trace.layers[row],
        "chosen": trace.shape[3],
        "model": model_name(trace.source.model),
        "units": [u.text for u in units],
        "special": [i for i, u in enumerate(units) if u.special],
        **words,
    }
    shown = np.where(count > 0, shade[worst], PLAIN)
    per_unit = {"first": first, "count": count, "shade": shown.astype(np.uint8)}
    fates = np.where(count > 0, fate[worst], KEPT).astype(np.uint8)
    return Picture(meta, {**per_unit, "fate": fates, "ids": trace.tokens.ids, **arrays})


def worst_tokens(first: np.ndarray, count: np.ndarray, fate: np.ndarray) -> np.ndarray:
    """[U] the token of each unit with the worst fate, the first of them where several are."""
    last = len(fate) - 1
    worst = np.minimum(first, last)
    for i in np.flatnonzero(count > 1):
        worst[i] = first[i] + int(np.argmax(fate[first[i] : first[i] + count[i]]))
    return worst


def _common(trace: RoutingTrace, scale: palette.Scale | None) -> dict:
    inks = palette.inks()
    facts = {"key": trace.key, "model": model_name(trace.source.model)}
    if scale is None:
        return {**facts, "inks": {"light": inks[0], "dark": inks[1]}}
    return {**facts, "light": scale.light, "dark": scale.dark}
