"""Two runs as pictures: the texts one above the other, and what changed layer by layer."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from moeviz.charts import palette
from moeviz.charts.capacity import worst_tokens
from moeviz.charts.heat import load_grid
from moeviz.charts.picture import Picture, quantised
from moeviz.charts.strip import PLAIN
from moeviz.charts.units import text_units
from moeviz.charts.words import first_for, model_name, percent, plural
from moeviz.metrics.difference import Difference
from moeviz.metrics.likeness import Likeness
from moeviz.metrics.load import expert_load
from moeviz.metrics.runs import Run
from moeviz.trace import EMPTY, RoutingTrace

SAME, SOME, ALL = 0, 1, 3
"""What became of a twin's experts: the same, some changed, all changed (2 is taken: dropped)."""

MARKS = (
    {"fate": SAME, "name": "same experts", "shade": palette.STEPS // 4},
    {"fate": SOME, "name": "some changed", "shade": palette.STEPS * 5 // 8},
    {"fate": ALL, "name": "all changed", "shade": palette.STEPS - 1},
)
"""How the strip shows each: its underline, its name, its place on the diverging scale."""

SHADES = {"change": "What changed", "expert": "Top expert"}
"""What the two texts can be coloured by: the name in links, and the words on screen."""


def twin_strip(run: Run, other: Run, found: Difference, row: int, side: str, shade: str) -> Picture:
    """The text of one side in layer `row`; its twins know their experts on the other side.

    side: "A" or "B", whichever `run` is. shade: one of SHADES; texts without twins show experts.
    `twin` holds each token's number on side A, -1 for none, so that one selection serves both
    strips; `mate` the experts of its twin.
    """
    own, theirs = found.twins.pairs.T if side == "A" else found.twins.pairs.T[::-1]
    count = len(run.tokens)
    twin = np.full(count, -1, np.int32)
    twin[own] = found.twins.pairs[:, 0]
    mate = np.full((count, run.experts.shape[-1]), EMPTY, np.int16)
    mate[own] = other.experts[row, theirs]
    units = text_units(run.tokens)
    first, parts = (np.array([getattr(u, n) for u in units], np.int32) for n in ("first", "count"))
    meta = {
        "key": f"{run.key}-{other.key}",
        "title": f"{side}: {run.name}",
        "layer": run.layers[row],
        "chosen": run.shape[3],
        "model": model_name(run.source.model),
        "units": [u.text for u in units],
        "special": [i for i, u in enumerate(units) if u.special],
        "colour": f"{shade} {side}",
        "side": side,
    }
    arrays = {"first": first, "count": parts, "ids": run.tokens.ids, "twin": twin, "mate": mate}
    arrays["experts"] = run.experts[row]
    if shade == "expert" or not len(own):
        words, more = _by_expert(run, other, row, len(own))
    else:
        words, more = _by_change(found.overlap[row], own, first, parts, count)
    more["shade"] = np.where(parts > 0, more["shade"], PLAIN).astype(np.uint8)
    return Picture({**meta, **words}, {**arrays, **more})


def _by_change(
    overlap: np.ndarray, own: np.ndarray, first: np.ndarray, parts: np.ndarray, count: int
) -> tuple[dict, dict]:
    """Words, and shade and fate of each unit: that of its token that changed most."""
    fate = np.full(count, -1)
    fate[own] = _fates(overlap)
    worst = fate[worst_tokens(first, parts, fate)]
    shades = {mark["fate"]: mark["shade"] for mark in MARKS}
    scale = palette.diverging()
    words = {
        "kind": "fate",
        "light": scale.light,
        "dark": scale.dark,
        "legend": "On both sides",
        "steps": list(MARKS),
        "read": (
            f"{len(own):,} of {count:,} tokens are on both sides, in the same order. Hover one for "
            "its experts on each, click to select it on both. Without colour: on this side only."
        ),
    }
    return words, {
        "shade": np.array([shades.get(int(f), PLAIN) for f in worst]),
        "fate": np.where(parts > 0, np.maximum(worst, SAME), SAME).astype(np.uint8),
    }


def _by_expert(run: Run, other: Run, row: int, twins: int) -> tuple[dict, dict]:
    """Words, and shade of each unit by its first token's first choice; one palette for both."""
    size, tops = run.shape[2], [side.experts[row, :, 0] for side in (run, other)]
    firsts = [np.bincount(top[top != EMPTY], minlength=size) for top in tops]
    places = np.arange(size)
    if size > palette.EXPERT_COLOURS:
        busiest = np.argsort(-(firsts[0] + firsts[1]), kind="stable")[: palette.EXPERT_COLOURS]
        places = np.full(size, PLAIN)
        places[busiest] = np.arange(len(busiest))
    order = [int(e) for e in np.argsort(-firsts[0], kind="stable") if firsts[0][e]]
    total = max(1, int(firsts[0].sum()))
    chips = [
        {"expert": e, "place": int(places[e]), "share": percent(firsts[0][e] / total)}
        for e in order[: palette.EXPERT_COLOURS]
    ]
    scale = palette.experts()
    left = len(order) - len(chips)
    words = {
        "kind": "expert",
        "light": scale.light,
        "dark": scale.dark,
        "legend": first_for(run.ranked).capitalize(),
        "first": first_for(run.ranked),
        "chips": chips,
        "more": f"and {plural(left, 'more expert')}" if left > 0 else "",
        "read": (
            f"Coloured by the expert that {'each token chose' if run.ranked else 'is named'} "
            "first; equal colours on both sides are the same expert."
            + ("" if twins else " No token of one side is linked to one of the other.")
        ),
    }
    first = np.array([min(u.first, len(run.tokens) - 1) for u in text_units(run.tokens)])
    top = tops[0]
    shade = np.where(top == EMPTY, PLAIN, places[np.maximum(top, 0)])
    return words, {"shade": shade[first], "value": top.astype(np.float32)}


def _fates(overlap: np.ndarray) -> np.ndarray:
    return np.where(overlap >= 1, SAME, np.where(overlap > 0, SOME, ALL))


def bits_bars(a: Run, b: Run, found: Difference, labels: list[str]) -> Picture:
    """Divergence between the loads of the two sides, a bar a layer, each with its chance."""
    meta = {
        "kind": "bars",
        "title": "How far apart, layer by layer",
        "x": {"name": "Layer", "labels": labels, "pick": "row"},
        "y": {"name": "Divergence of expert shares, bits", "unit": "bits", "digits": 3},
        "parts": [{"name": "changed"}],
        "band": {"name": "chance"},
        "read": (
            "Jensen–Shannon divergence between the experts' shares: 0 bits, both sides use a "
            "layer's experts alike; 1 bit, they share none. Grey: 95 % of what comes out when "
            f"tokens change sides at random ({found.shuffles} shuffles), each for itself. "
            "Neighbours in a text are not that independent, so a bar just above the grey says "
            "little. Click a bar to open it."
        ),
        **_common(a, b),
    }
    return Picture(meta, _floats(changed=found.bits, low=found.low, high=found.high))


def kept_bars(a: Run, b: Run, found: Difference, labels: list[str]) -> Picture:
    """Share of the twins' choices that side B kept, a bar a layer, beside chance."""
    even = found.even_kept
    line = {"at": float(even[0]), "name": f"K / E = {percent(even[0])}"}
    meta = {
        "kind": "bars",
        "title": "How much is kept, layer by layer",
        "x": {"name": "Layer", "labels": labels, "pick": "row"},
        "y": {"name": "Choices of shared tokens kept", "unit": "%"},
        "parts": [{"name": "kept"}],
        "band": {"name": "chance, tokens paired at random", "level": True},
        "read": (
            "Of the experts that A chose for a token, how many B chose too. Dashed: routers that "
            "choose at random. Line on each bar: what remains when tokens are paired at random, "
            "because some experts are busy on both sides."
        ),
        **({"line": line} if len(set(even.tolist())) == 1 else {}),
        **_common(a, b),
    }
    chance = found.loaded_kept
    return Picture(meta, _floats(kept=found.kept, low=chance, high=chance))


def expert_bars(a: Run, b: Run, found: Difference, row: int, label: str) -> Picture:
    """The experts of one layer: share on side A beside share on side B."""
    size = int(np.isfinite(found.share_a[row]).sum())
    meta = {
        "kind": "bars",
        "title": "Who gains, who loses",
        "place": f"layer {label}",
        "beside": True,
        "x": {"name": "Expert", "labels": [str(e) for e in range(size)], "pick": "expert"},
        "y": {"name": "Share of assignments", "unit": "%"},
        "parts": [{"name": "A"}, {"name": "B"}],
        "band": {"name": "chance"},
        "read": (
            "Each expert's share of the layer's assignments on both sides. Grey: where 95 % of "
            "its shares fall when tokens change sides at random."
        ),
        **_common(a, b),
    }
    arrays = {
        "A": found.share_a,
        "B": found.share_b,
        "low": found.share_low,
        "high": found.share_high,
    }
    return Picture(meta, _floats(**{name: array[row][:size] for name, array in arrays.items()}))


def change_grid(a: Run, b: Run, found: Difference, labels: list[str]) -> Picture:
    """Layers x experts: share on side B minus share on side A, zero neutral."""
    gap = found.share_b - found.share_a
    reach = float(np.nanmax(np.abs(gap))) or 0.01
    inside = (gap >= found.gap_low) & (gap <= found.gap_high)
    points = f"{100 * reach:.0f} points"
    meta = {
        "title": "B minus A, expert by expert",
        "rows": {"kind": "layer", "name": "Layer", "labels": labels},
        "fixed": {},
        "cell": {"name": "B minus A", "low": -reach, "high": reach, "unit": "points"},
        "ends": [f"−{points}", "0", f"+{points}"],
        "columns": gap.shape[1],
        "chosen": a.shape[3],
        "read": (
            "Each cell is one expert of one layer: its share of the assignments in B minus that "
            "in A, in percentage points. Small squares: no more than chance gives (95 % band of "
            f"{found.shuffles} shuffles), so one in twenty is large by chance too."
        ),
        **_common(a, b, palette.diverging()),
    }
    arrays = {
        "values": quantised(gap, -reach, reach),
        "inside": np.where(np.isfinite(gap), inside, 0).astype(np.uint8),
        **_floats(low=found.gap_low, high=found.gap_high),
    }
    return Picture(meta, arrays)


def side_grid(run: Run, side: str) -> Picture:
    """Layers x experts of one side, as on the Explore page."""
    picture = load_grid(run, expert_load(run))
    return replace(picture, meta={**picture.meta, "title": f"{side}: {run.name}"})


def plain_strip(
    picture: Picture, a: RoutingTrace, b: RoutingTrace, found: Likeness, side: str
) -> Picture:
    """A strip coloured by expert as one side of a pair of models: one selection serves both."""
    trace = a if side == "A" else b
    twin = np.full(len(trace.tokens), -1, np.int32)
    twin[found.twins.pairs[:, "AB".index(side)]] = found.twins.pairs[:, 0]
    read = (
        f"Coloured by the expert {'with the largest gate' if trace.ranked else 'named first'} in "
        "this layer. Equal colours on the two sides mean nothing: look at which tokens share one."
    )
    title = f"{side}: {model_name(trace.source.model)}"
    title += "" if side == "A" else ", in its layer that agrees most"
    meta = {**picture.meta, "key": f"{picture.meta['key']}-{side}", "title": title, "side": side}
    return Picture({**meta, "read": read}, {**picture.arrays, "twin": twin})


def likeness_grid(a: RoutingTrace, b: RoutingTrace, found: Likeness, names: tuple) -> Picture:
    """Layers of A x layers of B: how alike they sort the tokens. names: labels of both."""
    high = float(found.agreement.max()) or 1.0
    meta = {
        "title": "Which layers sort tokens alike",
        "rows": {"kind": "layer", "name": "A layer", "labels": names[0]},
        "across": {"kind": "layer", "name": "B layer", "labels": names[1]},
        "fixed": {},
        "cell": {"name": "Agreement", "low": 0.0, "high": high, "unit": "%"},
        "ends": ["0 %", percent(high)],
        "columns": len(names[1]),
        "chosen": a.shape[3],
        "read": (
            "Each cell sets one layer of A against one of B. 100 %: tokens that share experts in "
            "one share them in the other, whatever the experts are called (centred kernel "
            f"alignment). Small squares: no more than chance gives (95 % of {found.shuffles} "
            "shuffles)."
        ),
        **_common(a, b, palette.sequential()),
    }
    inside = (found.agreement >= found.low) & (found.agreement <= found.high)
    arrays = {
        "values": quantised(found.agreement, 0.0, high),
        "inside": inside.astype(np.uint8),
    }
    return Picture(meta, {**arrays, **_floats(low=found.low, high=found.high)})


def likeness_bars(
    a: RoutingTrace, b: RoutingTrace, found: Likeness, row: int, names: tuple
) -> Picture:
    """One layer of A against every layer of B, beside chance."""
    meta = {
        "kind": "bars",
        "title": f"Layer {names[0][row]} of A against every layer of B",
        "x": {"name": "Layer of B", "labels": names[1]},
        "y": {"name": "Agreement", "unit": "%"},
        "parts": [{"name": "kept"}],
        "band": {"name": "chance"},
        "read": (
            "How alike this layer of A and each layer of B sort the same tokens. Grey: 95 % of "
            f"what comes out when the tokens of one model are shuffled ({found.shuffles} times). "
            "Few tokens agree much by chance."
        ),
        **_common(a, b),
    }
    return Picture(
        meta, _floats(kept=found.agreement[row], low=found.low[row], high=found.high[row])
    )


def measure_bars(
    trace: RoutingTrace, side: str, name: str, values: np.ndarray, band: tuple, top: float,
    labels: list[str],
) -> Picture:  # fmt: skip
    """One figure per layer of one model, with what chance gives; top: end of the shared scale."""
    meta = {
        "kind": "bars",
        "title": f"{side}: {model_name(trace.source.model)}",
        "x": {"name": "Layer", "labels": labels, **({"pick": "row"} if side == "A" else {})},
        "y": {"name": name, "unit": "", "digits": 3, "top": top},
        "parts": [{"name": side}],
        "band": {"name": "chance"},
        "read": "Each bar is one layer; both models on one scale. Grey: what chance gives.",
        **_common(trace, trace),
    }
    return Picture(meta, _floats(**{side: values}, low=band[0], high=band[1]))


def _floats(**arrays: np.ndarray) -> dict[str, np.ndarray]:
    return {name: np.asarray(array, np.float32) for name, array in arrays.items()}


def _common(
    a: Run | RoutingTrace, b: Run | RoutingTrace, scale: palette.Scale | None = None
) -> dict:
    names = dict.fromkeys(model_name(run.source.model) for run in (a, b))
    facts = {"key": f"{a.key}-{b.key}", "model": " and ".join(names)}
    if scale is not None:
        return {**facts, "light": scale.light, "dark": scale.dark}
    light, dark = ({**ink, "A": ink["kept"], "B": ink["lost"]} for ink in palette.inks())
    return {**facts, "inks": {"light": light, "dark": dark}}
