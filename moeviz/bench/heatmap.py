"""What does a grid of tokens by experts cost to make and to send, drawn by us or by others?"""

from __future__ import annotations

import dataclasses
import io
from collections.abc import Callable

import numpy as np
import plotly.graph_objects as go

from moeviz.bench.peer import say_missing
from moeviz.bench.random_trace import random_trace
from moeviz.bench.timing import Ratio, ratio, take_turns
from moeviz.charts.heat import token_grid
from moeviz.metrics.load import expert_load, load_chance
from moeviz.metrics.router import router_probabilities
from moeviz.trace import RoutingTrace

CHOSEN = 8


def heatmap_speed(tokens: int = 4096, experts: int = 128, rounds: int = 21) -> list[Ratio]:
    """Our grid's bytes against Plotly's `go.Heatmap` as JSON and matplotlib's `imshow` as PNG.

    All start at one layer of a trace (random logits) and end with what is sent to the browser,
    whose size is given before any compression by the server. Ours also holds the tokens' labels,
    the chosen experts with their gates, and the layer's load, which the others do not. The PNG has
    one pixel a cell and no numbers to read; Plotly's JSON and ours have one number a cell.
    """
    trace = _trace(tokens, experts)
    ways = {
        "grid": _ours(trace),
        "plotly Heatmap": _plotly(trace),
        "matplotlib imshow": _png(trace),
    }
    ways = {name: way for name, way in ways.items() if way}
    named = {f"{name}, {len(way()) / 1e6:.2f} MB": way for name, way in ways.items()}
    took = take_turns(named, rounds)
    ours, *others = took
    what = f"{ours}, {tokens:,} tokens x {experts} experts"
    took[what] = took[ours]
    return [ratio(took, what, other, limit=1.0) for other in others]


def _ours(trace: RoutingTrace) -> Callable[[], bytes]:
    from moeviz.ui.components.packet import packed  # late: brings Streamlit

    load = expert_load(trace)
    chance = load_chance(len(trace.tokens), trace.shape[2], CHOSEN)
    return lambda: packed(token_grid(trace, 0, "probability", load, chance, top=1.0))


def _plotly(trace: RoutingTrace) -> Callable[[], bytes]:
    def make() -> bytes:
        heat = go.Heatmap(z=router_probabilities(trace, 0), zmin=0, zmax=1)
        return go.Figure(heat).to_json().encode()

    return make


def _png(trace: RoutingTrace) -> Callable[[], bytes] | None:
    """None, said in one line, where matplotlib is not installed."""
    try:
        from matplotlib.figure import Figure
    except ImportError:
        say_missing("matplotlib")
        return None
    _, tokens, experts, _ = trace.shape

    def make() -> bytes:
        figure = Figure(figsize=(experts / 100, tokens / 100), dpi=100)
        axes = figure.add_axes((0, 0, 1, 1))
        axes.set_axis_off()
        axes.imshow(router_probabilities(trace, 0), vmin=0, vmax=1, aspect="auto")
        file = io.BytesIO()
        figure.savefig(file, format="png")
        return file.getvalue()

    return make


def _trace(tokens: int, experts: int) -> RoutingTrace:
    logits = np.random.default_rng(0).normal(size=(1, tokens, experts)).astype(np.float32)
    best = np.argsort(-logits, axis=-1)[..., :CHOSEN]
    plain = random_trace(tokens, 1, experts, CHOSEN)
    return dataclasses.replace(plain, logits=logits, experts=best)
