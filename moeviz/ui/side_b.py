"""The controls of the Compare page: what to compare with, and the two sides."""

from __future__ import annotations

from collections.abc import Callable

import streamlit as st

from moeviz.corpora.atlas import LANGUAGES
from moeviz.corpora.emergence import load_emergence
from moeviz.rules.words import short_count
from moeviz.store.record import Untold
from moeviz.trace import MoevizError, RoutingTrace
from moeviz.ui import ask, session
from moeviz.ui.against import MOST_NEW, PAIRS, WAYS, Against, set_against
from moeviz.ui.examples import EXAMPLES
from moeviz.ui.hosted import check_model
from moeviz.ui.house import most_megabytes, most_new_tokens
from moeviz.ui.markdown import plain
from moeviz.ui.picker import asked_model, model_field
from moeviz.ui.recorded import LARGEST_FILE, data_of, read_file
from moeviz.ui.served import on_server, want, wanted
from moeviz.ui.shelf import shelf
from moeviz.ui.sides import other_text
from moeviz.ui.terms import inform, lead, note


def way_choice(against: Against) -> None:
    """What to compare with; every choice in sight."""
    state = st.session_state
    state["b_way"] = against.way
    st.segmented_control(
        "Compare with", list(WAYS), key="b_way", required=True, wrap=True, format_func=WAYS.get,
        on_change=lambda: set_against(way=state["b_way"]),
    )  # fmt: skip


def two_sides(against: Against) -> RoutingTrace | None:
    """The controls of both sides; hands back the trace of side A."""
    if against.way == "text" and session.kept() is None:
        st.pills("Pairs to start from", list(PAIRS), key="b_pair", on_change=_take_pair)
    left, right = st.columns(2, gap="medium")
    with left:
        st.markdown("**A**")
        trace = ask.asked_trace()
    with right:
        st.markdown("**B**")
        _SIDE_B[against.way](against)
    return trace


def _take_pair() -> None:
    state = st.session_state
    if state["b_pair"] in PAIRS:
        one, other = PAIRS[state["b_pair"]]
        state["text"] = one
        session.ask(text=one)
        set_against(text=other, lost="")


def _text_box(against: Against) -> None:
    """The text of side B: an area, its examples, and a button."""
    state = st.session_state
    wanted = other_text(against, session.shown()[1])
    if state.get("b_text_for") != wanted or "b_text" not in state:
        state["b_text"] = state["b_text_for"] = wanted  # else what is being typed would be lost
    st.pills(
        "Examples for B", list(EXAMPLES), key="b_example", on_change=_take_example,
        label_visibility="collapsed",
    )  # fmt: skip
    with st.form("b_form", border=False):
        st.text_area("Other text", key="b_text", height=108, label_visibility="collapsed",
                     placeholder="Any text to set beside yours")  # fmt: skip
        st.form_submit_button("Compare", type="primary", on_click=_take_text)
    _trouble()
    if against.lost and against.lost != session.digest(state["b_text"]):
        inform("This link was made with a second text too long for an address. Paste it here.")


def _take_text() -> None:
    text = st.session_state["b_text"]
    try:
        session.check_text(text)
        set_against(text=text, lost="")
    except MoevizError as error:
        st.session_state["b_trouble"] = str(error)


def _take_example() -> None:
    name = st.session_state["b_example"]
    if name in EXAMPLES:
        set_against(text=EXAMPLES[name], lost="")


def _length(against: Against) -> None:
    """How much the model is to write."""
    state = st.session_state
    if session.kept() and session.kept().trace.tokens.generated.any():
        lead("The part of this trace that the model wrote itself, token by token.")
        return
    lead(
        "The model goes on from your text; what comes next is drawn by its own probabilities "
        "(temperature 1). A is the prompt, read at once; B is the rest, read token by token."
    )
    state["b_new"] = against.new if against.new in lengths() else lengths()[0]
    with st.container(horizontal=True, vertical_alignment="bottom"):
        st.segmented_control(
            "Tokens to write", lengths(), key="b_new", required=True,
            on_change=lambda: set_against(new=state["b_new"]),
        )  # fmt: skip
        st.button("Write again", on_click=lambda: set_against(seed=against.seed + 1))


def lengths() -> list[int]:
    """Numbers of tokens that may be written here."""
    most = most_new_tokens(MOST_NEW)
    return [count for count in (20, 40, 80, 160) if count <= most] or [most]


