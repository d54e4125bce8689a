"""The parts of the Explore page, each a function that draws itself."""

from __future__ import annotations

import re
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext

import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from moeviz.charts.heat import CELLS, load_grid, token_grid, token_journey
from moeviz.charts.picture import Picture
from moeviz.charts.strip import COLOURINGS, strip_picture
from moeviz.charts.words import load_sentence, model_name
from moeviz.metrics.load import Load, LoadChance, expert_load, layer_sizes, load_chance
from moeviz.metrics.router import top_probability
from moeviz.metrics.table import routing_csv
from moeviz.store.files import trace_bytes
from moeviz.trace import RoutingTrace, TraceError
from moeviz.ui import session
from moeviz.ui.components import heat_grid, packed, picked, token_strip, wire
from moeviz.ui.examples import EXAMPLES
from moeviz.ui.view import (
    View,
    changed,
    first_view,
    from_link,
    layer_labels,
    text_for_link,
    to_link,
)

PARAMETERS = ("model", "text", "long", "layer", "expert", "token", "colour", "cells")
MOST_BUTTONS = 24
"""Layers shown as buttons, every one in sight; more than that become a slider."""


def plain(text: str) -> str:
    """Text as Markdown that shows it letter by letter."""
    return re.sub(r"([\\`*_{}\[\]()#+\-.!$:|<>~&])", r"\\\1", text)


# ---- what to trace


def open_link() -> None:
    """Take over the model and text of the address when it is not the one we wrote ourselves."""
    link = {name: st.query_params[name] for name in PARAMETERS if name in st.query_params}
    state = st.session_state
    from_other_page = "link" in state and "text" not in state  # which keeps no widget's value
    if link == state.get("link") or (not link and from_other_page):
        return
    state["link"], state["link_wish"] = link, link
    session.ask(text=_linked_text(link))
    state["text"] = session.asked()[1]
    if link.get("model", session.asked()[0]) != session.asked()[0]:
        state["offered_model"] = link["model"]  # loaded only on a click: links come from strangers


def _linked_text(link: dict[str, str]) -> str:
    """The text a link stands for; of a long one it only knows the digest."""
    here = session.asked()[1]
    if "long" in link:
        st.session_state["lost_text"] = link["long"] != session.digest(here)
        return session.FIRST_TEXT if st.session_state["lost_text"] else here
    text = link.get("text", "")
    return text if text.strip() and text_for_link(text) else session.FIRST_TEXT


def model_bar() -> None:
    """Which model, in one line, and the way to another one."""
    home = session.default_model()
    with st.container(horizontal=True, vertical_alignment="center", key="bar"):
        st.markdown("**MoEViz**", width="content")
        st.space("stretch")
        st.caption(plain(session.shown_facts()), width="content")
        with st.popover("Change model"):
            st.text_input(
                "Hub id or local folder",
                key="model_field",
                placeholder="allenai/OLMoE-1B-7B-0924",
                on_change=_ask_model,
            )
            st.caption("Press Enter to load it. The page stays as it is until the model is ready.")
            back = f"Back to {plain(model_name(home))}"
            st.button(
                back, on_click=session.ask, kwargs={"model": home},
                disabled=session.shown_model() == home,
            )  # fmt: skip


def _ask_model() -> None:
    name = st.session_state["model_field"].strip()
    if name:
        session.ask(model=name)


def text_box() -> None:
    """The text to trace: an area, its examples, and Run."""
    st.session_state.setdefault("text", session.asked()[1])
    st.pills(
        "Examples", list(EXAMPLES), key="example", on_change=_ask_example,
        label_visibility="collapsed",
    )  # fmt: skip
    with st.form("ask", border=False):
        st.text_area("Text", key="text", height=108, label_visibility="collapsed",
                     placeholder="Type or paste any text, in any language")  # fmt: skip
        st.form_submit_button("Run", type="primary", on_click=_ask_text, help="Ctrl + Enter")


def _ask_text() -> None:
    st.session_state["lost_text"] = False
    st.session_state["example"] = None
    session.ask(text=st.session_state["text"])


def _ask_example() -> None:
    st.session_state["lost_text"] = False
    name = st.session_state["example"]
    if name in EXAMPLES:
        st.session_state["text"] = EXAMPLES[name]
        session.ask(text=EXAMPLES[name])


def link_notes() -> None:
    """What a link could not bring by itself: a long text, or a model the visitor has to want."""
    if st.session_state.get("lost_text"):
        st.info("This link was made with a text too long for an address. Paste it here to see it.")
    name = st.session_state.get("offered_model")
    if not name:
        return
    with st.container(horizontal=True, vertical_alignment="center"):
        st.info(f"This link was made with the model {plain(name)}.")
        st.button("Load it", on_click=_accept_model)


