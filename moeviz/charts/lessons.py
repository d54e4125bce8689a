"""Pictures of the Learn pages; those of a toy say so in their heading."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from moeviz.charts import palette
from moeviz.charts.heat import token_labels
from moeviz.charts.picture import Picture
from moeviz.charts.words import model_name, percent
from moeviz.metrics.router import router_probabilities
from moeviz.trace import RoutingTrace

if TYPE_CHECKING:
    from moeviz.lessons.committee import Contest
    from moeviz.lessons.toy import ToyRun

TOY = "toy, trained here"
"""What stands in the corner of a toy's picture, where others name their model."""


def router_bars(trace: RoutingTrace, row: int, token: int) -> Picture:
    """One router's probabilities for one token; the chosen experts stand out."""
    shares = router_probabilities(trace, row)[token]
    chosen = np.isin(np.arange(len(shares)), trace.experts[row, token])
    gates = dict(zip(trace.experts[row, token].tolist(), trace.gates[row, token], strict=True))
    logits = trace.logits[row, token]
    meta = {
        "kind": "bars",
        "title": f"The router's answer for “{token_labels(trace)[token]}”",
        "place": f"layer {trace.layers[row]}",
        "x": {
            "name": "Expert",
            "labels": [str(e) for e in range(len(shares))],
            "long": [
                f"logit {logits[e]:.2f}" + (f", gate {gates[e]:.3f}" if e in gates else "")
                for e in range(len(shares))
            ],
        },
        "y": {"name": "Probability", "unit": "%"},
        "read": (
            "Each bar is one expert's probability: the softmax of the router's logits. Blue ones "
            "are chosen and do the work; point at a bar for its logit and its gate."
        ),
        **_parts(("chosen", "kept"), ("left out", "changed")),
        **_of(trace),
    }
    arrays = {"chosen": np.where(chosen, shares, 0), "left out": np.where(chosen, 0, shares)}
    return _picture(meta, arrays)


def mass_bars(trace: RoutingTrace, row: int) -> Picture:
    """Mean probability that the K largest experts hold together, for every K."""
    shares = np.sort(router_probabilities(trace, row), axis=1)[:, ::-1]
    mass = shares.mean(axis=0).cumsum()
    own = trace.shape[3]
    each = np.arange(1, len(mass) + 1)
    meta = {
        "kind": "bars",
        "title": "How much of the router's wish is granted",
        "place": f"layer {trace.layers[row]}",
        "x": {"name": "Experts a token (K)", "labels": [str(k) for k in each]},
        "y": {"name": "Probability of the chosen", "unit": "%"},
        "read": (
            "Each bar: the probability that the router gave to the K best experts together, mean "
            f"over the text. Blue: this model's own K, {own}. Chance would give K of {len(mass)}."
        ),
        **_parts(("this model", "kept"), ("other K", "changed")),
        **_of(trace),
    }
    return _picture(
        meta,
        {"this model": np.where(each == own, mass, 0), "other K": np.where(each == own, 0, mass)},
    )


def read_bars(trace: RoutingTrace, row: int, batches: list[int]) -> Picture:
    """Share of a layer's experts that a batch of the first N tokens needs, for every N."""
    experts = trace.shape[2]
    chance = [1 - (1 - trace.shape[3] / experts) ** n for n in batches]
    meta = {
        "kind": "bars",
        "title": "Experts that a batch must read",
        "place": f"layer {trace.layers[row]}",
        "x": {
            "name": "Tokens at once",
            "labels": [f"{n:,}" for n in batches],
            "long": [f"random routers: {percent(c)}" for c in chance],
        },
        "y": {"name": "Experts read", "unit": "%"},
        "read": (
            "Each bar: the share of the layer's experts that at least one of the first N tokens "
            "goes to. With few tokens little is read; with many, nearly everything."
        ),
        **_parts(("read", "kept")),
        **_of(trace),
    }
    return _picture(meta, {"read": np.array(experts_read(trace, row, batches))})


def experts_read(trace: RoutingTrace, row: int, batches: list[int]) -> list[float]:
    """Share of the experts of `row` that the first N tokens go to, for each N of `batches`."""
    chosen = trace.experts[row]
    return [len(np.unique(chosen[:n][chosen[:n] >= 0])) / trace.shape[2] for n in batches]


