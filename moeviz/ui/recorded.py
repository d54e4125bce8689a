"""Files that a visitor opens: saved traces, and routing that other programs recorded."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import streamlit as st

from moeviz.store.files import read_trace
from moeviz.store.readers import SUFFIXES, recorded_trace
from moeviz.store.record import Told, Untold
from moeviz.trace import MOST_EXPERTS, MoevizError, RoutingTrace
from moeviz.ui import links
from moeviz.ui.hosted import File, check_model, check_upload
from moeviz.ui.markdown import plain

KINDS = ("moetrace", *(suffix[1:] for suffix in SUFFIXES))
"""Endings of files that can be opened."""

LABELS = {"num_experts": "Experts in a layer", "chosen": "Experts that a token takes"}
"""What may have to be asked of a record, and the words on screen."""


@dataclass(frozen=True)
class Waiting:
    """A file that cannot be opened before a question is answered; told: what was said so far."""

    data: bytes
    name: str
    question: str
    wanted: str
    told: dict[str, object] = field(default_factory=dict)


def read_file(data: bytes, name: str) -> RoutingTrace:
    """The trace in a file that the visitor chose; raises Untold where it leaves a number open."""
    if Path(name).suffix.lower() in SUFFIXES:
        return recorded_trace(data, name, Told())
    return read_trace(data, name)


LARGEST_FILE = 100
"""Megabytes of a file that can be opened: a trace of 4,096 tokens, 48 layers and 128 experts."""


def data_of(file: File) -> bytes:
    """The bytes of an uploaded file; raises MoevizError for one larger than this server takes."""
    check_upload(file, LARGEST_FILE)
    return file.getvalue()


def open_file(file: File) -> None:
    """Show the trace in the file, or keep the file until the visitor has told what it does not."""
    st.session_state["file_waiting"] = None
    data, name = data_of(file), file.name
    try:
        links.open_trace(read_file(data, name), "uploaded", name)
    except Untold as error:
        st.session_state["file_waiting"] = Waiting(data, name, str(error), error.wanted)


def question() -> None:
    """What a file that was just opened does not say, and a place for the answer."""
    state, trouble = st.session_state, st.session_state.pop("answer_trouble", "")
    waiting = state.get("file_waiting")
    if waiting is None:
        return
    with st.form("record"):
        st.markdown(plain(waiting.question))
        with st.container(horizontal=True, vertical_alignment="bottom"):
            st.number_input(
                LABELS[waiting.wanted], 0, MOST_EXPERTS, value=0, key="record_number", width=220
            )
            st.text_input(
                "or the model, whose configuration says it", key="record_model", width=320,
                placeholder="Qwen/Qwen3-30B-A3B",
            )  # fmt: skip
        with st.container(horizontal=True):
            st.form_submit_button("Open the file", type="primary", on_click=_answer)
            st.form_submit_button("Leave it", on_click=_leave)
    if trouble:
        st.error(plain(trouble))


def _leave() -> None:
    st.session_state["file_waiting"] = None


def _answer() -> None:
    """Try the file again with what the visitor said; what is still wrong is said below the form."""
    state = st.session_state
    waiting: Waiting = state["file_waiting"]
    try:
        told = {**waiting.told, **_said(state["record_model"].strip())}
        if state["record_number"]:
            told[waiting.wanted] = state["record_number"]
        trace = recorded_trace(waiting.data, waiting.name, Told(**told))
        links.open_trace(trace, "uploaded", waiting.name)
        state["file_waiting"] = None
    except Untold as error:
        state["file_waiting"] = Waiting(waiting.data, waiting.name, str(error), error.wanted, told)
    except MoevizError as error:
        state["answer_trouble"] = str(error)


def _said(model: str) -> dict[str, object]:
    if not model:
        return {}
    check_model(model)
    from moeviz.serving.sizes import told_of  # late: needed for this question only

    told = told_of(model)
    if not told:
        raise MoevizError(
            f"No configuration of {model} was found here or on the hub. Give the number instead."
        )
    return {**told, "model": model}
