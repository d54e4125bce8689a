"""What a capacity rule would drop of a text that is being written, as pictures and words."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from moeviz.charts import palette
from moeviz.charts.picture import Picture
from moeviz.charts.words import model_name, percent, plural
from moeviz.metrics.running import RunningRate

if TYPE_CHECKING:
    from moeviz.charts.reel import Reel

MOST_POINTS = 400
"""Points of a curve; of a longer text, so many evenly spaced ones and the newest."""


def running_sentence(reel: Reel, row: int, now: RunningRate) -> str:
    """What the rule drops of the batch so far in one layer, beside chance."""
    tokens = plural(now.tokens, "token")
    return (
        f"Of the {tokens} so far, {percent(now.rate[row])} of the assignments overflow in layer "
        f"{reel.layers[row]}; chance alone gives {percent(now.low[row])} to "
        f"{percent(now.high[row])}."
    )


def running_bars(reel: Reel, now: RunningRate) -> Picture:
    """Share of each layer's assignments that overflow in the batch so far, each beside chance."""
    meta = {
        "kind": "bars",
        "title": "Overflow of the batch so far",
        "x": {"name": "Layer", "labels": reel.layers},
        "y": {"name": "Assignments lost", "unit": "%"},
        "parts": [{"name": "lost"}],
        "band": {"name": "chance"},
        "facts": [["Tokens in the batch", f"{now.tokens:,}"]],
        "read": (
            "Each bar is a layer: the share of its assignments that would find their expert full, "
            "prompt and written tokens together. Grey: what routers that choose at random lose."
        ),
        **_common(reel),
    }
    arrays = {"lost": now.rate, "low": now.low, "high": now.high}
    return Picture(meta, {name: a.astype(np.float32) for name, a in arrays.items()})


def running_lines(reel: Reel, row: int, history: Sequence[RunningRate]) -> Picture:
    """Overflow of every layer after each token, the chosen layer strong."""
    step = -(-len(history) // MOST_POINTS)
    shown = [*history[:-1:step], history[-1]]
    tokens = np.array([rate.tokens for rate in shown])
    low, high = int(tokens[0]), int(max(tokens[-1], tokens[0] + 1))
    meta = {
        "kind": "lines",
        "title": "How it came to that",
        "place": f"layer {reel.layers[row]}",
        "x": {
            "name": "Tokens in the batch",
            "low": low,
            "high": high,
            "digits": 0,
            "ticks": _ticks(low, high),
        },
        "y": {"name": "Assignments lost", "unit": "%"},
        "lines": [f"Layer {name}" for name in reel.layers],
        "strong": row,
        "band": {"name": "chance"},
        "read": (
            f"Each line is a layer, layer {reel.layers[row]} strong: its overflow when the batch "
            "had so many tokens. Grey: what random routers lose. A batch that grows gets more "
            "room too, so a line can fall."
        ),
        **_common(reel),
    }
    arrays = {
        "xs": tokens,
        "values": np.stack([rate.rate for rate in shown]),
        "low": np.array([rate.low[row] for rate in shown]),
        "high": np.array([rate.high[row] for rate in shown]),
    }
    return Picture(meta, {name: a.astype(np.float32) for name, a in arrays.items()})


def _ticks(low: int, high: int) -> list[int]:
    """About six round numbers between the two."""
    rough = max(1, (high - low) / 6)
    power = 10 ** int(np.log10(rough))
    step = next(n * power for n in (1, 2, 5, 10) if n * power >= rough)
    return list(range(-(-low // step) * step, high + 1, step))


def _common(reel: Reel) -> dict:
    light, dark = palette.inks()
    model = model_name(reel.model)
    return {"key": reel.trace, "model": model, "inks": {"light": light, "dark": dark}}
