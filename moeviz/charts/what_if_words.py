"""What a changed routing did, as plain English."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from moeviz.charts.words import plural, visible
from moeviz.metrics.compare import Ablations, Comparison, Control
from moeviz.trace import RoutingTrace, layer_names

if TYPE_CHECKING:
    from moeviz.rules.interventions import Rule


def cost_sentence(cost: Comparison, before: np.ndarray | None) -> str:
    """What the rule did to the next-token loss, with a 95 % interval."""
    if cost.loss_change is None or before is None:
        return "This model predicts no next token, so there is no loss to compare."
    if not np.isfinite(cost.mean_change):
        return "The text has no next token, so there is no loss to compare."
    if not cost.moved.any() and not np.nan_to_num(cost.loss_change).any():
        return "The rule changes nothing on this text: the run is the plain run, bit for bit."
    base = float(np.nanmean(before))
    way = "rises" if cost.mean_change >= 0 else "falls"
    return (
        f"With the rule in force the mean next-token loss {way} by {abs(cost.mean_change):.3f} "
        f"nats, from {base:.3f} to {base + cost.mean_change:.3f} (95 % interval "
        f"{signed(cost.low)} to {signed(cost.high)}, {_verdict(cost.low, cost.high)})."
    )


def first_layer_sentence(trace: RoutingTrace, cost: Comparison, rule: Rule) -> str:
    """What changed in the first layer that the rule touches, and that nothing did before it."""
    moved = cost.moved.any(axis=1)
    if not moved.any():
        return "No token changed its experts in any layer."
    names, row = layer_names(trace.layers), int(np.argmax(moved))
    count, total = int(cost.moved[row].sum()), cost.moved.shape[1]
    muted = muted_experts(rule, names[row], trace.shape[2])
    used = np.isin(trace.experts[row], muted).any(axis=-1)
    start = f"At layer {names[row]}, the first that changed, "
    if muted and len(rule.parts) == 1 and np.array_equal(used, cost.moved[row]):
        few = "expert" if len(muted) == 1 else "experts"
        said = f"only the {plural(count, 'token')} that used {few} {_listed(muted)} changed"
        words = f"{start}{said}; the other {total - count:,} kept their experts and weights."
    else:
        words = f"{start}{count:,} of {plural(total, 'token')} went to other experts."
    later = cost.moved[row + 1 :].any(axis=0)
    if row + 1 < len(names):
        words += f" After it, {plural(int(later.sum()), 'token')} went other ways in later layers."
    return words


def prediction_sentence(trace: RoutingTrace, cost: Comparison) -> str:
    """How far the predicted distributions moved, and where most."""
    if cost.predictions is None:
        return ""
    kl = cost.predictions.kl
    top = int(np.argmax(kl))
    if not kl[top] > 0:
        return "What the model predicts is the same after every token."
    after = visible(trace.tokens[top].text)
    return (
        f"What the model predicts moves by {cost.mean_kl:.3f} nats of KL divergence a token (95 % "
        f"interval {cost.kl_low:.3f} to {cost.kl_high:.3f}), most after “{after}”, token "
        f"{top + 1:,}: {kl[top]:.2f} nats."
    )


def control_sentence(cost: Comparison, found: Control) -> str:
    """The rule beside the same number of randomly muted experts."""
    place = "inside" if found.low <= cost.mean_change <= found.high else "outside"
    return (
        f"Control: as many other experts of the same layers, muted at random, change the mean "
        f"loss by {signed(found.low)} to {signed(found.high)} nats "
        f"({len(found.mean_changes)} draws). The rule's {signed(cost.mean_change)} lies {place} "
        "that range."
    )


def ablation_sentence(found: Ablations, found_control: Control, layer: str) -> str:
    """Which expert of the layer the text needs most, and how that compares with random ones."""
    top = int(found.order[0])
    beyond = int((found.mean_change > found_control.high).sum())
    return (
        f"In layer {layer}, losing expert {top} costs most: {signed(found.mean_change[top])} nats "
        f"a token (95 % interval {signed(found.low[top])} to {signed(found.high[top])}). "
        f"{beyond} of {len(found.order)} experts {'costs' if beyond == 1 else 'cost'} more than "
        "every random mute."
    )


def route_sentence(routes: Sequence[tuple[tuple[int, ...], float]], layer: str) -> str:
    """The best route found against the model's own."""
    own, base = routes[0]
    best, loss = min(routes, key=lambda route: route[1])
    if best == own:
        return f"In layer {layer}, no route tried is better for the next token than its own."
    return (
        f"In layer {layer}, experts {_listed(best)} in place of {_listed(own)} would have made "
        f"the next token's loss {loss:.3f} nats instead of {base:.3f}, at the same compute."
    )


def writing_sentence(plain: str, changed: str, done: bool) -> str:
    """How long two continuations are the same."""
    same = next((i for i, (a, b) in enumerate(zip(plain, changed, strict=False)) if a != b), None)
    if same is None:
        return "Both write the same." if done else "Both write the same so far."
    return f"Both write the same {plural(same, 'character')}, then part."


def muted_experts(rule: Rule, layer: str, experts: int) -> list[int]:
    """The experts that the rule mutes in one layer for every token, rerouted or dropped."""
    place = np.zeros(1, int)
    wishes, dropped = rule.wishes(layer, place, experts), rule.muted(layer, place, experts)
    found = np.zeros(experts, bool)
    if wishes is not None:
        found |= wishes[0] < 0
    if dropped is not None:
        found |= dropped[0]
    return np.flatnonzero(found).tolist()


def signed(value: float) -> str:
    """ "+0.012" or "−0.003"."""
    return f"{'−' if value < 0 else '+'}{abs(value):.3f}"


def _listed(numbers: Sequence[int]) -> str:
    """ "3", "3 and 5", "1, 3 and 5"."""
    words = [str(n) for n in numbers]
    return words[0] if len(words) == 1 else ", ".join(words[:-1]) + f" and {words[-1]}"


def _verdict(low: float, high: float) -> str:
    if low > 0:
        return "a real loss for this text"
    return "a real gain for this text" if high < 0 else "which includes no change"
