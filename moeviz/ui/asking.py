"""Controls of the Specialise page: each changes the visitor's inquiry and nothing else."""

from __future__ import annotations

from collections.abc import Mapping

import streamlit as st

from moeviz.charts.specialise_words import expert_words
from moeviz.corpora.routing import CorpusRouting
from moeviz.metrics.apart import Apart
from moeviz.trace import layer_names
from moeviz.ui import links
from moeviz.ui.inquiry import MOST_SEED, PARAMETERS, Inquiry, changed, from_link, to_link

MOST_BUTTONS = 24
"""Layers or experts shown as buttons; more become a slider or a number."""


def open_link() -> None:
    """Take over what the address asks for when it is not the one we wrote ourselves."""
    state = st.session_state
    here = {name: st.query_params[name] for name in PARAMETERS if name in st.query_params}
    if "inquiry" not in state or (here and here != state["inquiry_link"]):
        state["inquiry"], state["inquiry_link"] = from_link(here), here
    state["search"] = state["inquiry"].ask


def current() -> Inquiry:
    """The visitor's inquiry."""
    return st.session_state["inquiry"]


def wish(**parts: object) -> None:
    """Change the inquiry; what makes no sense is passed over."""
    st.session_state["inquiry"] = changed(st.session_state["inquiry"], parts)


def write_link() -> None:
    """Put the inquiry into the address, so that copying it shares what is on screen."""
    link = to_link(st.session_state["inquiry"])
    st.session_state["inquiry_link"] = link
    links.put_link(link | links.model_link(), PARAMETERS)


def choice(label: str, name: str, options: Mapping[str, str], value: str, key: str = "") -> None:
    """Buttons for one part of the inquiry, every choice in sight; key: of a second such widget."""
    key = f"ask_{key or name}"
    st.session_state[key] = value

    def take() -> None:
        wish(**{name: st.session_state[key]})

    st.segmented_control(
        label, list(options), key=key, required=True, wrap=True, on_change=take,
        format_func=lambda option: options.get(option, option),
    )  # fmt: skip


def number(label: str, name: str, value: int) -> None:
    """A whole number for one part of the inquiry."""
    key = f"ask_{name}"
    st.session_state[key] = value

    def take() -> None:
        wish(**{name: int(st.session_state[key])})

    st.number_input(
        label, min_value=0, max_value=MOST_SEED, step=1, key=key, width=150, on_change=take
    )


def slider(label: str, name: str, low: int, high: int, value: int) -> None:
    """A whole number from a range for one part of the inquiry."""
    key = f"ask_{name}"
    st.session_state[key] = value

    def take() -> None:
        wish(**{name: int(st.session_state[key])})

    st.slider(label, low, high, key=key, on_change=take, width=420)


def place_of(routing: CorpusRouting, inquiry: Inquiry) -> tuple[int, int]:
    """(layer row, expert) of the inquiry, or the middle layer's first expert for what is not set.

    Twin rows of one layer are told apart by a letter, as everywhere.
    """
    labels = layer_labels(routing)
    row = labels.index(inquiry.layer) if inquiry.layer in labels else len(labels) // 2
    expert = inquiry.expert if inquiry.expert is not None else 0
    return row, min(expert, int(routing.experts[row]) - 1)


def layer_labels(routing: CorpusRouting) -> list[str]:
    """A name for each routed layer."""
    return layer_names(routing.layers)


def layer_choice(routing: CorpusRouting, inquiry: Inquiry) -> int:
    """The layer's buttons, or a slider where there are many; hands back the row."""
    labels, (row, _) = layer_labels(routing), place_of(routing, inquiry)
    key = "ask_layer"
    st.session_state[key] = labels[row]

    def take() -> None:
        wish(layer=st.session_state[key])

    if len(labels) == 1:
        return row
    if len(labels) <= MOST_BUTTONS:
        st.segmented_control("Layer", labels, key=key, required=True, wrap=True, on_change=take)
    else:
        st.select_slider("Layer", labels, key=key, on_change=take)
    return row


def expert_choice(routing: CorpusRouting, inquiry: Inquiry) -> tuple[int, int]:
    """Layer and expert; hands back (row, expert)."""
    row = layer_choice(routing, inquiry)
    _, expert = place_of(routing, inquiry)
    key, most = "ask_expert", int(routing.experts[row]) - 1
    st.session_state[key] = expert

    def take() -> None:
        wish(expert=int(st.session_state[key]))

    st.number_input(
        f"Expert (0 to {most})", min_value=0, max_value=most, step=1, key=key, width=150,
        on_change=take,
    )  # fmt: skip
    return row, expert


def open_card(layer: str, expert: int) -> None:
    """Show that expert's card."""
    wish(section="experts", layer=layer, expert=expert)


def expert_button(routing: CorpusRouting, row: int, expert: int, words: str, where: str) -> None:
    """A button that opens an expert's card."""
    layer = layer_labels(routing)[row]
    st.button(
        f"**Layer {layer} · expert {expert}** — {words}", key=f"{where}-{layer}-{expert}",
        type="tertiary", on_click=open_card, args=(layer, expert),
    )  # fmt: skip


def expert_buttons(routing: CorpusRouting, found: Apart, where: str, most: int = 8) -> None:
    """A button for each of the experts that set some passages apart."""
    with st.container(gap=None):
        for row, expert in found.best(most):
            expert_button(routing, row, expert, expert_words(found, row, expert), where)