def toy_load(run: ToyRun, step: int) -> Picture:
    """Share of the batch that each expert of the toy got around one step."""
    load = run.load[max(0, step - 10) : step + 1].mean(axis=0)
    meta = {
        "kind": "bars",
        "title": f"Who got the tokens at step {step}",
        "x": {"name": "Expert", "labels": [str(e) for e in range(len(load))]},
        "y": {"name": "Share of the batch", "unit": "%"},
        "line": {"at": 1 / len(load), "name": "even share"},
        "read": "Each bar is one expert. At the dashed line all would be equally busy.",
        **_parts(("load", "kept")),
        **_toy(f"toy {run.way} {run.seed} {step}"),
    }
    return _picture(meta, {"load": load})


def toy_curve(run: ToyRun, step: int, chance: tuple[float, float]) -> Picture:
    """MaxVio of the toy over its training; chance: 95 % of random routers lie there."""
    steps = len(run.load)
    xs = np.arange(0, steps, 5)
    smooth = np.array([run.load[max(0, s - 10) : s + 1].mean(axis=0).max() for s in xs])
    smooth = smooth * run.load.shape[1] - 1
    meta = {
        "kind": "lines",
        "title": "Balance over training",
        "x": {
            "name": "Step",
            "low": 0.0,
            "high": float(steps),
            "digits": 0,
            "pick": "moment",
            "ticks": [round(steps * part / 4) for part in range(5)],
        },
        "y": {"name": "MaxVio", "unit": "", "digits": 2},
        "lines": ["toy"],
        "strong": 0,
        "upright": {"at": float(step), "name": f"step {step}"},
        "band": {"name": "random routers"},
        "read": (
            "MaxVio is the busiest expert over the mean, minus 1: 0 is even, 7 is one expert that "
            "takes all. Grey: routers that choose at random."
        ),
        **_parts(),
        **_toy(f"toy curve {run.way} {run.seed} {step}"),
    }
    flat = np.ones(len(xs))
    arrays = {"xs": xs, "values": smooth, "low": chance[0] * flat, "high": chance[1] * flat}
    return _picture(meta, arrays)


def trap_bars(aux: np.ndarray, pooled: float) -> Picture:
    """The auxiliary loss of every layer of its own, against all layers thrown together."""
    meta = {
        "kind": "bars",
        "title": "One loss a layer",
        "x": {"name": "Layer", "labels": [str(i) for i in range(len(aux))]},
        "y": {"name": "Auxiliary loss", "unit": "", "digits": 2},
        "line": {"at": pooled, "name": f"pooled {pooled:.2f}"},
        "read": (
            "Each bar is one layer's own loss: 1 is even, E is collapsed. Dashed: the loss of all "
            "layers thrown together, as some code computes it."
        ),
        **_parts(("loss", "lost")),
        **_toy(f"trap {len(aux)} {pooled:.3f}"),
    }
    return _picture(meta, {"loss": aux})


def contest_bars(found: Contest) -> Picture:
    """The error of every way to combine learners."""
    meta = {
        "kind": "bars",
        "title": "Error against the true curve",
        "x": {
            "name": "Way",
            "labels": ["one", "average", "bagging", "boosting", "stacking", "MoE"],
            "long": [
                f"{m.name}: {m.asked} learner{'s' if m.asked > 1 else ''} run for an input"
                for m in found.members
            ],
        },
        "y": {"name": "Mean squared error", "unit": "", "digits": 3},
        "read": "Lower is better. Point at a bar to see how many learners run for one input.",
        **_parts(("error", "kept")),
        **_toy(f"contest {found.members[-1].error:.6f}"),
    }
    return _picture(meta, {"error": np.array([m.error for m in found.members])})


def _parts(*parts: tuple[str, str]) -> dict:
    """The parts of the bars, each with the ink it borrows."""
    inks = palette.inks()
    shown = [{**ink, **{name: ink[borrowed] for name, borrowed in parts}} for ink in inks]
    return {
        "parts": [{"name": name} for name, _ in parts],
        "inks": {"light": shown[0], "dark": shown[1]},
    }


def _of(trace: RoutingTrace) -> dict:
    return {"key": trace.key, "model": model_name(trace.source.model)}


def _toy(key: str) -> dict:
    return {"key": key, "model": TOY}


def _picture(meta: dict, arrays: dict[str, np.ndarray]) -> Picture:
    return Picture(meta, {name: np.asarray(a, dtype=np.float32) for name, a in arrays.items()})
