"""What only the model itself can tell the Lab page: its size, and runs under an algorithm."""

from __future__ import annotations

import streamlit as st

from moeviz.charts import lab_words as words
from moeviz.charts.capacity import change_strip
from moeviz.charts.lab import rerouted_bars
from moeviz.metrics.compare import Comparison, compare
from moeviz.rules.interventions import Assign, Rule
from moeviz.rules.routing import NOT_SOFT, RoutingRule
from moeviz.trace import MoevizError, RoutingTrace
from moeviz.ui import enforced as runs
from moeviz.ui import links, session
from moeviz.ui.ask import get_ready
from moeviz.ui.components import plot, token_strip
from moeviz.ui.figure import figure
from moeviz.ui.house import way_to
from moeviz.ui.lab_setting import Lab
from moeviz.ui.markdown import plain
from moeviz.ui.shelf import shelf
from moeviz.ui.terms import headline, inform, lead, note
from moeviz.ui.view import View


def expert_parameters(trace: RoutingTrace, row: int) -> int | None:
    """Parameters of one expert of routed layer `row`; None where the model is not loaded or its
    experts cannot be told apart."""
    name = session.shown()[0]
    if name not in shelf():
        return None
    return _sizes(name, trace.router.stack, id(session.loaded(name)))[row]


@st.cache_resource(max_entries=8, show_spinner=False)
def _sizes(name: str, stack: str, loaded_as: int) -> list[int | None]:
    from moeviz.models.sites import expert_parameters as of_site  # late: torch takes seconds

    return [of_site(site) for site in session.loaded(name).sites if site.stack == stack]


def in_force(trace: RoutingTrace, view: View, lab: Lab) -> None:
    """The chosen algorithms in the model itself, once the visitor asks for it."""
    st.header("What if the model ran that way?", anchor=False)
    why_not = runs.obstacle(trace)
    if why_not:
        inform(why_not)
        return
    if "soft" in lab.names:
        note(NOT_SOFT)
    rules = [lab.rule(name, trace, view.row) for name in lab.names if name != "soft"]
    if not rules:
        return
    mark = (trace.key, *map(str, rules))
    if st.session_state.get("lab_in_force") != mark:
        lead(
            "So far the model ran as it is, and one layer was shared out anew. Run the text again "
            "with the algorithm in every layer: later layers then read what it made of earlier "
            "ones, and the loss says what that is worth."
        )
        names = " and ".join(words.NAMES[rule.name] for rule in rules)
        st.button(f"Run with {names}", type="primary", on_click=_want, args=(mark,))
        return
    for place, rule in enumerate(rules):
        _run(trace, view, rule, place)


def _want(mark: tuple[str, ...]) -> None:
    st.session_state["lab_in_force"] = mark


def _run(trace: RoutingTrace, view: View, rule: RoutingRule, place: int) -> None:
    name = words.NAMES[rule.name]
    try:
        get_ready(st.empty())(session.shown()[0])
        with st.spinner(f"Running the model with {name} in every layer"):
            cost = _cost(trace, rule)
    except MoevizError as error:
        st.error(plain(f"{name}: {error}"))
        return
    with st.container(
        horizontal=True, vertical_alignment="center", gap="small", key=f"in_force_{place}"
    ):
        st.badge("ENFORCED", color="blue", width="content")
        note(words.enforced_note(rule))
    headline(words.enforced_sentence(rule, cost, trace.loss))
    way_to(
        "what-if", f"Go on with {name} on the What-if page",
        query_params={**links.subject(), "rule": str(Assign(rule))},
    )  # fmt: skip
    left, right = st.columns([3, 2], gap="medium")
    if cost.loss_change is not None:
        with left:
            figure(
                f"change_{place}", trace, (view.row, str(rule)),
                lambda: change_strip(trace, view.row, cost), token_strip,
            )  # fmt: skip
    with right:
        figure(
            f"moved_{place}", trace, (str(rule),),
            lambda: rerouted_bars(trace, cost, name), plot,
        )  # fmt: skip


def _cost(trace: RoutingTrace, rule: RoutingRule) -> Comparison:
    model, text = session.shown()
    if session.kept():
        session.traced_again(trace)
    changed = runs.enforced_trace(model, text, trace.router.stack, Rule((Assign(rule),)))
    return _compared(trace.key, changed.key, trace, changed)


@st.cache_resource(max_entries=8, scope="session", show_spinner=False)
def _compared(key: str, other: str, _trace: RoutingTrace, _changed: RoutingTrace) -> Comparison:
    return compare(_trace, _changed)
