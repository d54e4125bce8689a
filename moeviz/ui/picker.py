"""Which model to load, and how: what is on this machine, what a load takes, and what is loaded."""

from __future__ import annotations

import streamlit as st

from moeviz.charts.capacity_words import byte_count
from moeviz.charts.words import model_name
from moeviz.trace import MoevizError
from moeviz.ui import session
from moeviz.ui.at_hand import at_hand, cached_models, download_size
from moeviz.ui.markdown import plain
from moeviz.ui.shelf import DTYPES, how, named, shelf

MANY = 6
"""Models listed before the list scrolls."""


def models_here() -> None:
    """The models on this machine, to load with a click, and those in memory, to let go of."""
    home, found = session.default_model(), {m.name: m.bytes for m in cached_models()}
    state, names = st.session_state, [home, *(n for n in found if n != home)]
    here = session.asked()[0]
    state["picked_model"] = next((n for n in (here, how(here)["name"]) if n in names), None)

    def label(name: str) -> str:
        size = f" · {byte_count(found[name])}" if name in found else ""
        return plain(f"{model_name(name)}{size}")

    height = 260 if len(names) > MANY else "content"
    with st.container(height=height, border=False):
        st.radio("On this machine", names, key="picked_model", format_func=label, on_change=_take)
    others = [name for name in shelf().names() if name != home]
    for name in others:
        st.button(
            plain(f"Unload {model_name(name)}"), key=f"unload {name}", on_click=_unload,
            args=(name,), help="Frees its memory, for everybody on this server.",
        )  # fmt: skip


def terms(name: str) -> str:
    """What loading `name` takes, in sentences; raises MoevizError when it leads nowhere."""
    sentence = str(session.planned(name))
    if at_hand(name):
        return sentence
    size = download_size(name)
    return f"{sentence} First they are downloaded" + (f": {byte_count(size)}." if size else ".")


def ways_to_load(name: str) -> None:
    """Number format and device for the model that is offered, where there is a choice."""
    from moeviz.models.plan import devices  # late: torch takes seconds

    state, wish = st.session_state, how(name)
    places = ("auto", *devices())
    state["offer_dtype"], state["offer_device"] = wish["dtype"], wish["device"]
    st.segmented_control(
        "Number format", ("auto", *DTYPES), key="offer_dtype", required=True, wrap=True,
        on_change=_change_way,
    )  # fmt: skip
    if len(places) > 2:
        st.segmented_control(
            "Device", places, key="offer_device", required=True, wrap=True, on_change=_change_way
        )


def _change_way() -> None:
    state = st.session_state
    base = how(state["offered_model"])["name"]
    state["offered_model"] = named(base, state["offer_dtype"], state.get("offer_device", "auto"))
    try:
        state["offer"] = terms(state["offered_model"])
    except MoevizError as error:
        state["offer"] = str(error)


def forget_offer() -> None:
    """The visitor wants no model that was offered."""
    for name in ("offered_model", "offer"):
        st.session_state.pop(name, None)


def _take() -> None:
    name = st.session_state["picked_model"]
    if name:
        forget_offer()
        session.ask(model=name)


def _unload(name: str) -> None:
    shelf().drop(name)
    if session.asked()[0] == name:
        session.ask(model=session.default_model())
