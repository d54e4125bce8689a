"""Models on vLLM and SGLang servers, which a visitor names by an address instead of a hub id.

A name is the server's address; after # may follow where the model's configuration is, for a
server whose own name for the model tells nobody: http://localhost:8000#Qwen/Qwen3-30B-A3B.
"""

from __future__ import annotations

import os

import streamlit as st

from moeviz.trace import MoevizError, RoutingTrace
from moeviz.ui.hosted import check_model
from moeviz.ui.house import check_server, may_have_key

WITHOUT_MODEL = (
    "{name} is on a server, which hands out choices and nothing else. This needs the model itself: "
    "load one with Change model."
)


def on_server(name: str) -> bool:
    """Whether a model's name is the address of a server."""
    return name.lower().startswith(("http://", "https://"))


def address_of(name: str) -> str:
    """The address alone, without the place of the configuration."""
    return name.partition("#")[0]


def served_name(model: str, name: str) -> str:
    """What to call the model on screen: "Qwen3 on localhost:8000"."""
    return f"{model} on {address_of(name).partition('://')[2]}"


def want(name: str) -> None:
    """The visitor typed this address, or said yes to it: from now on texts may go there."""
    if on_server(name):
        _wanted().add(name)


def wanted(name: str) -> bool:
    """Whether the visitor, or whoever started the app, asked for this server."""
    return name in _wanted() or (on_server(name) and name == os.environ.get("MOEVIZ_MODEL"))


def served_trace(name: str, text: str) -> RoutingTrace:
    """What the model on the server does with `text`.

    Raises MoevizError for a server that may not be asked, since links come from strangers and the
    house has its rules, and where its answer is none.
    """
    address, config = address_of(name), name.partition("#")[2]
    check_model(name)
    check_server(address)
    if not wanted(name):
        raise MoevizError(
            f"This would send your text to {name}, which you have not asked for. If you trust it, "
            "name it under Change model."
        )
    from moeviz.serving.ask import ask_server  # late: only who asks a server needs it

    return ask_server(address, text, config=config or None, send_key=may_have_key(address))


def _wanted() -> set[str]:
    return st.session_state.setdefault("wanted_servers", set())
