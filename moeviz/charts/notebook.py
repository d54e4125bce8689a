"""A trace as a notebook shows it: one piece of HTML that needs nothing from anywhere."""

from __future__ import annotations

from html import escape

import numpy as np

from moeviz.charts import palette
from moeviz.charts.strip import PLAIN, expert_colours
from moeviz.charts.units import Unit, text_units
from moeviz.charts.words import load_sentence, model_name, percent, plural, visible
from moeviz.metrics.load import Load, expert_load, layer_chance
from moeviz.trace import EMPTY, RoutingTrace

MOST_UNITS = 2000
"""Pieces of text shown; a notebook keeps its outputs, so they should stay small."""

CARD = (
    "max-width:900px;padding:14px 18px;border:1px solid #dfdfd9;border-radius:12px;"
    "background:#ffffff;color:#1d2126;font:14px/1.5 system-ui,sans-serif"
)
"""Its own ground: whether the notebook is dark is not known."""

CELL = 14
"""Pixels of a cell in the grid of loads."""


def trace_html(trace: RoutingTrace) -> str:
    """The text coloured by the middle layer's top experts, and every layer's load below it.

    Text of the trace appears as text only; the classes keep notebooks from reading $ as formulas.
    """
    row, load = trace.shape[0] // 2, expert_load(trace)
    layers, tokens, experts, chosen = trace.shape
    facts = (
        f"{plural(tokens, 'token')} · {plural(layers, 'routed layer')} · top-{chosen} of "
        f"{plural(experts, 'expert')} · key {trace.key[:8]}"
    )
    notes = "".join(f"<p>⚠ {escape(note)}</p>" for note in trace.source.notes)
    chance = load_sentence(load, layer_chance(trace, load, row), row, str(trace.layers[row]), None)
    return (
        f'<div class="tex2jax_ignore mathjax_ignore" style="{CARD}">'
        f"<div><b>{escape(model_name(trace.source.model))}</b> "
        f'<span style="opacity:.7">{facts}</span></div>{notes}'
        f"{_strip(trace, row)}<p>{escape(chance)}</p>{_grid(trace, load)}</div>"
    )


def _strip(trace: RoutingTrace, row: int) -> str:
    units = text_units(trace.tokens)
    places = expert_colours(trace, row)
    lines = [""]
    for unit in units[:MOST_UNITS]:
        parts = [unit.text] if unit.special else unit.text.split("\n")
        for number, part in enumerate(parts):
            last = number == len(parts) - 1
            if part or not last:
                lines[-1] += _token(trace, row, unit, part + ("" if last else "↵"), places)
            if not last:
                lines.append("")
    body = "".join(f'<div dir="auto" style="min-height:1.9em">{line}</div>' for line in lines)
    left = len(units) - MOST_UNITS
    more = f"<p>… and {plural(left, 'more piece')} of text.</p>" if left > 0 else ""
    return (
        '<div style="margin:10px 0;font-size:16px;line-height:1.9;white-space:pre-wrap;'
        f'overflow-wrap:anywhere;max-height:340px;overflow-y:auto">{body}</div>{more}'
        f'<p style="opacity:.7">Each patch is one token, coloured by the expert '
        f"{'it gave the largest gate' if trace.ranked else 'that the record names first'} in layer "
        f"{trace.layers[row]}.</p>"
    )


def _token(trace: RoutingTrace, row: int, unit: Unit, words: str, places: np.ndarray) -> str:
    shown = escape("".join(visible(c) if ord(c) < 32 or ord(c) == 127 else c for c in words))
    if not unit.count:
        return f"<span>{shown}</span>"
    experts, number = trace.experts[row, unit.first], trace.tokens.ids[unit.first]
    top = int(experts[0])
    chosen = ", ".join(_chosen(trace, row, unit.first))
    known = f", id {number}" if number >= 0 else ""
    title = f"token {unit.first + 1}{known}: expert {chosen or 'none'}"
    place = PLAIN if top == EMPTY else int(places[top])
    ground = "" if place == PLAIN else f"background:{palette.experts().light[place]};"
    small = "font-size:.72em;" if unit.special else ""
    return f'<span title="{title}" style="{ground}{small}border-radius:4px">{shown}</span>'


def _chosen(trace: RoutingTrace, row: int, token: int) -> list[str]:
    """The experts of one token, each with its gate where that is known."""
    experts = trace.experts[row, token].tolist()
    if trace.gates is None:
        return [str(expert) for expert in experts if expert != EMPTY]
    pairs = zip(experts, trace.gates[row, token].tolist(), strict=True)
    return [f"{expert} (gate {gate:.3f})" for expert, gate in pairs if expert != EMPTY]


def _grid(trace: RoutingTrace, load: Load) -> str:
    """Layers x experts as SVG, cells of one colour in one path, so that thousands stay small."""
    layers, _, experts, _ = trace.shape
    place = _against_even(load)
    width = max(3, min(CELL, 840 // experts))
    paths = []
    for step in np.unique(place[place >= 0]):
        cells = "".join(f"M{e * width} {r * CELL}h{width - 1}v{CELL - 1}h-{width - 1}z"
                        for r, e in np.argwhere(place == step))  # fmt: skip
        paths.append(f'<path fill="{palette.diverging().light[step]}" d="{cells}"/>')
    labels = "".join(
        f'<text x="-6" y="{r * CELL + 11}" text-anchor="end">{layer}</text>'
        for r, layer in enumerate(trace.layers)
    )
    high = percent(float(np.nanmax(load.share)))
    return (
        f'<svg width="{width * experts + 40}" height="{layers * CELL + 2}" role="img" '
        f'viewBox="-40 0 {width * experts + 40} {layers * CELL + 2}" font-size="11" '
        f'style="max-width:100%">'
        f"<title>Load of every expert, layer by layer</title>{''.join(paths)}{labels}</svg>"
        '<p style="opacity:.7">Rows are layers, columns experts 0 to '
        f"{experts - 1}: orange took more than the even share of its layer's assignments, blue "
        f"less, on a scale from a quarter to four times; the largest share is {high}.</p>"
    )


def _against_even(load: Load) -> np.ndarray:
    """[L, E] place of each share in the scale: the middle is even, a doubling a fixed step."""
    ratio = load.share * load.experts[:, None]
    with np.errstate(divide="ignore", invalid="ignore"):
        t = np.clip(0.5 + np.log2(np.maximum(ratio, 1e-6)) / 4, 0, 1)
    return np.where(np.isnan(ratio), -1, np.rint(np.nan_to_num(t) * (palette.STEPS - 1))).astype(
        int
    )