def _model_box(against: Against) -> None:
    """The model of side B, and what it takes to load it."""
    model_field("b_model")
    st.button("Load B", type="primary", on_click=_take_model)
    if against.model:
        try:
            _get_model(against.model)
        except MoevizError as error:
            st.error(plain(str(error)))
            return
        state = st.session_state
        state["b_kin"] = against.kin
        st.checkbox(
            "Both are checkpoints of one training run: compare expert by expert", key="b_kin",
            on_change=lambda: set_against(kin=state["b_kin"]),
        )  # fmt: skip


def _take_model() -> None:
    state, (name, seen) = st.session_state, asked_model("b_model")
    state["b_typed"] = name
    if seen:
        state["b_agreed"] = name
    set_against(model=name)


def _get_model(name: str) -> None:
    """Load B's model; one that is large, or comes from a link, only after a click."""
    check_model(name)
    if name in shelf():
        return
    if on_server(name):
        _get_server(name)
        return
    state, plan = st.session_state, session.planned(name)
    small = plan.bytes <= ask.ASK_FIRST
    if state.get("b_agreed") != name and not (small and state.get("b_typed") == name):
        inform(str(plan))
        st.button("Load it for B", key="b_load", on_click=lambda: state.update(b_agreed=name))
        return
    slot = st.empty()
    with slot.container(), st.spinner(f"Loading the model {plain(name)}"):
        quiet = plan.bytes <= ask.QUIET
        shelf().take(name, None if quiet else ask.progress(str(plan), _let_go))
    slot.empty()


def _get_server(name: str) -> None:
    """Ask before a text goes to a server that only a link names."""
    if not wanted(name):
        inform(f"B is on the server {name}, which would read your text.")
        st.button("Ask it", key="b_ask", on_click=want, args=(name,))


def _let_go() -> None:
    st.session_state["b_agreed"] = st.session_state["b_typed"] = ""


def _trace_box(against: Against) -> None:
    """The trace of side B: a file, or one that is open already."""
    state, found = st.session_state, session.kept_traces()
    turn = state.setdefault("b_openings", 0)
    most = most_megabytes(LARGEST_FILE)
    st.file_uploader(
        f"A .moetrace file, up to {most} MB", key=f"b_file_{turn}", max_upload_size=most,
        on_change=_open_file,
    )  # fmt: skip
    _trouble()
    if found:
        state["b_trace"] = against.trace if against.trace in found else None
        st.pills(
            "Open already", list(found), key="b_trace", format_func=_kept_name,
            on_change=lambda: set_against(trace=state["b_trace"] or ""),
        )  # fmt: skip


def _trouble() -> None:
    """Why the last text or file of side B could not be taken; said once."""
    trouble = st.session_state.pop("b_trouble", "")
    if trouble:
        st.error(plain(trouble))


def _kept_name(key: str) -> str:
    kept = session.kept_traces()[key]
    return plain(kept.name or f"{kept.origin} {key[:6]}")


def _open_file() -> None:
    """Keep the trace in the file for side B; the file itself is let go."""
    state = st.session_state
    file = state[f"b_file_{state['b_openings']}"]
    if file is None:
        return
    state["b_openings"] += 1
    try:
        trace = read_file(data_of(file), file.name)
        session.keep_trace(trace, "uploaded", file.name)
        set_against(trace=trace.key)
    except Untold as error:
        state["b_trouble"] = f"{error} Open the file above first, and choose it here then."
    except MoevizError as error:
        state["b_trouble"] = str(error)


_SIDE_B: dict[str, Callable[[Against], None]] = {
    "text": _text_box,
    "generated": _length,
    "model": _model_box,
    "trace": _trace_box,
}
"""The controls of side B, by way; moments of training have none of this kind."""


def moment_choice(against: Against) -> None:
    """Which two moments of training, and which passages."""
    state, record = st.session_state, load_emergence()
    names = [short_count(int(count)) for count in record.seen]
    start, end = against.moments
    state["b_moments"] = (names[start], names[end])
    codes = [code for code in LANGUAGES if code in record.labels["language"]]
    state["b_passages"] = against.passages if against.passages in codes else None

    def take() -> None:
        chosen = tuple(names.index(name) for name in state["b_moments"])
        set_against(moments=chosen, passages=state["b_passages"] or "")

    st.select_slider(
        "From A to B: tokens that the demo model had been trained on", names, key="b_moments",
        on_change=take,
    )  # fmt: skip
    st.pills(
        "Passages in (none chosen: all)", codes, key="b_passages", 
        format_func=lambda code: LANGUAGES[code].capitalize(),
        on_change=take,
    )  # fmt: skip
    losses = [f"{record.loss[moment]:.2f} nats" for moment in against.moments]
    note(f"Mean next-token loss on all passages: {losses[0]} at A, {losses[1]} at B.")
