"""What to see on the Explore page: controls, pictures, and files to take home."""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import partial

import streamlit as st

from moeviz.charts.heat import CELLS, COLUMNS, expert_grid, load_grid, token_grid
from moeviz.charts.picture import Picture
from moeviz.charts.strip import COLOURINGS, strip_picture
from moeviz.charts.words import load_sentence
from moeviz.metrics.table import routing_csv, routing_parquet
from moeviz.store.files import trace_bytes
from moeviz.trace import RoutingTrace
from moeviz.ui import closer, session
from moeviz.ui.choice import choice
from moeviz.ui.components import handout, heat_grid, token_strip, wire
from moeviz.ui.figure import figure
from moeviz.ui.lent import lent
from moeviz.ui.links import set_view
from moeviz.ui.measures import layer_chance, load_of, same_chance, top_of
from moeviz.ui.terms import note, tell
from moeviz.ui.view import View, layer_labels, text_for_link

MOST_BUTTONS = 24
"""Layers shown as buttons, every one in sight; more than that become a slider."""


def toolbar(trace: RoutingTrace, view: View) -> None:
    """Layer and colouring, for the whole page; every choice in sight."""
    labels, state = layer_labels(trace), st.session_state
    state["layer"] = labels[view.row]

    def take() -> None:
        if state["layer"] in labels:
            set_view(trace, {"row": labels.index(state["layer"])})

    with st.container(horizontal=True, key="toolbar", gap="medium"):
        if len(labels) <= MOST_BUTTONS:
            st.segmented_control(
                "Layer", labels, key="layer", required=True, wrap=True, on_change=take
            )
        else:
            st.select_slider("Layer", labels, key="layer", on_change=take)
        choice(trace, view, "colour", "Colour the text by", COLOURINGS)


def figures(trace: RoutingTrace, view: View) -> None:
    """The text and its grids, the panel beside them, and the wire that keeps all in step."""
    left, right = st.columns([3, 2], gap="medium")
    with left:
        _strip(trace, view)
        with st.container(horizontal=True, key="grid_bar", gap="medium"):
            choice(trace, view, "columns", "Show in the grid", COLUMNS)
            choice(trace, view, "cells", "Fill the cells with", CELLS)
        _token_grid(trace, view)
    with right:
        closer.panel(trace, view)
        _grid("layers", trace, (), lambda: load_grid(trace, load_of(trace)))
    wire(view, st.session_state.get("step", 0), session.visit())


def finding(trace: RoutingTrace, view: View) -> None:
    """The layer's load in one sentence, beside what chance alone would do."""
    load, chance = load_of(trace), layer_chance(trace, view.row)
    layer = layer_labels(trace)[view.row]
    tell(load_sentence(load, chance, view.row, layer, view.expert))


def downloads(trace: RoutingTrace) -> None:
    """The trace and its table as files, and what the address restores."""
    with st.container(horizontal=True, vertical_alignment="center", key="downloads"):
        files(trace)
        handout()
        _about_the_link()


def files(trace: RoutingTrace) -> None:
    """The trace and its table as files, made only when asked for; nothing runs again."""
    name = re.sub(r"[^\w.-]+", "-", trace.source.model).strip("-") or "model"
    kinds = (
        ("Trace (.moetrace)", trace_bytes, "moetrace", "application/octet-stream"),
        ("Table (.csv)", routing_csv, "csv", "text/csv"),
        ("Table (.parquet)", routing_parquet, "parquet", "application/vnd.apache.parquet"),
    )
    for label, make, ending, kind in kinds:
        file = f"moeviz-{name}-{trace.key[:8]}.{ending}"
        st.download_button(label, partial(make, trace), file, kind, on_click="ignore")


def _about_the_link() -> None:
    if session.kept():
        note("The address restores this view where this trace is open.")
        return
    text = session.shown()[1]
    if text_for_link(text):
        note("The address of this page restores this view.")
    elif lent().get(session.digest(text)):
        note("The address restores this view for a day, for whoever has it.")
    else:
        note("The text is too long for an address, which restores all but the text.")
        st.button(
            "Keep the text for a link", on_click=lent().keep, args=(text,),
            help="In this server's memory, for a day. Whoever has the link can read it.",
        )  # fmt: skip


def _strip(trace: RoutingTrace, view: View) -> None:
    of_one = (view.expert, view.cells) if view.colour == "agreement" else (None, "")
    options = (view.row, view.colour, *of_one)
    figure("strip", trace, options, lambda: strip_picture(trace, *options, True), token_strip)


def _token_grid(trace: RoutingTrace, view: View) -> None:
    """Tokens by the experts of a layer, or by the layers of the picked (else busiest) expert."""
    load, chance, top = load_of(trace), layer_chance(trace, view.row), top_of(trace)
    if view.columns == "layers":
        expert = closer.expert_shown(trace, view)
        _grid(
            "tokens", trace, (expert, view.cells, view.columns),
            lambda: expert_grid(trace, expert, view.cells, load, same_chance(trace), top),
        )  # fmt: skip
    else:
        _grid(
            "tokens", trace, (view.row, view.cells),
            lambda: token_grid(trace, view.row, view.cells, load, chance, top),
        )  # fmt: skip


def _grid(kind: str, trace: RoutingTrace, options: tuple, make: Callable[[], Picture]) -> None:
    figure(kind, trace, options, make, heat_grid)
