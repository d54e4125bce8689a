"""Plotly figures for notebooks: one line of code each, from a trace alone."""

from __future__ import annotations

from html import escape

import numpy as np
import plotly.graph_objects as go

from moeviz.charts import palette
from moeviz.charts.heat import token_labels, token_name
from moeviz.charts.words import model_name, percent, plural
from moeviz.metrics.load import expert_load, layer_sizes
from moeviz.metrics.router import has_logits, probability_recipe, router_probabilities
from moeviz.metrics.tokens import token_path
from moeviz.trace import EMPTY, MoevizError, RoutingTrace

KINDS = ("load", "tokens", "journey")
"""What `plot` can draw."""

MOST_LABELS = 50
"""Rows with a label; of more rows every second, third, ... gets one."""

MOST_DOTS = 2000
"""Marks drawn as SVG; more need WebGL, of which a notebook has only a few."""


def plot(
    trace: RoutingTrace, kind: str = "load", *, layer: int | None = None, token: int = 0
) -> go.Figure:
    """A Plotly figure of the trace; needs no model, no torch and no network.

    kind: "load" is layers x experts, each expert's share of its layer's assignments against the
    even share; "tokens" is tokens x experts of one `layer` (the model's own number; the middle one
    if None); "journey" is layers x experts for one `token`. Colours are probabilities where the
    trace has logits, else gates, else the choices themselves. Raises MoevizError for another kind,
    layer or token.
    """
    if kind == "load":
        return _load(trace)
    if kind == "tokens":
        row = trace.shape[0] // 2 if layer is None else trace.layer_index(layer)
        return _tokens(trace, row)
    if kind == "journey":
        return _journey(trace, token)
    raise MoevizError(f"There is no figure {kind!r}; choose {', '.join(KINDS)}.")


def as_label(text: str) -> str:
    """Text that Plotly shows letter by letter: it reads tags, entities and $formulas$ otherwise."""
    return escape(text).replace("$", "&#36;")


def _load(trace: RoutingTrace) -> go.Figure:
    load = expert_load(trace)
    ratio = load.share * load.experts[:, None]
    with np.errstate(divide="ignore"):
        doublings = np.clip(np.log2(ratio), -2, 2)
    words = [
        [percent(x) if np.isfinite(x) else "no such expert" for x in row] for row in load.share
    ]
    figure = _heat(
        doublings, [str(x) for x in trace.layers], "Layer", palette.diverging().light,
        (-2, 2), "share of assignments", words,
        {"tickvals": [-2, -1, 0, 1, 2], "ticktext": ["¼", "½", "even", "2 ×", "4 ×"]},
    )  # fmt: skip
    return _titled(
        figure, trace, "All layers, expert by expert",
        "Orange took more than the layer's even share of assignments, blue less.",
    )  # fmt: skip


def _tokens(trace: RoutingTrace, row: int) -> go.Figure:
    values, name, read = _values(trace, row)
    experts = int(layer_sizes(trace)[0][row])
    figure = _heat(
        values[:, :experts], token_labels(trace), "Token", palette.sequential().light,
        (0, float(values.max()) or 1.0), name,
    )  # fmt: skip
    _mark(figure, trace.experts[row], None if trace.gates is None else trace.gates[row])
    title = f"Layer {trace.layers[row]}, token by token"
    return _titled(figure, trace, title, f"{read} Dots: the chosen experts.")


def _journey(trace: RoutingTrace, token: int) -> go.Figure:
    path = token_path(trace, token)
    values, name = path.probability, "probability"
    read = f"Stronger colour: more probability ({probability_recipe(trace)})."
    if values is None or np.isnan(values).any():
        values, name, read = _placed(path.experts, path.gates, trace.shape[2])
    absent = np.arange(trace.shape[2]) >= layer_sizes(trace)[0][:, None]
    values = np.where(absent, np.nan, values)
    figure = _heat(
        values, [str(x) for x in trace.layers], "Layer", palette.sequential().light,
        (0, float(np.nanmax(values)) or 1.0), name,
    )  # fmt: skip
    _mark(figure, path.experts, path.gates)
    label = token_name(trace, token)
    return _titled(figure, trace, f"Token {token + 1}, {label}", f"{read} Dots: what it chose.")


