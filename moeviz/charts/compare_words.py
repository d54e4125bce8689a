"""What differs between two runs, as plain English."""

from __future__ import annotations

import numpy as np

from moeviz.charts.words import model_name, percent, plural
from moeviz.metrics.difference import Difference
from moeviz.metrics.likeness import Likeness
from moeviz.metrics.runs import Run
from moeviz.trace import RoutingTrace


def bits(value: float) -> str:
    """A divergence with two telling digits: "0.31", "0.034"."""
    return f"{value:.2f}" if value >= 0.095 or value == 0 else f"{value:.3f}"


def headline(found: Difference, labels: list[str]) -> str:
    """The layer that differs most, beside chance, and the expert that changed most in it."""
    row = int(np.argmax(found.bits))
    band = f"chance gives {bits(found.low[row])} to {bits(found.high[row])}"
    if not found.bits.any():
        return "Nothing differs: both sides use the experts of every layer alike."
    if found.bits[row] <= found.high[row]:
        return (
            f"No more than chance: layer {labels[row]} differs most with {bits(found.bits[row])} "
            f"bits, and {band}."
        )
    return (
        f"Layer {labels[row]} differs most: {bits(found.bits[row])} bits, {band}. "
        f"{expert_sentence(found, row)}"
    )


def expert_sentence(found: Difference, row: int) -> str:
    """The expert whose share changed most in one layer."""
    gap = np.abs(found.share_b[row] - found.share_a[row])
    expert = int(np.nanargmax(gap))
    a, b = found.share_a[row, expert], found.share_b[row, expert]
    return f"Expert {expert} takes {percent(a)} of A and {percent(b)} of B."


def layer_sentence(found: Difference, row: int, label: str) -> str:
    """What the picked layer does: its divergence, its experts, and what the twins kept."""
    words = (
        f"Layer {label}, below: {bits(found.bits[row])} bits, chance {bits(found.low[row])} to "
        f"{bits(found.high[row])}."
    )
    twins = len(found.twins.pairs)
    if not twins:
        return words
    are = "is on both sides, and of its" if twins == 1 else "are on both sides, and of their"
    return (
        f"{words} {plural(twins, 'token')} {are} choices {percent(found.kept[row])} stay the "
        "same; chance keeps "
        f"{percent(found.even_kept[row])}, or {percent(found.loaded_kept[row])} when tokens are "
        "paired at random."
    )


def few_tokens(count: int) -> str:
    """That the model stopped early."""
    return (
        f"The model ended its text after {plural(count, 'token')}, too few to tell much. Write "
        "again, or start from a text that breaks off in the middle."
    )


def cautions(a: Run | RoutingTrace, b: Run | RoutingTrace) -> list[str]:
    """Sentences on what else than the choice of sides could have moved routes."""
    one, other = a.source, b.source
    found = []
    if one.dtype and other.dtype and one.dtype != other.dtype:
        found.append(
            f"A ran in {one.dtype}, B in {other.dtype}. The number format alone sends a few "
            "percent of the tokens elsewhere."
        )
    if one.device and other.device and one.device != other.device:
        found.append(
            f"A ran on {one.device}, B on {other.device}. The device alone can send some tokens "
            "elsewhere."
        )
    changed = [
        f"{name} {version} and {dict(other.versions)[name]}"
        for name, version in one.versions
        if dict(other.versions).get(name, version) != version
    ]
    if changed:
        found.append(f"A and B ran with different libraries: {', '.join(changed)}.")
    if one.rule != other.rule:
        rules = " and ".join(
            f"{side}: {s.rule or 'none'}" for side, s in (("A", one), ("B", other))
        )
        found.append(f"A and B ran under different rules ({rules}).")
    return found


def models_sentence(a: RoutingTrace, b: RoutingTrace) -> str:
    """What can be compared between two models, and what cannot."""
    sizes = [f"{model_name(t.source.model)} {_size(t)}" for t in (a, b)]
    return (
        f"{sizes[0]}; {sizes[1]}. Expert 3 of one model and expert 3 of another are strangers, so "
        "no expert is set against another here: only how evenly each model works, and whether "
        "both sort the same tokens together."
    )


def _size(trace: RoutingTrace) -> str:
    layers, _, experts, chosen = trace.shape
    return f"has {plural(layers, 'routed layer')}, top-{chosen} of {experts}"


def likeness_headline(found: Likeness, names: tuple[list[str], list[str]]) -> str:
    """The two layers that agree most, beside chance, and on how many tokens that rests."""
    above = found.agreement - found.chance
    row, column = np.unravel_index(int(np.argmax(above)), above.shape)
    pair = (
        f"layer {names[0][row]} of A and layer {names[1][column]} of B agree most, "
        f"{percent(found.agreement[row, column])}; chance gives "
        f"{percent(found.low[row, column])} to {percent(found.high[row, column])}"
    )
    told = f" {plural(len(found.used), 'token')} that both cut alike were compared."
    if above[row, column] <= found.lead:
        return f"No more alike than the best of {above.size} pairs is by chance: {pair}.{told}"
    return f"They sort tokens alike: {pair}.{told}"