def _accept_model() -> None:
    session.ask(model=st.session_state.pop("offered_model"))


def waiting(slot: DeltaGenerator) -> AbstractContextManager:
    """Says in `slot` that a model is being loaded; a mere new text is too quick for words."""
    name = session.asked()[0]
    if name == st.session_state.get("shown", ("",))[0]:
        return nullcontext()
    return slot.container().spinner(f"Loading the model {plain(model_name(name))}")


# ---- what to see


def current_view(trace: RoutingTrace) -> View:
    """The visitor's view of this trace; a new text keeps the layer and the scales."""
    state = st.session_state
    if "link_wish" in state:
        state["view"], state["view_of"] = from_link(state.pop("link_wish"), trace), trace.key
    elif state.get("view_of") != trace.key:
        fresh, old = first_view(trace), state.get("view")
        kept = {"row": old.row, "colour": old.colour, "cells": old.cells} if old else {}
        state["view"], state["view_of"] = changed(fresh, trace, kept), trace.key
    return state["view"]


def set_view(trace: RoutingTrace, wish: dict) -> None:
    """Move the visitor's view; anything that does not fit the trace is passed over."""
    st.session_state["view"] = changed(st.session_state["view"], trace, wish)


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
    """The trace and the table as files; made only when asked for, and nothing runs again."""
    name = re.sub(r"[^\w.-]+", "-", trace.source.model).strip("-") or "model"
    stem = f"moeviz-{name}-{trace.key[:8]}"
    with st.container(horizontal=True, vertical_alignment="center", key="downloads"):
        st.download_button(
            "Trace (.moetrace)", lambda: trace_bytes(trace), f"{stem}.moetrace",
            "application/octet-stream", on_click="ignore",
        )  # fmt: skip
        st.download_button(
            "Table (.csv)", lambda: routing_csv(trace), f"{stem}.csv", "text/csv",
            on_click="ignore",
        )  # fmt: skip
        link = "The address of this page restores this view."
        if text_for_link(trace.tokens.source) is None:
            link = "The text is too long for a link: the address restores all but the text."
        st.caption(f"{link} Open a trace again with moeviz.open_trace in Python.")


def write_link(trace: RoutingTrace, view: View) -> None:
    """Put the view into the address, so that copying it shares what is on screen."""
    model, text = st.session_state["shown"]
    link = to_link(view, trace)
    if model != session.default_model():
        link["model"] = model
    if text != session.FIRST_TEXT:
        link |= {"text": text} if text_for_link(text) else {"long": session.digest(text)}
    st.session_state["link"] = link
    there = st.query_params.to_dict()
    others = {name: value for name, value in there.items() if name not in PARAMETERS}
    if there != {**others, **link}:
        st.query_params.from_dict({**others, **link})


def _strip(trace: RoutingTrace, view: View) -> None:
    options = (view.row, view.colour)
    _drawn("strip", trace, options, lambda: strip_picture(trace, *options), token_strip)


def _grid(kind: str, trace: RoutingTrace, options: tuple, make: Callable[[], Picture]) -> None:
    _drawn(kind, trace, options, make, heat_grid)


def _drawn(
    kind: str,
    trace: RoutingTrace,
    options: tuple,
    make: Callable[[], Picture],
    draw: Callable[[bytes, str, Callable[[], None]], None],
) -> None:
    """Draw one picture, or say in its place why it cannot be had."""
    try:
        picture = session.drawn(kind, trace.key, options, lambda: packed(make()))
    except TraceError as error:
        st.info(plain(str(error)))
        return
    draw(picture, kind, lambda: _take_pick(trace, kind))


def _take_pick(trace: RoutingTrace, kind: str) -> None:
    pick = picked(kind)
    wish = {name: pick[name] for name in ("row", "expert", "token") if name in pick}
    set_view(trace, wish)
    step = pick.get("step")
    st.session_state["step"] = step if isinstance(step, int) else 0


@st.cache_resource(max_entries=16, scope="session", show_spinner=False)
def _load(key: str, _trace: RoutingTrace) -> Load:
    return expert_load(_trace)


@st.cache_resource(max_entries=16, scope="session", show_spinner=False)
def _top(key: str, _trace: RoutingTrace) -> float:
    return top_probability(_trace)


def _layer_chance(trace: RoutingTrace, row: int) -> LoadChance:
    experts, chosen = (int(x[row]) for x in layer_sizes(trace))
    return _chance(trace.shape[1], experts, chosen)


@st.cache_resource(max_entries=256, show_spinner=False)
def _chance(tokens: int, experts: int, chosen: int) -> LoadChance:
    return load_chance(tokens, experts, chosen)
