"""What one visitor asked for, and the models that all visitors share.

A visitor's text and traces live in that visitor's session and nowhere else. On screen is either
what the model did with the text of the box, or a kept trace: one from a file, or one just
generated, which no text and model would give again.
"""

from __future__ import annotations

import hashlib
import os
import secrets
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import streamlit as st

from moeviz.charts.words import model_name, plural
from moeviz.rules.words import short_count
from moeviz.trace import MoevizError, RoutingTrace
from moeviz.ui.examples import MIXED as FIRST_TEXT
from moeviz.ui.hosted import check_model
from moeviz.ui.house import longest_text, most_new_tokens
from moeviz.ui.memory import once, run_once
from moeviz.ui.served import WITHOUT_MODEL, on_server, served_name, served_trace
from moeviz.ui.shelf import how, shelf

if TYPE_CHECKING:
    from moeviz.models import LoadedModel, LoadPlan

MOST_KEPT = 4
"""Traces kept in one session, so that going back finds them; the oldest makes room."""

MOST_CELLS = 50_000_000
"""Choices, and tokens times experts, of a trace that a page can still draw."""


@dataclass(frozen=True)
class Kept:
    """A trace shown as it is. origin: "uploaded" or "generated"; name: of its file, or ""."""

    trace: RoutingTrace
    origin: str
    name: str = ""


def default_model() -> str:
    """The model a visit starts with: the demo, or what MOEVIZ_MODEL names."""
    return os.environ.get("MOEVIZ_MODEL", "demo")


def loaded(name: str) -> LoadedModel:
    """The model `name`, loaded once for all visitors; raises MoevizError for one on a server."""
    if on_server(name):
        raise MoevizError(WITHOUT_MODEL.format(name=name))
    return shelf().take(name)


def planned(name: str) -> LoadPlan:
    """What loading `name` would take; raises MoevizError when it leads nowhere."""
    check_model(name)
    from moeviz.models import plan_load  # late: torch takes seconds

    return plan_load(**how(name))


def text_trace(model: str, text: str) -> RoutingTrace:
    """What `model` does with `text`; the same pair is traced once in a session.

    Of an encoder-decoder it is the part that the visitor wants to see. A model on a server is
    asked there; raises MoevizError where that fails.
    """
    wanted = st.session_state.get("stack")
    stack = wanted if wanted in stacks(model) else ""
    if not on_server(model):
        return _traced(model, stack, text)
    with st.spinner("Asking the server"):
        return _traced(model, stack, text)


def traced_again(trace: RoutingTrace) -> RoutingTrace:
    """What the model named by a kept trace does, here and now, with the same text.

    Raises MoevizError where it is not the same routing: another version, number format or device
    moves routes, and a generated text may be cut into other tokens.
    """
    model, text = trace.source.model, trace.tokens.source
    again = _traced(model, trace.router.stack, text)
    same = np.array_equal(again.tokens.ids, trace.tokens.ids)
    order = (lambda ids: ids) if trace.ranked else (lambda ids: np.sort(ids, axis=-1))
    if not same or not np.array_equal(order(again.experts), order(trace.experts)):
        raise MoevizError(
            f"{model_name(model)}, as it runs here, routes this text otherwise than the trace "
            "does, so enforcing would compare two different things. Run the text itself instead."
        )
    return again


def stacks(model: str) -> tuple[str, ...]:
    """The parts of `model` that are routed: one, or encoder and decoder. Servers do not tell."""
    if on_server(model):
        return ()
    routers = loaded(model).routers
    return tuple(stack for stack in ("encoder", "decoder") if stack in routers)


def digest(text: str) -> str:
    """A short name for a text, the same wherever it is computed: 128 bits of its SHA-256."""
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:32]


def _traced(model: str, stack: str, text: str) -> RoutingTrace:
    key = ("trace", model, stack, digest(text))
    if on_server(model):
        return once(lambda: served_trace(model, text), *key)

    def run() -> RoutingTrace:
        from moeviz.models import trace_text  # late: torch takes seconds

        return trace_text(loaded(model), text, logits=True, truncate=True, stack=stack)

    return run_once(run, *key)


def drawn(kind: str, key: str, options: tuple, make: Callable[[], bytes]) -> bytes:
    """The picture `kind` of the trace `key` under `options`, made once in a session."""
    return once(make, "picture", kind, key, options)


def asked() -> tuple[str, str]:
    """(model, text) the visitor wants to see."""
    state = st.session_state
    state.setdefault("asked_model", default_model())
    state.setdefault("asked_text", FIRST_TEXT)
    return state["asked_model"], state["asked_text"]


def show_trace(trace: RoutingTrace, origin: str, name: str = "") -> None:
    """Show this trace from now on, until `back_to_text`; raises MoevizError for one too large."""
    keep_trace(trace, origin, name)
    st.session_state["kept"] = trace.key


