"""What a model is made of, as a picture and in sentences."""

from __future__ import annotations

import numpy as np

from moeviz.charts import palette
from moeviz.charts.picture import Picture
from moeviz.charts.words import percent, plural
from moeviz.rules.facts import ModelFacts
from moeviz.rules.words import short_count

SHORT = {
    "embeddings": "embedding",
    "output head": "head",
    "attention": "attention",
    "dense feed-forward": "dense",
    "shared experts": "shared",
    "routed experts": "experts",
    "router": "router",
    "other": "other",
}
"""Part to its label under a bar."""

MEANING = {
    "embeddings": "one row for every token of the vocabulary",
    "output head": "turns the last hidden state into scores for the next token",
    "attention": "mixes tokens with each other (or another mixer in its place)",
    "dense feed-forward": "feed-forward layers without a router",
    "shared experts": "experts that every token passes through",
    "routed experts": "experts that the router chooses from",
    "router": "scores the experts",
    "other": "norms and the rest",
}


SCORINGS = {
    "softmax": "by a softmax, so experts compete",
    "sigmoid": "by a sigmoid, each expert for itself",
    "mixed": "in more than one way, by layer",
}
"""Scoring of a router, see `RouterSpec`, to what it does."""


def parts_picture(facts: ModelFacts) -> Picture:
    """Parameters by part of the model: those one token uses, and those it leaves alone."""
    parts = [part for part, count in facts.parts.items() if count]
    unit, size = ("B", 1e9) if facts.total >= 1e9 else ("M", 1e6)
    whole = np.array([facts.parts[part] for part in parts], dtype=np.float64)
    idle = np.array([facts.parts[p] - facts.active_experts if p == "routed experts" else 0
                     for p in parts])  # fmt: skip
    light, dark = palette.inks()
    inks = [{"used by a token": i["kept"], "left alone": i["lost"]} for i in (light, dark)]
    meta = {
        "key": facts.name,
        "kind": "bars",
        "title": "Where the parameters are",
        "model": facts.name,
        "x": {
            "name": "Part of the model",
            "labels": [SHORT[part] for part in parts],
            "long": [f"{part}: {MEANING[part]}" for part in parts],
        },
        "y": {"name": "Parameters", "unit": unit},
        "parts": [{"name": "used by a token"}, {"name": "left alone"}],
        "read": (
            "Each bar is one part of the model. Blue: parameters that a single token uses. "
            "Orange: experts that its router leaves out; they must be in memory all the same."
        ),
        "inks": {"light": inks[0], "dark": inks[1]},
    }
    arrays = {"used by a token": (whole - idle) / size, "left alone": idle / size}
    return Picture(meta, {name: a.astype(np.float32) for name, a in arrays.items()})


def facts_sentence(facts: ModelFacts) -> str:
    """Total and active parameters of a model, and what makes the difference."""
    some = f"{facts.chosen} of {plural(facts.experts, 'expert')}"
    up_to = "" if facts.even else "up to "
    return (
        f"{facts.name} has {short_count(facts.total)} parameters, and one token uses "
        f"{short_count(facts.active)} of them ({percent(facts.active / facts.total)}): in "
        f"{facts.routed_layers} of {plural(facts.layers, 'layer')} it goes to {up_to}{some}."
    )


def router_sentence(facts: ModelFacts) -> str:
    """How the router makes gates of its logits, and whether groups of experts come first."""
    groups = f" It first picks among {facts.groups} groups of experts." if facts.groups else ""
    if not facts.scoring:
        return "How its router turns scores into gates could not be tried here." + groups
    known = SCORINGS.get(facts.scoring, "by a rule of its own, neither softmax nor sigmoid")
    return f"Its router turns scores into gates {known}.{groups}"


def published_sentence(facts: ModelFacts, total: float | None, active: float | None) -> str:
    """What the model's authors say, beside what its configuration comes to; "" if they do not."""
    if total is None and active is None:
        return ""
    said = [f"{short_count(total)} in all"] if total else []
    said += [f"{short_count(active)} for a token"] if active else []
    return (
        f"Its authors say {' and '.join(said)}. Counted from its configuration: "
        f"{short_count(facts.total)} in all; for a token {short_count(facts.active)}, or "
        f"{short_count(facts.active_without_lookup)} without the input embedding, of which a "
        f"token reads one row.{_gap(facts, active)}"
    )


def _gap(facts: ModelFacts, active: float | None) -> str:
    """How far the nearer way of counting is from the published figure, where that is over 1 %."""
    if not active:
        return ""
    counted = min((facts.active, facts.active_without_lookup), key=lambda c: abs(c / active - 1))
    gap = counted / active - 1
    if abs(gap) <= 0.01:
        return ""
    return (
        f" The nearer one is {percent(abs(gap))} {'above' if gap > 0 else 'below'} the published "
        "figure, which may be rounded or cut, or leave out more."
    )
