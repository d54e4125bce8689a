"""Tokens and experts under another routing algorithm, as pictures."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from moeviz.charts import palette
from moeviz.charts.heat import token_labels
from moeviz.charts.lab_words import NAMES, OWN, active_words, load_words
from moeviz.charts.picture import Picture, quantised
from moeviz.charts.words import model_name
from moeviz.metrics.compare import Comparison
from moeviz.metrics.load import LoadChance
from moeviz.metrics.rerouted import Rerouted
from moeviz.trace import RoutingTrace, layer_names

if TYPE_CHECKING:
    from moeviz.rules.assignment import Assignment, Balancing


def own_grid(
    trace: RoutingTrace, row: int, own: Assignment, chance: LoadChance, high: float, top: float
) -> Picture:
    """Tokens x experts as the model itself routed them, with the load above the columns.

    high: weight at the end of the colour scale; top: share at the top of the bars; both the same
    for all grids that stand side by side.
    """
    read = (
        "Colour: the weight of an expert's output, numbers and dots mark the chosen ones. Bars: "
        "share of the assignments; grey band: chance, 95 % of experts under random routers."
    )
    return _grid(trace, row, own, chance, high, top, OWN, read)


def assignment_grid(
    trace: RoutingTrace,
    row: int,
    found: Rerouted,
    own: Assignment,
    chance: LoadChance,
    high: float,
    top: float,
) -> Picture:
    """Tokens x experts under one algorithm, dots where the model itself went; as `own_grid`."""
    made = found.assignment
    read = (
        "Colour: the weight an expert would get. Dots: the model's own choices. A dot on an "
        "empty cell is a choice that is lost, colour without a dot one that is new."
    )
    picture = _grid(trace, row, made, chance, high, top, NAMES[found.rule.name], read)
    picture.meta.update(marks="the model's own choice", own=own.ids.shape[1])
    picture.arrays["own"] = own.ids
    return picture


def balancing_lines(
    trace: RoutingTrace, row: int, balancing: Balancing, step: int, chance: tuple[float, float]
) -> Picture:
    """MaxVio at every step of loss-free balancing; chance: 95 % of random routers lie there."""
    steps = len(balancing.max_violation)
    last = float(balancing.max_violation[-1])
    meta = {
        "kind": "lines",
        "title": "How the bias evens the load",
        "place": f"layer {trace.layers[row]}",
        "facts": [
            ["Without bias", load_words(float(balancing.max_violation[0]))],
            [f"After step {step}", load_words(float(balancing.max_violation[step]))],
            ["At the end", load_words(last)],
        ],
        "x": {
            "name": "Step",
            "low": 0.0,
            "high": float(steps - 1),
            "ticks": [round((steps - 1) * part / 4) for part in range(5)],
            "digits": 0,
            "pick": "moment",
        },
        "y": {"name": "MaxVio", "unit": "", "digits": 2},
        "lines": [f"Layer {trace.layers[row]}"],
        "strong": 0,
        "upright": {"at": float(step), "name": f"step {step}"},
        "band": {"name": "random routers"},
        "read": (
            "After each step the bias of every expert with more than its even share goes down a "
            "little, of every other one up. MaxVio is the busiest expert over the mean, minus 1: "
            "0 is even. Click to go to a step."
        ),
        **_common(trace),
    }
    inks = palette.inks()
    meta |= {"inks": {"light": inks[0], "dark": inks[1]}}
    flat = np.ones(steps, np.float32)
    values = balancing.max_violation.astype(np.float32)[:, None]
    arrays = {"xs": np.arange(steps, dtype=np.float32), "values": values}
    return Picture(meta, {**arrays, "low": chance[0] * flat, "high": chance[1] * flat})


def rerouted_bars(trace: RoutingTrace, cost: Comparison, name: str) -> Picture:
    """Share of tokens whose set of experts is another one in each layer, under the algorithm."""
    inks = palette.inks()
    meta = {
        "kind": "bars",
        "title": f"Tokens that {name} sends elsewhere",
        "x": {"name": "Layer", "labels": layer_names(trace.layers), "pick": "row"},
        "y": {"name": "Tokens with other experts", "unit": "%"},
        "parts": [{"name": "changed"}],
        "read": (
            "Share of tokens whose experts are not all those that the model itself gave them. In "
            "the first layer this is the algorithm alone; later ones read changed tokens as well."
        ),
        **_common(trace),
        "inks": {"light": inks[0], "dark": inks[1]},
    }
    return Picture(meta, {"changed": cost.moved.mean(axis=1).astype(np.float32)})


def _grid(
    trace: RoutingTrace,
    row: int,
    made: Assignment,
    chance: LoadChance,
    high: float,
    top: float,
    title: str,
    read: str,
) -> Picture:
    scale = palette.sequential()
    share = made.load / max(1, made.load.sum())
    meta = {
        "title": title,
        "facts": [
            ["MaxVio", load_words(made.max_violation)],
            ["Experts a token", active_words(made)],
        ],
        "rows": {"kind": "token", "name": "Token", "labels": token_labels(trace)},
        "fixed": {"layer": trace.layers[row]},
        "cell": {"name": "Weight", "low": 0.0, "high": high, "unit": "", "root": True},
        "ends": ["0", f"{high / 4:.2f}", f"{high:.2f}"],
        "bars": {"low": chance.low, "high": chance.high, "even": chance.even, "top": top},
        "read": read,
        "columns": made.experts,
        "chosen": made.ids.shape[1],
        "light": scale.light,
        "dark": scale.dark,
        **_common(trace),
    }
    arrays = {
        "values": quantised(made.weights, 0.0, high),
        "experts": made.ids,
        "gates": made.gates,
        "bars": share.astype(np.float32),
    }
    return Picture(meta, arrays)


def _common(trace: RoutingTrace) -> dict:
    return {"key": trace.key, "model": model_name(trace.source.model)}