_GATES = "Stronger colour: a larger gate; the trace holds no logits."


def _values(trace: RoutingTrace, row: int) -> tuple[np.ndarray, str, str]:
    """([T, E] values, what they are, how to read them)."""
    if has_logits(trace, row):
        recipe = probability_recipe(trace)
        read = f"Stronger colour: more probability ({recipe})."
        return router_probabilities(trace, row), "probability", read
    gates = None if trace.gates is None else trace.gates[row]
    return _placed(trace.experts[row], gates, trace.shape[2])


_CHOICES = "Coloured: what was chosen; the trace holds no logits and no gates."


def _placed(
    experts: np.ndarray, gates: np.ndarray | None, size: int
) -> tuple[np.ndarray, str, str]:
    """([N, E] the gates [N, K] at their experts, or 1 where they are not known; 0 elsewhere),
    what they are and how to read them."""
    grid = np.zeros((len(experts), size), np.float32)
    rows, slots = np.nonzero(experts != EMPTY)
    grid[rows, experts[rows, slots]] = 1 if gates is None else gates[rows, slots]
    return (grid, "chosen", _CHOICES) if gates is None else (grid, "gate", _GATES)


def _heat(
    values: np.ndarray, labels: list[str], rows: str, colours: tuple[str, ...],
    ends: tuple[float, float], name: str, words: list[list[str]] | None = None,
    ticks: dict | None = None,
) -> go.Figure:  # fmt: skip
    """A heat map, first row on top. words: what hovering says instead of the value."""
    shown = [as_label(label) for label in labels]
    value = "%{text}" if words else "%{z:.4f}"
    heat = go.Heatmap(
        z=values, text=words, zmin=ends[0], zmax=ends[1], colorscale=list(colours), xgap=1,
        ygap=1 if len(labels) < 200 else 0, customdata=np.repeat([shown], values.shape[1], 0).T,
        hovertemplate=f"{rows} %{{customdata}}, expert %{{x}}<br>{name} {value}<extra></extra>",
        colorbar={"title": {"text": name}, "thickness": 12, **(ticks or {})},
    )  # fmt: skip
    every = -(-len(labels) // MOST_LABELS)
    axis = {"title": {"text": rows}, "autorange": "reversed", "showgrid": False, "zeroline": False,
            "tickvals": list(range(0, len(labels), every)), "ticktext": shown[::every]}  # fmt: skip
    layout = {
        "template": "plotly_white", "yaxis": axis, "margin": {"t": 90, "l": 20, "r": 20, "b": 50},
        "xaxis": {"title": {"text": "Expert"}, "showgrid": False, "zeroline": False},
        "height": int(np.clip(170 + 22 * min(len(labels), MOST_LABELS), 320, 1270)),
    }  # fmt: skip
    return go.Figure(heat, layout)


def _mark(figure: go.Figure, experts: np.ndarray, gates: np.ndarray | None) -> None:
    """A dot on every chosen cell; hovering tells the gate where it is known."""
    rows, slots = np.nonzero(experts != EMPTY)
    size = 6 if len(experts) <= MOST_LABELS else 4
    draw = figure.add_scatter if len(rows) <= MOST_DOTS else figure.add_scattergl
    draw(
        x=experts[rows, slots], y=rows, mode="markers", showlegend=False,
        marker={"size": size, "color": "#14171a", "line": {"width": 1, "color": "#ffffff"}},
        customdata=None if gates is None else gates[rows, slots],
        hovertemplate=f"expert %{{x}}{'' if gates is None else _GATE}<extra></extra>",
    )  # fmt: skip


_GATE = "<br>gate %{customdata:.4f}"


def _titled(figure: go.Figure, trace: RoutingTrace, title: str, read: str) -> go.Figure:
    about = f"{model_name(trace.source.model)}, {plural(len(trace.tokens), 'token')}. {read}"
    words = {"text": as_label(title), "subtitle": {"text": as_label(about)}}
    return figure.update_layout(title=words)
