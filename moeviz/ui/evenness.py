"""The balance of every layer on the Capacity page: a measure to choose, its bars, and chance."""

from __future__ import annotations

import streamlit as st

from moeviz.charts.evenness import (
    MEASURES,
    Evenness,
    evenness_bars,
    evenness_sentence,
    pooled_sentence,
)
from moeviz.metrics.balance import loss_chance, pooled_aux_loss, z_loss_chance
from moeviz.trace import RoutingTrace
from moeviz.ui import measures
from moeviz.ui.capacity import set_setting
from moeviz.ui.components import plot
from moeviz.ui.figure import figure
from moeviz.ui.setting import Setting
from moeviz.ui.terms import headline, tell
from moeviz.ui.view import View

NEED_DRAWS = ("aux_loss", "importance")
"""Measures whose chance takes a second to draw for a long text: only when they are looked at."""


def evenness(trace: RoutingTrace, view: View, setting: Setting) -> None:
    """How even the load is without any rule, by the measure that the visitor chose."""
    st.header("How even is the load?", anchor=False)
    state, measure = st.session_state, setting.balance
    state["balance"] = measure
    st.segmented_control(
        "Measured by", list(MEASURES), key="balance", required=True, wrap=True,
        format_func=lambda name: MEASURES[name].name,
        on_change=lambda: set_setting({"balance": state["balance"]}),
    )  # fmt: skip
    facts = _facts(trace.key, measure in NEED_DRAWS, measure == "z_loss", trace)
    headline(evenness_sentence(trace, facts, measure, view.row))
    if measure == "aux_loss" and trace.logits is not None:
        tell(pooled_sentence(trace, facts))
    figure("even", trace, (measure,), lambda: evenness_bars(trace, facts, measure), plot)


@st.cache_resource(max_entries=8, scope="session", show_spinner=False)
def _facts(key: str, with_losses: bool, with_z: bool, _trace: RoutingTrace) -> Evenness:
    known = measures.layer_facts(_trace)
    losses = loss_chance(_trace) if with_losses else None
    z_band = z_loss_chance(_trace) if with_z else None
    return Evenness(known.balance, known.chance, losses, pooled_aux_loss(_trace), z_band)
