"""Steering by the experts that tell two sets of texts apart, and what it does to both."""

from __future__ import annotations

import streamlit as st

from moeviz.charts import contrast as words
from moeviz.metrics.contrast import Contrast, random_steering, steering, steering_cost
from moeviz.metrics.load import layer_sizes
from moeviz.rules.interventions import Rule
from moeviz.trace import MoevizError, RoutingTrace
from moeviz.ui import links, session
from moeviz.ui.contrast import RANKED, Sets, set_traces
from moeviz.ui.house import way_to
from moeviz.ui.markdown import plain
from moeviz.ui.terms import headline, lead, note, tell
from moeviz.ui.view import layer_labels

FIRST_COUNT = 4
"""Experts that are steered until the visitor says otherwise."""

CONTROLS = 3
"""Draws of random experts that the steering is compared with."""


def steer(trace: RoutingTrace, found: Contrast, sets: Sets) -> None:
    """Which experts to push and which way, the rule that does it, and what it costs."""
    st.header("Steer by these experts", anchor=False)
    lead(
        "Knowing is one thing, cause another. Push the experts of one set above every token's "
        "highest router logit and those of the other below the lowest, and see whether the model "
        "gets better at one kind of text and worse at the other."
    )
    towards = _towards(sets)
    count = min(st.session_state["steered"], len(found.ranked()))
    rule = steering(found, layer_labels(trace), towards == sets.names[0], count)
    st.code(str(rule), language=None, wrap_lines=True)
    way_to(
        "what-if", "Steer your own text by this rule, on the What-if page",
        query_params={**links.subject(), "rule": str(rule)},
    )  # fmt: skip
    mark = (sets, str(rule))
    if st.session_state.get("steering") != mark:
        st.button("Steer the model", type="primary", on_click=_want, args=(mark,))
        return
    try:
        with st.spinner("Reading both sets with the experts steered"):
            _show_cost(trace, sets, towards, rule)
    except MoevizError as error:
        st.error(plain(str(error)))


def _towards(sets: Sets) -> str:
    state = st.session_state
    if state.get("towards") not in sets.names:
        state["towards"] = sets.names[0]
    state["steered"] = state.get("steered_count", FIRST_COUNT)
    with st.container(horizontal=True, key="steering_bar", gap="medium"):
        st.segmented_control("Towards", sets.names, key="towards", required=True)
        st.number_input(
            "Experts, those that differ most", 1, RANKED, step=1, key="steered", width=260,
            on_change=lambda: state.update(steered_count=state["steered"]),
        )  # fmt: skip
    return state["towards"]


def _want(mark: tuple) -> None:
    st.session_state["steering"] = mark


def _show_cost(trace: RoutingTrace, sets: Sets, towards: str, rule: Rule) -> None:
    costs = _costs(trace, sets, rule)
    sizes = dict(zip(layer_labels(trace), layer_sizes(trace)[0].tolist(), strict=True))
    experts = [sizes[part.layers[0]] for part in rule.parts]
    random = [random_steering(rule, experts, seed) for seed in range(CONTROLS)]
    means = [[mean for mean, *_ in _costs(trace, sets, control)] for control in random]
    with st.container(horizontal=True, vertical_alignment="center", gap="small", key="in_force"):
        st.badge("ENFORCED", color="blue", width="content")
        note("Every text of both sets was read again with these experts steered.")
    headline(words.cost_sentence(towards, sets.names, costs))
    tell(words.control_sentence(sets.names, means))


def _costs(trace: RoutingTrace, sets: Sets, rule: Rule) -> list[tuple[float, float, float]]:
    model, stack = session.shown()[0], trace.router.stack
    before, after = (set_traces(model, stack, sets, r) for r in (None, rule))
    costs = [steering_cost(a, b) for a, b in zip(before, after, strict=True)]
    if any(mean != mean for mean, *_ in costs):
        raise MoevizError("This model predicts no next token, so steering it has no loss to show.")
    return costs
