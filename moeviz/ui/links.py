"""The page's address: what is on screen, as a link that brings it back.

Every value that comes in is checked; a link never loads a model by itself.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import streamlit as st

from moeviz.trace import RoutingTrace
from moeviz.ui import against, draft, lab_setting, pairs, session, setting
from moeviz.ui.hosted import may_use
from moeviz.ui.lent import lent
from moeviz.ui.picker import forget_offer, ways_to_load
from moeviz.ui.served import on_server, want
from moeviz.ui.terms import inform
from moeviz.ui.view import (
    View,
    changed,
    first_view,
    from_link,
    known_cells,
    text_for_link,
    to_link,
)

PARAMETERS = ("model", "text", "long", "trace", "layer", "expert", "token", "until", "colour",
              "cells", "columns", "look", "measure", "step", "rule", "swept",
              *setting.PARAMETERS, *lab_setting.PARAMETERS, *against.PARAMETERS,
              *draft.PARAMETERS, *pairs.PARAMETERS)  # fmt: skip


def open_link() -> None:
    """Take over the model and text of the address when it is not the one we wrote ourselves."""
    link = {name: st.query_params[name] for name in PARAMETERS if name in st.query_params}
    state = st.session_state
    from_other_page = "link" in state and "model_field" not in state  # its widgets are gone
    if link == state.get("link") or (not link and from_other_page):
        return
    state["link"], state["link_wish"] = link, link
    state["kept"] = link.get("trace")
    state["lost_trace"] = link if "trace" in link and session.kept() is None else None
    if session.kept():
        return
    session.ask(text=_linked_text(link))
    state["text"] = session.asked()[1]
    if link.get("model", session.asked()[0]) != session.asked()[0]:
        state["offered_model"] = link["model"]  # loaded only on a click: links come from strangers


def _linked_text(link: dict[str, str]) -> str:
    """The text a link stands for; of a long one it only knows the content key."""
    here = session.asked()[1]
    if "long" in link:
        found = here if link["long"] == session.digest(here) else lent().get(link["long"])
        st.session_state["lost_text"] = found is None
        return session.FIRST_TEXT if found is None else found
    text = link.get("text", "")
    return text if text.strip() and text_for_link(text) else session.FIRST_TEXT


def write_link(trace: RoutingTrace, view: View, rest: Mapping[str, str] | None = None) -> None:
    """Put the view into the address, so that copying it shares what is on screen.

    rest: what else this page's address holds.
    """
    put_link({**to_link(view, trace), **subject(), **(rest or {})})


def put_link(link: Mapping[str, str], names: Sequence[str] = ()) -> None:
    """Make `link` the address; parameters that are neither ours nor among `names` stay."""
    st.session_state["link"] = {name: link[name] for name in PARAMETERS if name in link}
    there = st.query_params.to_dict()
    ours = {*PARAMETERS, *names}
    others = {name: value for name, value in there.items() if name not in ours}
    if there != {**others, **link}:
        st.query_params.from_dict({**others, **link})


def model_link() -> dict[str, str]:
    """The model asked for, as a link parameter; nothing for the one a visit starts with."""
    model = session.asked()[0]
    return {} if model == session.default_model() else {"model": model}


def subject() -> dict[str, str]:
    """What the view is of, as link parameters: a kept trace by its key, else model and text."""
    here = session.kept()
    if here:
        return {"trace": here.trace.key}
    model, text = session.shown()
    link = {} if model == session.default_model() else {"model": model}
    if text == session.FIRST_TEXT:
        return link
    return link | ({"text": text} if text_for_link(text) else {"long": session.digest(text)})


def current_view(trace: RoutingTrace) -> View:
    """The visitor's view of this trace; a new text keeps the layer and the scales."""
    state = st.session_state
    if "link_wish" not in state and state.get("view_of") == trace.key:
        return state["view"]
    first = first_view(trace)
    if "link_wish" in state:
        state["view"] = from_link(state.pop("link_wish"), trace)
    else:
        state["view"] = changed(first, trace, _kept_of(state.get("view"), trace))
    state["view_of"], state["first_cells"] = trace.key, first.cells
    return state["view"]


def _kept_of(old: View | None, trace: RoutingTrace) -> dict[str, object]:
    """What the view of another trace leaves as it was."""
    if old is None:
        return {}
    names = ["row", "colour", "columns", "look", "measure"]
    if old.cells in known_cells(trace) and old.cells != st.session_state["first_cells"]:
        names.append("cells")  # chosen, not what the other trace happened to have
    return {name: getattr(old, name) for name in names}


def set_view(trace: RoutingTrace, wish: dict) -> None:
    """Move the visitor's view; anything that does not fit the trace is passed over."""
    st.session_state["view"] = changed(st.session_state["view"], trace, wish)


def nothing_lost() -> None:
    """The visitor moved on from what a link could not bring."""
    st.session_state["lost_text"], st.session_state["lost_trace"] = False, None


def open_trace(trace: RoutingTrace, origin: str, name: str = "") -> None:
    """Show a trace as it is; when it is the one a link asked for, as that link shows it."""
    session.show_trace(trace, origin, name)
    lost = st.session_state.get("lost_trace")
    if lost and lost["trace"] == trace.key:
        st.session_state["link_wish"] = lost
    nothing_lost()


def link_notes() -> None:
    """What a link could not bring: a trace, a long text, or a model the visitor has to want."""
    if st.session_state.get("lost_trace"):
        inform("This link was made with a trace that is not here. Open its file to see it.")
    if st.session_state.get("lost_text"):
        inform("This link was made with a text too long for an address. Paste it here to see it.")
    name = st.session_state.get("offered_model")
    if not name:
        return
    if not may_use(name):
        forget_offer()
        said = f"This link was made with the model {name}, which this server does not offer."
        inform(said)
        return
    said = f"This link was made with the model {name}."
    if on_server(name):
        said = f"This link asks the server {name}, which would read your text."
    inform(st.session_state.get("offer", said))
    with st.container(horizontal=True, vertical_alignment="bottom", gap="medium"):
        if "offer" in st.session_state:
            ways_to_load(name)
        accept = "Ask it" if on_server(name) else "Load it"
        st.button(accept, on_click=_accept_model, type="primary")
        st.button("Not now", on_click=forget_offer)


def _accept_model() -> None:
    name = st.session_state.pop("offered_model")
    if st.session_state.pop("offer", ""):
        st.session_state["agreed"] = name  # its size was read just now
    want(name)
    session.ask(model=name)
