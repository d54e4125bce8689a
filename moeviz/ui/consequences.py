"""What follows from a capacity rule: its cost when enforced, and the load of several devices."""

from __future__ import annotations

import streamlit as st

from moeviz.charts import capacity as pictures
from moeviz.charts import capacity_words as words
from moeviz.metrics.compare import Comparison, compare
from moeviz.metrics.overflow import Overflow
from moeviz.metrics.parallel import PLACEMENTS, ParallelLoad, parallel_load
from moeviz.rules.capacity import CapacityRule
from moeviz.trace import MoevizError, RoutingTrace
from moeviz.ui import enforced as runs
from moeviz.ui import session
from moeviz.ui.ask import get_ready
from moeviz.ui.capacity import set_setting
from moeviz.ui.components import plot, token_strip
from moeviz.ui.figure import figure
from moeviz.ui.markdown import plain
from moeviz.ui.setting import MOST_SPARE, Setting, device_choices, devices_shown
from moeviz.ui.terms import headline, inform, lead, note, tell
from moeviz.ui.view import View, layer_labels

BYTES = {"float32": 4, "float64": 8, "float16": 2, "bfloat16": 2}
"""Bytes a value of the hidden state takes on the wire, by the model's number format."""

NAMES = {"contiguous": "In order", "round-robin": "Round robin", "balanced": "Balanced by load"}
"""How experts are laid out: the name in links, and the word on screen."""


def enforced(trace: RoutingTrace, view: View, found: Overflow) -> None:
    """The rule in force inside the model, once the visitor asks for it."""
    st.header("What does it cost?", anchor=False)
    mark, rule = (trace.key, str(found.rule)), found.rule
    why_not = runs.obstacle(trace)
    if why_not:
        inform(why_not)
        return
    if st.session_state.get("enforced") != mark:
        lead(
            "So far nothing was really dropped. Run the text again with this rule in force: a "
            "dropped choice contributes nothing, and the residual carries the token on."
        )
        st.button("Enforce it in the model", type="primary", on_click=_enforce, args=(mark,))
        return
    try:
        get_ready(st.empty())(session.shown()[0])
        with st.spinner("Running the model with the rule in force"):
            cost = _cost(trace, rule)
    except MoevizError as error:
        st.error(plain(str(error)))
        return
    _show_cost(trace, view, found, cost)


def _enforce(mark: tuple[str, str]) -> None:
    st.session_state["enforced"] = mark


def _cost(trace: RoutingTrace, rule: CapacityRule) -> Comparison:
    model, text = session.shown()
    if session.kept():
        session.traced_again(trace)
    changed = runs.enforced_trace(model, text, trace.router.stack, rule)
    return _compared(trace.key, changed.key, trace, changed)


@st.cache_resource(max_entries=4, scope="session", show_spinner=False)
def _compared(key: str, other: str, _trace: RoutingTrace, _changed: RoutingTrace) -> Comparison:
    return compare(_trace, _changed)


def _show_cost(trace: RoutingTrace, view: View, found: Overflow, cost: Comparison) -> None:
    labels, row, options = layer_labels(trace), view.row, (str(found.rule), view.row)
    with st.container(horizontal=True, vertical_alignment="center", gap="small", key="in_force"):
        st.badge("ENFORCED", color="blue", width="content")
        note("The text was run again, and what did not fit was really dropped.")
    headline(words.cost_sentence(cost, trace.loss))
    tell(words.downstream_sentence(cost, found, labels))
    left, right = st.columns([3, 2], gap="medium")
    if cost.loss_change is not None:
        with left:
            figure(
                "change", trace, options, lambda: pictures.change_strip(trace, row, cost),
                token_strip,
            )  # fmt: skip
    with right:
        figure(
            "rerouted", trace, options[:1], lambda: pictures.rerouted_bars(trace, cost, found), plot
        )


def devices(trace: RoutingTrace, view: View, setting: Setting) -> None:
    """The experts spread over several devices: who would carry what, and what would be sent."""
    st.header("Experts on several devices", anchor=False)
    choices = device_choices(trace)
    if not choices:
        inform("The experts of this model cannot be shared evenly by several devices.")
        return
    count = devices_shown(setting, trace)
    _device_toolbar(choices, count, setting)
    try:
        spread = _spread(trace, count, setting)
    except MoevizError as error:
        st.error(plain(str(error)))
        return
    headline(words.device_sentence(spread, view.row, layer_labels(trace)[view.row]))
    _show_devices(trace, view, spread, (count, setting.placement, setting.spare))


def _device_toolbar(choices: list[int], count: int, setting: Setting) -> None:
    state = st.session_state
    state["devices"], state["placement"], state["spare"] = count, setting.placement, setting.spare
    with st.container(horizontal=True, key="devicebar", gap="medium"):
        st.segmented_control(
            "Devices", choices, key="devices", required=True, wrap=True, on_change=_take_devices
        )
        st.segmented_control(
            "Experts laid out", PLACEMENTS, key="placement", required=True, wrap=True,
            format_func=NAMES.get, on_change=_take_devices,
        )  # fmt: skip
        if setting.placement == "balanced":
            st.number_input(
                "Spare places a device", 0, MOST_SPARE, step=1, key="spare", width=170,
                on_change=_take_devices, help="Filled with copies of the busiest experts",
            )  # fmt: skip


def _take_devices() -> None:
    state = st.session_state
    names = [name for name in ("devices", "placement", "spare") if name in state]
    set_setting({name: state[name] for name in names})


def _spread(trace: RoutingTrace, count: int, setting: Setting) -> ParallelLoad:
    spare = setting.spare if setting.placement == "balanced" else 0
    return _spread_of(trace.key, count, setting.placement, spare, trace)


@st.cache_resource(max_entries=16, scope="session", show_spinner=False)
def _spread_of(
    key: str, count: int, placement: str, spare: int, _trace: RoutingTrace
) -> ParallelLoad:
    hidden = runs.hidden_size(session.shown()[0])
    size = BYTES.get(_trace.source.dtype.removeprefix("torch."), 2)
    return parallel_load(_trace, count, placement, spare, hidden, size)


def _show_devices(trace: RoutingTrace, view: View, spread: ParallelLoad, options: tuple) -> None:
    row = view.row
    sent = words.byte_count(float(spread.bytes[row]))
    left, right = st.columns([3, 2], gap="medium")
    with left:
        figure(
            "device_loads", trace, (*options, row),
            lambda: pictures.device_bars(trace, row, spread, sent), plot,
        )  # fmt: skip
    with right:
        figure("waiting", trace, options, lambda: pictures.straggler_bars(trace, spread), plot)
