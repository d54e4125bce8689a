"""What to see on the Explore page: controls, pictures, and files to take home."""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import partial

import streamlit as st

from moeviz.charts.heat import CELLS, load_grid, token_grid, token_journey
from moeviz.charts.picture import Picture
from moeviz.charts.strip import COLOURINGS, strip_picture
from moeviz.charts.words import load_sentence
from moeviz.metrics.load import (
    Load,
    LoadChance,
    expert_load,
    filled_tokens,
    layer_sizes,
    load_chance,
)
from moeviz.metrics.router import top_probability
from moeviz.metrics.table import routing_csv, routing_parquet
from moeviz.store.files import trace_bytes
from moeviz.trace import RoutingTrace
from moeviz.ui import session
from moeviz.ui.components import heat_grid, token_strip, wire
from moeviz.ui.figure import figure
from moeviz.ui.lent import lent
from moeviz.ui.links import set_view
from moeviz.ui.markdown import plain
from moeviz.ui.view import View, layer_labels, text_for_link

MOST_BUTTONS = 24
"""Layers shown as buttons, every one in sight; more than that become a slider."""


def toolbar(trace: RoutingTrace, view: View) -> None:
    """Layer, colouring and cells, for the whole page; every choice in sight."""
    labels, state = layer_labels(trace), st.session_state
    state["layer"], state["colour"], state["cells"] = labels[view.row], view.colour, view.cells

    def take() -> None:
        row = labels.index(state["layer"]) if state["layer"] in labels else None
        set_view(trace, {"row": row, "colour": state["colour"], "cells": state["cells"]})

    with st.container(horizontal=True, key="toolbar", gap="medium"):
        if len(labels) <= MOST_BUTTONS:
            st.segmented_control(
                "Layer", labels, key="layer", required=True, wrap=True, on_change=take
            )
        else:
            st.select_slider("Layer", labels, key="layer", on_change=take)
        st.segmented_control(
            "Colour the text by", list(COLOURINGS), key="colour", required=True, wrap=True,
            format_func=COLOURINGS.get, on_change=take,
        )  # fmt: skip
        st.segmented_control(
            "Fill the grid with", list(CELLS), key="cells", required=True, wrap=True,
            format_func=CELLS.get, on_change=take,
        )  # fmt: skip


def figures(trace: RoutingTrace, view: View) -> None:
    """The four pictures, and the wire that keeps them in step."""
    load, top = _load(trace.key, trace), _top(trace.key, trace)
    chance = _layer_chance(trace, view.row)
    left, right = st.columns([3, 2], gap="medium")
    with left:
        _strip(trace, view)
        _grid(
            "tokens", trace, (view.row, view.cells),
            lambda: token_grid(trace, view.row, view.cells, load, chance, top),
        )  # fmt: skip
    with right:
        _grid("journey", trace, (view.token,), lambda: token_journey(trace, view.token, top))
        _grid("layers", trace, (), lambda: load_grid(trace, load))
    wire(view, st.session_state.get("step", 0), session.visit())


def finding(trace: RoutingTrace, view: View) -> None:
    """The layer's load in one sentence, beside what chance alone would do."""
    load, chance = _load(trace.key, trace), _layer_chance(trace, view.row)
    layer = layer_labels(trace)[view.row]
    st.markdown(plain(load_sentence(load, chance, view.row, layer, view.expert)))


def downloads(trace: RoutingTrace) -> None:
    """The trace and its table as files, made only when asked for; and what the address restores."""
    name = re.sub(r"[^\w.-]+", "-", trace.source.model).strip("-") or "model"
    stem = f"moeviz-{name}-{trace.key[:8]}"
    files = (
        ("Trace (.moetrace)", trace_bytes, "moetrace", "application/octet-stream"),
        ("Table (.csv)", routing_csv, "csv", "text/csv"),
        ("Table (.parquet)", routing_parquet, "parquet", "application/vnd.apache.parquet"),
    )
    with st.container(horizontal=True, vertical_alignment="center", key="downloads"):
        for label, make, ending, kind in files:
            st.download_button(
                label, partial(make, trace), f"{stem}.{ending}", kind, on_click="ignore"
            )
        _about_the_link()


def _about_the_link() -> None:
    if session.kept():
        st.caption("The address restores this view where this trace is open.")
        return
    text = session.shown()[1]
    if text_for_link(text):
        st.caption("The address of this page restores this view.")
    elif lent().get(session.digest(text)):
        st.caption("The address restores this view for a day, for whoever has it.")
    else:
        st.caption("The text is too long for an address, which restores all but the text.")
        st.button(
            "Keep the text for a link", on_click=lent().keep, args=(text,),
            help="In this server's memory, for a day. Whoever has the link can read it.",
        )  # fmt: skip


def _strip(trace: RoutingTrace, view: View) -> None:
    options = (view.row, view.colour)
    figure("strip", trace, options, lambda: strip_picture(trace, *options), token_strip)


def _grid(kind: str, trace: RoutingTrace, options: tuple, make: Callable[[], Picture]) -> None:
    figure(kind, trace, options, make, heat_grid)


@st.cache_resource(max_entries=16, scope="session", show_spinner=False)
def _load(key: str, _trace: RoutingTrace) -> Load:
    return expert_load(_trace)


@st.cache_resource(max_entries=16, scope="session", show_spinner=False)
def _top(key: str, _trace: RoutingTrace) -> float:
    return top_probability(_trace)


def _layer_chance(trace: RoutingTrace, row: int) -> LoadChance:
    experts, chosen = (int(x[row]) for x in layer_sizes(trace))
    return _chance(filled_tokens(_load(trace.key, trace), chosen, row), experts, chosen)


@st.cache_resource(max_entries=256, show_spinner=False)
def _chance(tokens: int, experts: int, chosen: int) -> LoadChance:
    return load_chance(tokens, experts, chosen)
