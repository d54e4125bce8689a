"""Runs of the What-if page: the rule in force, and the long ones as trials."""

from __future__ import annotations

import numpy as np
import streamlit as st

from moeviz.metrics.compare import Comparison, compare
from moeviz.rules.interventions import Mute, Rule, random_mutes
from moeviz.rules.predictions import Predictions
from moeviz.trace import RoutingTrace
from moeviz.ui import session, trials
from moeviz.ui.draft import Draft
from moeviz.ui.memory import run_once
from moeviz.ui.view import layer_labels

DRAWS = 8
"""Random mutes that a rule is set beside."""

SWEEP_DRAWS = 12
"""Random mutes, of any layer, that a sweep is set beside."""


def cost_of(trace: RoutingTrace, rule: Rule) -> Comparison:
    """The text run again with the rule in force, against the plain run on screen."""
    model, text = session.shown()
    if session.kept():
        session.traced_again(trace)
    stack = trace.router.stack

    def run() -> tuple[RoutingTrace, Predictions | None]:
        from moeviz.models.what_if import what_if  # late: torch takes seconds

        return what_if(session.loaded(model), text, rule, logits=False, truncate=True, stack=stack)

    changed, predictions = run_once(run, "what if", model, stack, session.digest(text), str(rule))
    return _compared(trace.key, changed.key, trace, changed, predictions)


@st.cache_resource(max_entries=8, scope="session", show_spinner=False)
def _compared(
    key: str,
    other: str,
    _trace: RoutingTrace,
    _changed: RoutingTrace,
    _predictions: Predictions | None,
) -> Comparison:
    return compare(_trace, _changed, predictions=_predictions)


def layer_sizes(trace: RoutingTrace) -> list[tuple[str, int, int]]:
    """(name, E, K) of each routed layer, as rules take them."""
    layers, _, experts, chosen = trace.shape
    sizes = trace.router.experts_per_layer or (experts,) * layers
    taken = trace.router.chosen_per_layer or (chosen,) * layers
    return list(zip(layer_labels(trace), sizes, taken, strict=True))


def start_control(trace: RoutingTrace, rule: Rule) -> None:
    """Begin to mute as many other experts at random, `DRAWS` times."""
    from moeviz.models.what_if import losses_under

    model, tokens = _model_and_tokens()
    rules = [random_mutes(rule, layer_sizes(trace), seed) for seed in range(DRAWS)]
    steps = losses_under(model, tokens, rules, trace.router.stack)
    trials.start("control", control_mark(trace, rule), steps, DRAWS)


def control_mark(trace: RoutingTrace, rule: Rule) -> tuple:
    return trace.key, str(rule)


def start_sweep(trace: RoutingTrace, row: int, drop: bool) -> None:
    """Begin to mute each expert of one layer in turn, and experts drawn from all layers."""
    from moeviz.models.what_if import ablation_losses, losses_under

    model, tokens = _model_and_tokens()
    sizes, stack = layer_sizes(trace), trace.router.stack

    def steps():
        for _, loss in ablation_losses(model, tokens, sizes[row][0], drop, stack):
            yield loss
        yield from losses_under(model, tokens, _any_expert(sizes, drop), stack)

    trials.start("sweep", (trace.key, row, drop), steps(), sizes[row][1] + SWEEP_DRAWS)


def start_search(trace: RoutingTrace, row: int, token: int) -> None:
    """Begin to try the other routes of one token in one layer."""
    from moeviz.models.what_if import route_count, route_losses

    model, tokens = _model_and_tokens()
    name, experts, chosen = layer_sizes(trace)[row]
    steps = route_losses(model, tokens, name, token, stack=trace.router.stack)
    trials.start("search", (trace.key, row, token), steps, route_count(experts, chosen))


def start_writing(model: str, draft: Draft, rule: Rule) -> None:
    """Begin to continue the prompt, first without and then with the rule, from the same seed."""
    session.check_text(draft.prompt)
    session.check_new_tokens(draft.most)
    from moeviz.models.generate import generate  # late: torch takes seconds

    loaded = session.loaded(model)

    def steps():
        for changed, force in ((False, None), (True, rule)):
            written = generate(
                loaded, draft.prompt, draft.most, draft.temperature, draft.top_p, draft.seed,
                logits=False, rule=force,
            )  # fmt: skip
            for step in written:
                yield changed, step.text

    trials.start("writing", (model, draft, str(rule)), steps(), 2 * draft.most)


def _any_expert(sizes: list[tuple[str, int, int]], drop: bool) -> list[Mute]:
    """One expert each, drawn from all experts of all layers."""
    rng = np.random.default_rng(0)
    every = [(name, expert) for name, experts, _ in sizes for expert in range(experts)]
    drawn = rng.permutation(len(every))[:SWEEP_DRAWS]
    return [Mute(every[i][1], drop, layers=every[i][0]) for i in drawn]


def _model_and_tokens():
    from moeviz.models.run import text_tokens

    name, text = session.shown()
    model = session.loaded(name)
    return model, text_tokens(model, text, truncate=True)[0]
