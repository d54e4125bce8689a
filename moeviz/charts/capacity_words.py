"""Capacity rules and what they did, as plain English."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from moeviz.charts.words import percent, plural
from moeviz.metrics.compare import Comparison
from moeviz.metrics.overflow import Overflow, OverflowChance
from moeviz.metrics.parallel import ParallelLoad
from moeviz.rules.words import short_bytes
from moeviz.trace import RoutingTrace

if TYPE_CHECKING:
    from moeviz.rules.capacity import CapacityRule

CONVENTIONS = {
    "vmoe": "V-MoE",
    "switch": "Switch",
    "gshard": "GShard",
    "deepspeed": "DeepSpeed",
    "tutel": "Tutel",
    "absolute": "Absolute",
}
"""How a capacity is counted: the name in links, and the word on screen."""

PRIORITIES = {
    "position": "Earlier tokens",
    "slot": "First choices",
    "score": "Surest tokens",
    "gate": "Largest gates",
    "random": "At random",
}
"""Who is served first: the name in links, and the words on screen."""

_FORMULAS = {
    "switch": "floor({t} / {e} × {f})",
    "gshard": "ceil(2 × {t} / {e})",
    "vmoe": "round({k} × {t} × {f} / {e})",
    "deepspeed": "max(4, ceil({t} / {e} × {f} × {k}))",
    "tutel": "{k} × floor({f} × ceil({t} / {e}))",
}

_REMARKS = {
    "switch": "Written for one choice a token: it does not count the others.",
    "gshard": "GShard has no capacity factor, and turns weak second choices away at random.",
    "deepspeed": "Never fewer than 4.",
    "tutel": "Rounded up before the factor and down after it.",
    "vmoe": "Counts all choices of a token.",
    "absolute": "A fixed number has no capacity factor.",
}


def formula(rule: CapacityRule, tokens: int, experts: int, chosen: int) -> str:
    """How many tokens an expert takes, worked out for this text, in one line."""
    name = CONVENTIONS[rule.convention]
    room = rule.capacity(rule.group or tokens, experts, chosen)
    if rule.convention == "absolute":
        worked = f"{plural(room, 'token')} an expert"
    else:
        numbers = {"t": rule.group or tokens, "e": experts, "k": chosen, "f": f"{rule.factor:g}"}
        worked = f"{_FORMULAS[rule.convention].format(**numbers)} = {plural(room, 'token')}"
        worked += " an expert"
    window = f" in each window of {rule.group:,}" if rule.group else ""
    return f"{name}: {worked}{window}. {_REMARKS[rule.convention]}"


def overflow_sentence(
    trace: RoutingTrace, row: int, layer: str, found: Overflow, chance: OverflowChance
) -> str:
    """What the rule does in one layer, beside what it would do to random routers."""
    lost, sent = int(found.lost[row].sum()), int((found.lost + found.kept)[row].sum())
    rule = found.rule
    at = "Under this rule"
    if has_factor(rule):
        at = f"At capacity factor {rule.factor:g}"
    low, high = round(chance.low * sent), round(chance.high * sent)
    band = f"{low:,}" if low == high else f"{low:,} to {high:,}"
    verb = "overflows" if lost == 1 else "overflow"
    return (
        f"{at}, {lost:,} of {plural(sent, 'assignment')} {verb} in layer {layer}; "
        f"chance alone gives {band}{_apart(rule)}.{_rest(row, found)}"
    )


def _apart(rule: CapacityRule) -> str:
    refused = rule.convention == "gshard"
    return ", not counting the second choices that GShard refuses at random" if refused else ""


def _rest(row: int, found: Overflow) -> str:
    full = int(found.fully_dropped[row].sum())
    words = ""
    if full:
        words = f" {plural(full, 'token')} {'loses' if full == 1 else 'lose'} every expert."
    factor = found.dropless_factor[row]
    if np.isfinite(factor):
        words += f" Nothing is lost from factor {factor:g} on."
    return words


def has_factor(rule: CapacityRule) -> bool:
    """Whether the capacity factor has a say under the rule's convention."""
    return rule.convention not in ("gshard", "absolute")


def simulation_note(trace: RoutingTrace) -> str:
    """That the figures are simulated, and what the model itself did."""
    limit = trace.router.capacity
    if limit:
        return (
            f"Simulated on top of the model's own limit of {plural(limit, 'token')} an expert, "
            "which is already in this trace."
        )
    if not trace.router.scoring:
        return "Simulated: the figures apply the rule to the recorded routing afterwards."
    return (
        "Simulated: this model has no capacity limit and dropped nothing. The figures apply the "
        "rule to its routing afterwards."
    )


def cost_sentence(cost: Comparison, before: np.ndarray | None) -> str:
    """What enforcing the rule did to the next-token loss, with a 95 % interval."""
    if cost.loss_change is None or before is None:
        return "This model predicts no next token, so there is no loss to compare."
    if not cost.dropped.any():
        return "Nothing overflows, so the enforced run is the plain run, bit for bit."
    base = float(np.nanmean(before))
    way = "rises" if cost.mean_change >= 0 else "falls"
    return (
        f"With the rule in force the mean next-token loss {way} by {abs(cost.mean_change):.3f} "
        f"nats, from {base:.3f} to {base + cost.mean_change:.3f} (95 % interval of the change "
        f"{_signed(cost.low)} to {_signed(cost.high)}, {_verdict(cost)})."
    )


def downstream_sentence(cost: Comparison, found: Overflow, labels: list[str]) -> str:
    """Where simulated and enforced drops agree, and where later layers route otherwise."""
    enforced = int(cost.dropped[0].sum())
    share = cost.rerouted.mean(axis=1)
    words = (
        f"Simulated and enforced drops agree exactly only in the first routed layer "
        f"(layer {labels[0]}: {enforced:,} in both): what is dropped there changes what later "
        "layers read."
    )
    if not (share > 0).any():
        return words + " No token changed its route."
    most = int(np.argmax(share))
    return words + f" Layer {labels[most]} sends {percent(share[most])} of the tokens elsewhere."


def device_sentence(spread: ParallelLoad, row: int, layer: str) -> str:
    """How even one layer's devices are."""
    load = spread.assignments[row]
    busiest = int(np.argmax(load))
    return (
        f"In layer {layer}, device {busiest} handles {int(load[busiest]):,} of "
        f"{plural(int(load.sum()), 'assignment')}, {spread.straggler[row]:.2f} times the mean; "
        "the others wait for it."
    )


def byte_count(count: float) -> str:
    """Bytes for a person: "950 B", "1.5 MB"; a sentence where they are not known."""
    if not np.isfinite(count):
        return "size not known for this trace"
    return short_bytes(count)


def _signed(value: float) -> str:
    return f"{'−' if value < 0 else '+'}{abs(value):.3f}"


def _verdict(cost: Comparison) -> str:
    if cost.low > 0:
        return "a real loss for this text"
    return "a real gain for this text" if cost.high < 0 else "which includes no change"
