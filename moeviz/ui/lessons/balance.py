"""Lessons on balance and on room: a toy that collapses or not, capacity, other algorithms."""

from __future__ import annotations

import numpy as np
import pandas as pd
import streamlit as st

from moeviz.charts.capacity import overflow_lines
from moeviz.charts.lab_words import NAMES
from moeviz.charts.lessons import toy_curve, toy_load, trap_bars
from moeviz.lessons.quizzes import causal_quiz, collapse_quiz, lost_quiz
from moeviz.lessons.toy import EXPERTS, STEPS, WAYS, ToyRun, train
from moeviz.metrics.balance import balance_chance, switch_aux_loss
from moeviz.metrics.overflow import (
    CURVE_FACTORS,
    chance_counts,
    overflow,
    overflow_chance,
    overflow_curve,
)
from moeviz.rules.capacity import CapacityRule
from moeviz.rules.routing import RoutingRule
from moeviz.trace import RoutingTrace
from moeviz.ui.components import packed, plot
from moeviz.ui.lessons.parts import ask, draw, go_on, layer_row, say
from moeviz.ui.terms import note

SEEDS = (0, 1, 2)


def balancing(trace: RoutingTrace) -> None:
    """A toy trained in the page, with and without what keeps it balanced."""
    say(
        "Routers learn along with their experts. An expert that gets more tokens at the start "
        "learns more, is chosen more, and so on. Here a **toy** is trained in front of you: eight "
        "experts, top-1, a small task. Nothing is prepared; each run takes about a second."
    )
    runs = [_run("none", seed) for seed in SEEDS]
    if not ask("balance", collapse_quiz(runs)):
        return
    left, right = st.columns(2)
    way = left.segmented_control("Kept in balance by", list(WAYS), default="none", required=True,
                                 format_func=WAYS.get, key="toy_way")  # fmt: skip
    step = right.slider("Training step", 0, STEPS - 1, STEPS - 1, key="toy_step")
    run = _run(way, SEEDS[0])
    one, two = st.columns(2)
    with one:
        draw(toy_load(run, step), "toy_load")
    with two:
        chance = balance_chance(256, EXPERTS, 1).max_violation
        draw(toy_curve(run, step, chance), "toy_curve")
    _table_of_ways()
    say(
        "The auxiliary loss asks for balance with a gradient of its own beside that of the task; "
        "loss-free balancing moves a bias instead and disturbs no gradient; noise helps, but it "
        f"also sends tokens where they do not belong. {_price()}"
    )
    _trap()
    go_on("See the demo model's MaxVio on the Capacity page", "capacity",
          {"balance": "max_violation"})  # fmt: skip


@st.cache_resource(max_entries=32, show_spinner="Training the toy")
def _run(way: str, seed: int) -> ToyRun:
    return train(way, seed)


def _price() -> str:
    """What balance costs or saves in the task of these runs."""
    errors = {way: np.mean([_run(way, s).error[-50:].mean() for s in SEEDS]) for way in WAYS}
    change = errors["loss"] / errors["none"] - 1
    return (
        f"On this toy the auxiliary loss leaves the error {100 * abs(change):.0f} % "
        f"{'lower' if change < 0 else 'higher'} than no balance does: idle experts learn nothing, "
        "and a loss that asks for too much balance can cost more than that."
    )


def _table_of_ways() -> None:
    rows = []
    for way, name in WAYS.items():
        runs = [_run(way, seed) for seed in SEEDS]
        rows.append(
            {
                "Kept in balance by": name,
                "Busiest expert over even": ", ".join(f"{1 + r.late_violation:.1f}×" for r in runs),
                "Starved experts": ", ".join(str(r.starved) for r in runs),
                "Error in the end": ", ".join(f"{r.error[-50:].mean():.2f}" for r in runs),
            }
        )
    st.table(pd.DataFrame(rows), hide_index=True)
    note("Toy, three runs each with seeds 0, 1 and 2. The task differs from seed to seed.")


def _trap() -> None:
    st.subheader("A trap: the loss that hides collapse", anchor=False)
    say(
        "Some code throws the tokens of all layers together before it computes the auxiliary loss. "
        "Let every layer collapse, each on another expert, and see what that loss says."
    )
    layers = st.slider("Layers, each collapsed on an expert of its own", 1, 8, 8, key="trap_layers")
    each, pooled = collapsed_losses(layers)
    draw(trap_bars(each, pooled), "trap")
    say(
        f"Every layer's own loss is {each[0]:.0f}, as bad as it can be with {EXPERTS} experts. The "
        f"pooled loss is **{pooled:.2f}**, where 1 would be perfect balance."
    )


