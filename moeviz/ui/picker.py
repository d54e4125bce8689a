"""Which model to load, and how: what is on this machine, what a load takes, and what is loaded."""

from __future__ import annotations

from collections.abc import Callable

import streamlit as st

from moeviz.charts.capacity_words import byte_count
from moeviz.charts.words import model_name
from moeviz.trace import MoevizError
from moeviz.ui import session
from moeviz.ui.at_hand import at_hand, cached_models, disk_size, download_size
from moeviz.ui.hosted import check_model
from moeviz.ui.house import check_server, offered_models, servers
from moeviz.ui.markdown import plain
from moeviz.ui.served import address_of, on_server, want
from moeviz.ui.shelf import DTYPES, how, named, shelf
from moeviz.ui.terms import note

MANY = 6
"""Models listed before the list scrolls."""


FIELD = "Hub id or local folder"
SERVER_FIELD = "Hub id, local folder or server"
"""What a model can be named by: the second where the house lets visitors ask servers."""

ABOUT_SERVERS = (
    "A vLLM or SGLang server: your text goes there, and which experts it chose comes back. It must "
    "have been started with --enable-return-routed-experts. Where its name for the model is no hub "
    "id, add # and one: http://localhost:8000#Qwen/Qwen3-30B-A3B."
)


def models_here() -> None:
    """The models on this machine, to load with a click, and those in memory, to let go of."""
    home, offered = session.default_model(), offered_models()
    found = {m.name: m.bytes for m in cached_models()} if offered is None else {}
    state, names = st.session_state, [home, *(n for n in offered or found if n != home)]
    here = session.asked()[0]
    state["picked_model"] = next((n for n in (here, how(here)["name"]) if n in names), None)

    def label(name: str) -> str:
        size = f" · {byte_count(found[name])}" if name in found else ""
        return plain(f"{model_name(name)}{size}")

    height = 260 if len(names) > MANY else "content"
    with st.container(height=height, border=False):
        st.radio("On this machine", names, key="picked_model", format_func=label, on_change=_take)
    if offered is not None:
        return  # no stranger takes a model away from the others
    others = [name for name in shelf().names() if name != home]
    for name in others:
        st.button(
            plain(f"Unload {model_name(name)}"), key=f"unload {name}", on_click=_unload,
            args=(name,), help="Frees its memory, for everybody on this server.",
        )  # fmt: skip


def terms(name: str) -> str:
    """What loading `name` takes, or asking it where it is a server, in sentences.

    Raises MoevizError when it leads nowhere.
    """
    check_model(name)
    if on_server(name):
        check_server(address_of(name))
        return ABOUT_SERVERS
    sentence = str(session.planned(name))
    if at_hand(name):
        size = disk_size(name)
        return sentence + (f" On disk they take {byte_count(size)}." if size else "")
    size = download_size(name)
    return f"{sentence} First they are downloaded" + (f": {byte_count(size)}." if size else ".")


def model_field(key: str) -> None:
    """A field for a model's name and, once there is one, what its load takes and how to load it.

    Nothing is loaded: `wanted_model` says what to load, when the visitor asks for it.
    """
    state, offered = st.session_state, offered_models()
    if offered is not None:
        st.selectbox("A model of this server", ["", *offered], key=key)
    else:
        label = FIELD if servers() == frozenset() else SERVER_FIELD
        st.text_input(
            label, key=key, placeholder="allenai/OLMoE-1B-7B-0924", on_change=_new_name, args=(key,)
        )
    if not state[key].strip():
        return
    with st.spinner("Reading its configuration"):
        sentence, good = _read(key)
    if good:
        if offered is None and not on_server(state[key].strip()):
            _ways(key)
        note(sentence)
    else:
        st.error(plain(sentence))


def wanted_model(key: str) -> str:
    """The model that the field `key` names, to be loaded as the visitor chose; "" for none."""
    state, found = st.session_state, how(st.session_state[key].strip())
    dtype, device = (state.get(f"{key}_{way}") or found[way] for way in ("dtype", "device"))
    return named(found["name"], dtype, device)


def asked_model(key: str) -> tuple[str, bool]:
    """(`wanted_model` or "" where it leads nowhere, whether the visitor has read what it takes)."""
    name = wanted_model(key)
    seen = st.session_state.get(f"{key}_read", ("",))[0] == name
    if not name or not _read(key)[1]:
        return "", seen
    want(name)
    return name, seen


def _read(key: str) -> tuple[str, bool]:
    """What the wanted model takes, or why it cannot be had, and which; looked up once a name."""
    state, name = st.session_state, wanted_model(key)
    if state.get(f"{key}_read", ("",))[0] != name:
        state[f"{key}_read"] = (name, *_terms_or_trouble(name))
    return state[f"{key}_read"][1:]


def _new_name(key: str) -> None:
    """Another model begins with what its name says of the ways to load it."""
    wish = how(st.session_state[key].strip())
    for way in ("dtype", "device"):
        st.session_state[f"{key}_{way}"] = wish[way]


def _terms_or_trouble(name: str) -> tuple[str, bool]:
    try:
        return terms(name), True
    except MoevizError as error:
        return str(error), False


def _ways(key: str, on_change: Callable[[], None] | None = None) -> None:
    """Number format and device, where there is a choice."""
    from moeviz.models.plan import devices  # late: torch takes seconds

    places = ("auto", *devices())
    for label, way, choices in (
        ("Number format", "dtype", ("auto", *DTYPES)),
        ("Device", "device", places),
    ):
        if len(choices) > 2:
            st.segmented_control(
                label, choices, key=f"{key}_{way}", required=True, wrap=True, on_change=on_change
            )


def ways_to_load(name: str) -> None:
    """Number format and device for the model that is offered, where there is a choice."""
    if offered_models() is not None:
        return
    state, wish = st.session_state, how(name)
    state["offer_dtype"], state["offer_device"] = wish["dtype"], wish["device"]
    _ways("offer", _change_way)


def _change_way() -> None:
    state = st.session_state
    base = how(state["offered_model"])["name"]
    state["offered_model"] = named(base, state["offer_dtype"], state.get("offer_device", "auto"))
    state["offer"] = _terms_or_trouble(state["offered_model"])[0]


def forget_offer() -> None:
    """The visitor wants no model that was offered."""
    for name in ("offered_model", "offer"):
        st.session_state.pop(name, None)


def _take() -> None:
    name = st.session_state["picked_model"]
    if name:
        forget_offer()
        want(name)
        session.ask(model=name)


def _unload(name: str) -> None:
    shelf().drop(name)
    if session.asked()[0] == name:
        session.ask(model=session.default_model())
