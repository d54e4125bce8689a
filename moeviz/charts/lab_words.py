"""Routing algorithms and what they would change, as plain English."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from moeviz.charts.words import percent, plural
from moeviz.metrics.compare import Comparison
from moeviz.metrics.rerouted import Rerouted

if TYPE_CHECKING:
    from moeviz.rules.assignment import Assignment
    from moeviz.rules.routing import RoutingRule

NAMES = {
    "token-choice": "Token choice",
    "switch": "Switch",
    "noisy": "Noisy top-K",
    "gshard": "GShard",
    "group-limited": "Group-limited",
    "loss-free": "Loss-free bias",
    "expert-choice": "Expert choice",
    "sinkhorn": "Sinkhorn",
    "base": "BASE",
    "soft": "Soft MoE",
    "dense": "Dense",
    "hash": "Hash",
    "random": "Random",
}
"""What each algorithm is called on screen."""

MEANINGS = {
    "token-choice": "each token takes the K experts with the largest logits (Shazeer et al. 2017)",
    "switch": (
        "each token takes one expert, and an expert takes the first T/E · CF that come "
        "(Fedus et al. 2021)"
    ),
    "noisy": "token choice after noise was added to the logits (Shazeer et al. 2017)",
    "gshard": (
        "two experts a token, the second kept by lot, room for 2T/E tokens an expert "
        "(Lepikhin et al. 2020)"
    ),
    "group-limited": (
        "first the best groups of neighbouring experts, then K experts within them (DeepSeek-V2)"
    ),
    "loss-free": (
        "token choice by score plus a bias that rises for idle experts and falls for busy ones "
        "(Wang et al. 2024)"
    ),
    "expert-choice": (
        "each expert takes the T · CF/E tokens that score it highest (Zhou et al. 2022)"
    ),
    "sinkhorn": (
        "token choice from a plan that gives all experts equal shares (Clark et al. 2022)"
    ),
    "base": "one expert a token, all experts equally many, the best such split (Lewis et al. 2021)",
    "soft": ("no choice: every expert computes a mixture of all tokens (Puigcerver et al. 2023)"),
    "dense": "every token goes to every expert: the upper end of K",
    "hash": "the token's vocabulary id alone decides (Roller et al. 2021)",
    "random": "K experts drawn at random: the control",
}
"""What each algorithm does, in a clause, with its source."""

OWN = "The model's own route"


def meaning(name: str) -> str:
    """ "Expert choice: each expert takes the ..."."""
    return f"{NAMES[name]}: {MEANINGS[name]}."


def rerouted_sentence(found: Rerouted, own: Assignment, layer: str) -> str:
    """What one algorithm would do to a layer: own choices kept, balance, and who is left out."""
    name, made = NAMES[found.rule.name], found.assignment
    if min(made.taken.sum(axis=1)) == made.experts:
        what = f"sends every token of layer {layer} to every expert"
        if found.rule.name == "soft":
            what = f"lets every token of layer {layer} have a part in every expert"
        first = (
            f"{name} {what}; "
            f"{percent(found.own_weight)} of the weight lies on the model's own choices."
        )
    else:
        first = (
            f"{name} keeps {percent(found.kept)} of the choices that the model itself made in "
            f"layer {layer}; chance alone would keep {band(found)}."
        )
    return f"{first} {_balance_words(made, own)}{_lost_words(made)}"


def band(found: Rerouted) -> str:
    """ "10 % to 15 %", or one number where chance leaves no room."""
    low, high = percent(found.low), percent(found.high)
    return low if low == high else f"{low} to {high}"


def enforced_sentence(rule: RoutingRule, cost: Comparison, loss: np.ndarray | None) -> str:
    """What running the model under the algorithm did to its next-token loss."""
    name = NAMES[rule.name]
    if cost.loss_change is None:
        return f"{name} ran in every layer. This model predicts no next token, so there is no loss."
    before = float(np.nanmean(loss))
    change = cost.mean_change
    if abs(change) < 0.0005:
        return f"With {name} in every layer the loss stays at {before:.3f} nats a token."
    way = "rises" if change > 0 else "falls"
    return (
        f"With {name} in every layer the loss {way} from {before:.3f} to {before + change:.3f} "
        f"nats a token ({change:+.3f}, 95 %: {cost.low:+.3f} to {cost.high:+.3f})."
    )


def enforced_note(rule: RoutingRule) -> str:
    """What to know of such a run: whether it could have been had word by word."""
    if rule.name == "loss-free":
        return (
            "The text was run again. The bias was fitted to this very text, so the model has in a "
            "way read ahead."
        )
    if rule.name in ("expert-choice", "sinkhorn", "base", "gshard"):
        return (
            "The text was run again. This algorithm looks at the whole text, so what a token gets "
            "depends on later tokens: a loss that falls may be a peek ahead."
        )
    return "The text was run again, and the model read what the algorithm made of it."


def load_words(value: float) -> str:
    """A MaxVio to two digits; a dash where nothing was assigned."""
    return f"{value + 0.0:.2f}" if math.isfinite(value) else "–"


def active_words(made: Assignment) -> str:
    """Experts that compute a row, per token on average: "1.25"."""
    return f"{made.active:.2f}".rstrip("0").rstrip(".")


def _balance_words(made: Assignment, own: Assignment) -> str:
    before, after = own.max_violation, made.max_violation
    if not math.isfinite(after):
        return ""
    busiest = f"The busiest expert has {1 + after:.2f} times the mean load"
    if abs(before - after) < 0.005:
        return f"{busiest}, as it has now."
    return f"{busiest}, where it now has {1 + before:.2f} times."


def _lost_words(made: Assignment) -> str:
    words = ""
    if made.dropped:
        words += f" {plural(made.dropped, 'assignment')} would be dropped."
    if made.left_out:
        words += f" {plural(made.left_out, 'token')} would get no expert at all."
    return words