def collapsed_losses(layers: int) -> tuple[np.ndarray, float]:
    """([layers] auxiliary loss of each, the same of all thrown together), for layers that send
    every token to one expert, each to another. Top-1 of EXPERTS, 64 tokens a layer."""
    ids = np.repeat(np.arange(layers) % EXPERTS, 64).reshape(layers, 64)
    sure = np.eye(EXPERTS)[ids]
    each = [switch_aux_loss(row, p) for row, p in zip(ids, sure, strict=True)]
    return np.array(each), switch_aux_loss(ids.ravel(), sure.reshape(-1, EXPERTS))


def capacity(trace: RoutingTrace) -> None:
    """Capacity, overflow, padding waste, and who is served first."""
    say(
        "Hardware likes equal shares, so many systems give each expert a fixed capacity: room for "
        "so many tokens. An assignment that finds its expert full is dropped, and only the "
        "residual carries that token on."
    )
    row = layer_row(trace, "capacity_layer")
    if not ask(f"capacity {row}", lost_quiz(trace, row)):
        return
    factor = st.slider("Capacity factor", 0.25, 4.0, 1.25, 0.25, key="lesson_factor")
    _curve(trace, row, factor)
    _served_first(trace, row, factor)
    say(
        "A larger capacity factor drops less and leaves more places empty: memory and arithmetic "
        "for nothing. Batch prioritised routing serves the surest tokens first, so what is lost "
        "is what mattered least to the router. All of this is simulated: the demo model itself "
        "has no capacity."
    )
    link = {"factor": f"{factor:g}", "layer": str(trace.layers[row])}
    go_on("Set any rule, and enforce it, on the Capacity page", "capacity", link)


def _curve(trace: RoutingTrace, row: int, factor: float) -> None:
    rule = CapacityRule(factor, "vmoe")
    experts, chosen = trace.shape[2], trace.shape[3]
    counts = chance_counts(trace.shape[1], experts, chosen, rule)
    band = []
    for each in CURVE_FACTORS:
        found = overflow_chance(
            trace.shape[1], experts, chosen, CapacityRule(float(each), "vmoe"), counts=counts
        )
        band.append((found.low, found.high))
    picture = overflow_lines(
        trace, row, rule, CURVE_FACTORS, overflow_curve(trace, rule), np.array(band),
        overflow(trace, rule).dropless_factor,
    )  # fmt: skip
    plot(packed(picture), "lesson_curve", lambda: None)


def _served_first(trace: RoutingTrace, row: int, factor: float) -> None:
    rows = []
    for priority, name in (
        ("position", "Earlier tokens"),
        ("score", "Surest tokens (batch prioritised)"),
    ):
        found = overflow(trace, CapacityRule(factor, "vmoe", priority))
        gates = trace.gates[row][found.dropped[row]]
        rows.append(
            {
                "Served first": name,
                "Assignments lost": f"{int(found.lost[row].sum())}",
                "Router weight lost": f"{100 * gates.sum() / trace.gates[row].sum():.1f} %",
                "Places left empty": f"{100 * found.padding_waste[row]:.0f} %",
            }
        )
    st.table(pd.DataFrame(rows), hide_index=True)


COMPARED = ("token-choice", "expert-choice", "soft", "group-limited", "dense", "random")


def algorithms(trace: RoutingTrace) -> None:
    """Expert choice, Soft MoE, hierarchical and dense routing on the same logits."""
    say(
        "Top-k lets tokens choose. It could be the other way round, or no hard choice at all. "
        "Take one layer's logits and share out the same tokens by different rules."
    )
    row = layer_row(trace, "algorithms_layer")
    if not ask(f"algorithms {row}", causal_quiz(trace, row)):
        return
    table = [_algorithm(trace, row, name) for name in COMPARED]
    st.table(pd.DataFrame(table), hide_index=True)
    say(
        "Expert choice is even by design, and gives some tokens many experts and others few. Soft "
        "MoE mixes all tokens into each expert's slots, so nothing is dropped, and no token is "
        "left alone. A **hierarchical** choice, as in DeepSeek-V3, first picks groups of "
        "experts, then experts inside them, so that a token's experts sit on few machines. "
        "Simulated on the demo model's logits."
    )
    go_on("Compare thirteen algorithms on your text in the Lab", "lab",
          {"layer": str(trace.layers[row])})  # fmt: skip


def _algorithm(trace: RoutingTrace, row: int, name: str) -> dict:
    made = RoutingRule(name, factor=2.0).applied(trace.logits[row], trace.tokens.ids)
    return {
        "Algorithm": NAMES[name],
        "Busiest over even": f"{1 + made.max_violation:.2f}×",
        "Tokens without expert": f"{made.left_out}",
        "Experts a token": f"{made.active:.1f}",
        "Word by word": "yes" if made.causal else "no",
    }
