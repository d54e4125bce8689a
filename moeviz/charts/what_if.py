"""What a changed routing does, as pictures: routes, predictions, experts and routes ranked."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from moeviz.charts import palette
from moeviz.charts.heat import token_name
from moeviz.charts.picture import Picture
from moeviz.charts.words import loss_words, model_name, percent, plural, visible
from moeviz.metrics.compare import Ablations, Comparison, Control
from moeviz.trace import RoutingTrace, layer_names

if TYPE_CHECKING:
    from moeviz.rules.predictions import Predictions

MOST_SHOWN = 12
"""Routes that a list shows."""


def moved_bars(trace: RoutingTrace, cost: Comparison) -> Picture:
    """Share of tokens whose experts are not what they were, layer by layer."""
    moved = cost.moved
    meta = {
        "kind": "bars",
        "title": "Routes changed, layer by layer",
        "x": {
            "name": "Layer",
            "labels": layer_names(trace.layers),
            "pick": "row",
            "long": [f"{int(n):,} of {moved.shape[1]:,} tokens" for n in moved.sum(axis=1)],
        },
        "y": {"name": "Tokens with other experts", "unit": "%"},
        "parts": [{"name": "changed"}],
        "read": (
            "Share of tokens that a layer sends to other experts, or to fewer, than without the "
            "rule. Layers after the first changed one read changed tokens, so their routers "
            "decide anew."
        ),
        **_common(trace),
    }
    return Picture(meta, {"changed": moved.mean(axis=1).astype(np.float32)})


def prediction_list(trace: RoutingTrace, token: int, found: Predictions, changed: bool) -> Picture:
    """The likeliest tokens after one token, with the rule in force (`changed`) or without."""
    ids, odds = (found.after_ids, found.after) if changed else (found.before_ids, found.before)
    ids, odds = ids[token], odds[token]
    true = int(trace.tokens.ids[token + 1]) if token + 1 < len(trace.tokens) else None
    meta = {
        "title": "Predicted with the rule" if changed else "Predicted without it",
        "chip": token_name(trace, token),
        "facts": [] if changed else [["True next token", loss_words(float(trace.loss[token]))]],
        "pick": "",
        "rows": [
            [visible(found.pieces[int(i)]) + ("  ← the true one" if int(i) == true else ""), "", ""]
            for i in ids
        ],
        "value": {"name": "Probability", "unit": "%", "high": 1.0, "of": "Next token"},
        "read": "The five likeliest next tokens after the picked one. Click a token of the text.",
        "empty": "",
        **_common(trace),
    }
    meta.pop("inks")
    return Picture(meta, {"at": ids.astype(np.int32), "values": odds.astype(np.float32)})


def ablation_list(
    trace: RoutingTrace, row: int, found: Ablations, control: Control, drop: bool
) -> Picture:
    """Every expert of one layer by what the text loses without it, the costliest first."""
    order, draws = found.order, len(control.mean_changes)
    way = "its output is dropped" if drop else "its tokens go to the next best"
    meta = {
        "title": "What each expert is worth here",
        "place": f"layer {layer_names(trace.layers)[row]}",
        "facts": [],
        "pick": "expert",
        "rows": [[f"Expert {e} · {plural(int(found.used[e]), 'token')}", "", ""] for e in order],
        "value": {
            "name": "Change of mean next-token loss, nats",
            "unit": "",
            "signed": True,
            "of": "Expert",
            **_ends(np.concatenate([found.low, found.high, control.mean_changes])),
        },
        "band": {"low": control.low, "high": control.high, "name": f"{draws} random mutes"},
        "read": (
            f"Each line mutes one expert alone, so that {way}: orange, the text is predicted "
            "worse without it; blue, better. The thin line is the 95 % interval over tokens. "
            f"Grey: where {draws} experts drawn at random from all layers fall."
        ),
        "empty": "",
        **_common(trace),
    }
    arrays = {"at": order.astype(np.int32), "values": found.mean_change[order]}
    arrays |= {"low": found.low[order], "high": found.high[order]}
    return Picture(meta, _f4(arrays))


def route_list(
    trace: RoutingTrace, row: int, token: int, routes: Sequence[tuple[tuple[int, ...], float]]
) -> Picture:
    """The best routes of one token in one layer by the loss of the next; routes[0] is its own."""
    base = routes[0][1]
    order = sorted(range(len(routes)), key=lambda i: routes[i][1])
    shown = order[:MOST_SHOWN]
    shown += [0] if 0 not in shown else []
    change = np.array([routes[i][1] - base for i in shown], np.float32)
    place = order.index(0) + 1
    better = sum(loss < base - 1e-6 for _, loss in routes)
    meta = {
        "title": "The best routes of equal compute",
        "chip": token_name(trace, token),
        "place": f"layer {layer_names(trace.layers)[row]}",
        "facts": [
            ["Routes tried", f"{len(routes):,}"],
            ["The model's own", f"{place:,} of {len(routes):,}"],
            ["Better than its own", percent(better / max(1, len(routes) - 1))],
        ],
        "pick": "route",
        "rows": [
            [_spelled(routes[i][0]) + (" · the model's own" if i == 0 else ""), "", ""]
            for i in shown
        ],
        "value": {
            "name": "Change of the next token's loss, nats", "unit": "", "signed": True,
            "of": "Route", **_ends(change),
        },
        "read": (
            "Each line sends this one token to other experts in this layer, as many as before. "
            "Blue: the next token is predicted better than with the model's own route. The best "
            "of many routes looks good by luck too. Click a route to put it in force."
        ),
        "empty": "",
        **_common(trace),
    }  # fmt: skip
    return Picture(meta, _f4({"at": np.array(shown, np.int32), "values": change}))


def _spelled(experts: tuple[int, ...]) -> str:
    return f"Expert{'s' if len(experts) > 1 else ''} {', '.join(map(str, experts))}"


def _ends(values: np.ndarray) -> dict[str, float]:
    """Both ends of a scale that holds the values and 0."""
    known = values[np.isfinite(values)]
    reach = max(1e-3, float(np.abs(known).max(initial=0)))
    return {
        "low": float(min(known.min(initial=0), -0.03 * reach)),
        "high": float(max(known.max(initial=0), 0.03 * reach)),
    }


def _f4(arrays: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    return {n: a if n == "at" else np.asarray(a, np.float32) for n, a in arrays.items()}


def _common(trace: RoutingTrace) -> dict:
    light, dark = palette.inks()
    return {
        "key": trace.key,
        "model": model_name(trace.source.model),
        "inks": {"light": light, "dark": dark},
    }
