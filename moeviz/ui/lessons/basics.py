"""Lessons on what a mixture of experts is: sparse, routed, top-k."""

from __future__ import annotations

import numpy as np
import pandas as pd
import streamlit as st

from moeviz.charts.facts import parts_picture
from moeviz.charts.heat import token_labels
from moeviz.charts.lessons import mass_bars, router_bars
from moeviz.corpora.models import DEMO, known_facts
from moeviz.lessons.quizzes import active_quiz, chosen_quiz, mass_quiz
from moeviz.metrics.router import router_probabilities
from moeviz.rules.facts import from_json
from moeviz.rules.routing import RoutingRule
from moeviz.rules.words import short_count
from moeviz.trace import RoutingTrace
from moeviz.ui.lessons.parts import ask, draw, go_on, layer_row, say

SHOWN = ("Mixtral 8x7B", "DeepSeek-V3", "gpt-oss-20b", DEMO)


def sparse(trace: RoutingTrace) -> None:
    """Dense against sparse; total against active parameters."""
    say(
        "In a dense model every token passes through every parameter. In a mixture of experts, "
        "the big feed-forward part of a layer is split into experts, and a router sends each token "
        "to a few of them. So such a model has two sizes: what must be **in memory**, and what one "
        "token **uses**."
    )
    name = st.segmented_control("Model", SHOWN, default=SHOWN[0], required=True, key="sparse_of")
    facts = from_json(known_facts()[name])
    if not ask(f"sparse {name}", active_quiz(facts)):
        return
    draw(parts_picture(facts), "lesson_parts")
    say(
        f"The active parameters are {short_count(facts.active)} of {short_count(facts.total)}. The "
        "name “8x7B” is no product: eight times seven billion would count attention and embeddings "
        "eight times."
    )
    go_on("Take any model apart on the Models page", "models", {"of": name})


def router(trace: RoutingTrace) -> None:
    """The router step by step, with the demo model's own numbers."""
    labels = token_labels(trace)
    say(
        "A router is small: it multiplies the hidden state of a token with one vector for each "
        "expert. What comes out are the logits. Follow one token of a real text through the demo "
        "model."
    )
    left, right = st.columns(2)
    place = left.select_slider(
        "Token", range(1, len(labels)), value=8, key="router_token",
        format_func=lambda t: f"{t + 1}: {labels[t]}",
    )  # fmt: skip
    with right:
        row = layer_row(trace, "router_layer")
    logits = trace.logits[row, place]
    say(
        "Step 1, logits: one number for each expert, any size, any sign.  \n"
        + "&emsp; ".join(f"`{e}`&nbsp;{logit:.2f}" for e, logit in enumerate(logits))
    )
    if not ask(f"router {row} {place}", chosen_quiz(trace, row, place)):
        return
    draw(router_bars(trace, row, place), "lesson_router")
    _weighted_sum(trace, row, place)
    first = {"layer": str(trace.layers[row]), "token": str(place)}
    go_on("See this token in Explore", "explore", first)


def _weighted_sum(trace: RoutingTrace, row: int, place: int) -> None:
    ids, gates = trace.experts[row, place], trace.gates[row, place]
    shares = router_probabilities(trace, row)[place]
    total = float(shares[ids].sum())
    say(
        "Step 2, softmax: $p_i = e^{z_i} / \\sum_j e^{z_j}$. Step 3, top-k: keep the largest. "
        "Step 4, gates: this model divides the kept ones by their sum, "
        f"{' + '.join(f'{shares[e]:.3f}' for e in ids)} = {total:.3f}. Step 5: only the chosen "
        "experts run, and the layer adds their weighted outputs to the residual:"
    )
    terms = " + ".join(f"{g:.3f}\\,E_{{{e}}}(x)" for e, g in zip(ids, gates, strict=True))
    st.latex(f"y = \\sum_i g_i\\,E_i(x) = {terms}")


def top_k(trace: RoutingTrace) -> None:
    """Top-1, top-2, top-k: what K costs, and what noise does."""
    say(
        "K is a bargain. More experts a token means more of what the router asked for, and more "
        "arithmetic: each costs as much as the first. Switch Transformers use 1, Mixtral 2, "
        "OLMoE 8 of 64."
    )
    row = layer_row(trace, "topk_layer")
    if not ask(f"topk {row}", mass_quiz(trace, row)):
        return
    draw(mass_bars(trace, row), "lesson_mass")
    _cost_of_k()
    say(
        "**Noisy top-k** adds noise to the logits before the choice, so that experts which are "
        "nearly chosen get tokens too, and can learn."
    )
    noise = st.slider("Noise, in logits", 0.0, 3.0, 0.5, 0.1, key="topk_noise")
    kept = _kept_under_noise(trace, row, noise)
    even = trace.shape[3] / trace.shape[2]
    say(
        f"With noise of this size **{100 * kept:.0f} %** of the choices stay as they were. If all "
        f"were drawn at random, {100 * even:.1f} % would. (Simulated on the demo model's logits, "
        "seed 0.)"
    )
    go_on("Try other routing algorithms in the Lab", "lab", {"layer": str(trace.layers[row])})


def _cost_of_k() -> None:
    facts = from_json(known_facts()["Mixtral 8x7B"])
    one = facts.active_experts / facts.chosen
    rest = facts.active - facts.active_experts
    rows = [(k, short_count(rest + k * one)) for k in (1, 2, 4, 8)]
    st.table(
        pd.DataFrame(rows, columns=["K", "Mixtral 8x7B would use for a token"]), hide_index=True
    )


def _kept_under_noise(trace: RoutingTrace, row: int, noise: float) -> float:
    """Share of the model's own choices that noisy top-k keeps."""
    rule = RoutingRule("noisy", chosen=trace.shape[3], noise=noise)
    noisy = rule.applied(trace.logits[row], trace.tokens.ids).taken
    own = np.take_along_axis(noisy, trace.experts[row].astype(np.int64), axis=1)
    return float(own.mean())