def keep_trace(trace: RoutingTrace, origin: str, name: str = "") -> None:
    """Keep this trace without showing it; raises MoevizError for one too large."""
    layers, tokens, experts, chosen = trace.shape
    if max(tokens * experts, layers * tokens * chosen) > MOST_CELLS:
        raise MoevizError(
            f"This trace is too large for the screen: {plural(tokens, 'token')}, "
            f"{plural(layers, 'layer')} and {plural(experts, 'expert')}. Open it in Python with "
            "moeviz.open_trace."
        )
    found = kept_traces()
    found.pop(trace.key, None)
    found[trace.key] = Kept(trace, origin, name)
    while len(found) > MOST_KEPT:
        del found[next(key for key in found if key != st.session_state.get("kept"))]


def back_to_text() -> None:
    """Show what the model does with the text again; kept traces stay to be found by key."""
    st.session_state["kept"] = None


def kept_traces() -> dict[str, Kept]:
    """The traces kept in this session by key, the newest last."""
    return st.session_state.setdefault("kept_traces", {})


def kept() -> Kept | None:
    """The kept trace on screen; None while it shows a text."""
    return kept_traces().get(st.session_state.get("kept"))


def shown() -> tuple[str, str]:
    """(model, text) of what is on screen; of a kept trace, as the trace names them.

    Before anything was traced, what was asked for.
    """
    here = kept()
    if here is None:
        return st.session_state.get("shown", asked())
    return here.trace.source.model, here.trace.tokens.source


def ask(model: str | None = None, text: str | None = None) -> None:
    """Note a new wish; it is tried when the page runs next."""
    back_to_text()
    old_model, old_text = asked()
    st.session_state["asked_model"] = old_model if model is None else model
    st.session_state["asked_text"] = old_text if text is None else text


def shown_trace(prepare: Callable[[str], object] = loaded) -> tuple[RoutingTrace | None, str]:
    """The trace to show and a sentence of trouble, "" for none.

    prepare: called with the name of the model before it is needed; may say how far it is.
    A wish that fails leaves what was shown before in place, whatever became of its model.
    """
    wish, state = asked(), st.session_state
    shown = state.get("shown")
    try:
        if wish != shown:
            check_text(wish[1])
            prepare(wish[0])
        trace = text_trace(*wish)
        if wish != shown:
            state["trouble"] = ""
        state["shown"], state["shown_trace"] = wish, trace
        return trace, state.get("trouble", "")
    except MoevizError as error:
        state["trouble"] = str(error)
    if shown is not None:
        state["asked_model"], state["asked_text"] = shown
    return state.get("shown_trace"), state["trouble"]


def model_facts(name: str, trace: RoutingTrace) -> str:
    """One line on the model `name`: layers, experts, choices, parameters, number format, place.

    Of a kept trace it is what the trace itself tells: its model need not be here.
    """
    layers, _, experts, chosen = trace.shape
    source = trace.source
    parts = [
        served_name(source.model, name) if on_server(name) else model_name(how(name)["name"]),
        plural(layers, "routed layer"),
        f"top-{chosen} of {plural(experts, 'expert')}",
        "" if kept() or on_server(name) else f"{short_count(loaded(name).parameters)} parameters",
        f"{source.dtype} on {source.device}" if source.dtype and source.device else source.dtype,
    ]
    return " · ".join(part for part in parts if part)


def writer_facts(name: str) -> str:
    """The same line on a model that has not read anything yet."""
    model = loaded(name)
    router = model.routers.get("decoder", model.router)
    return " · ".join(
        [
            model_name(name),
            plural(sum(site.stack == router.stack for site in model.sites), "routed layer"),
            f"top-{router.chosen} of {plural(router.experts, 'expert')}",
            f"{short_count(model.parameters)} parameters",
            f"{model.dtype} on {model.device}",
        ]
    )


def check_text(text: str) -> None:
    """Raises MoevizError for what is no text: nothing at all, far too much, or binary data."""
    if not text.strip():
        raise MoevizError("There is no text yet. Type or paste some, or pick an example.")
    if len(text) > longest_text():
        raise MoevizError(
            f"The text has {len(text):,} characters; paste at most {longest_text():,} at a time."
        )
    control = sum(1 for c in text if (ord(c) < 32 and c not in "\t\n\r\f") or ord(c) == 127)
    if control > max(2, 0.05 * len(text)):
        raise MoevizError(
            f"This looks like binary data rather than text: {control:,} of {len(text):,} "
            "characters are control codes. Paste text instead."
        )


def check_new_tokens(count: int) -> None:
    """Raises MoevizError for more tokens than this server writes at a time."""
    most = most_new_tokens(count)
    if count > most:
        raise MoevizError(f"This server writes at most {most:,} tokens at a time, not {count:,}.")


def text_note(text: str) -> str:
    """A sentence the reader should know about the text itself, "" for none."""
    broken = text.count("\ufffd")
    if not broken:
        return ""
    signs = "sign" if broken == 1 else "signs"
    return (
        f"The text holds {broken:,} replacement {signs} (\ufffd): something in it was broken "
        "before it was read, such as half a character or a wrong encoding."
    )


def visit() -> str:
    """A name for this visit, the same until the page is loaded anew."""
    return st.session_state.setdefault("visit", secrets.token_hex(4))
