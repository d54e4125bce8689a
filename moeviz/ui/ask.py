"""What to trace: the model, the text, and what the page's head says of them."""

from __future__ import annotations

from collections.abc import Callable

import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from moeviz.charts.words import model_name, model_sentence, plural
from moeviz.trace import MoevizError, RoutingTrace
from moeviz.ui import links, recorded, session
from moeviz.ui.card import model_card, trace_card
from moeviz.ui.examples import EXAMPLES
from moeviz.ui.hosted import text_limits
from moeviz.ui.house import most_megabytes, offered_models
from moeviz.ui.line import told_on
from moeviz.ui.markdown import plain
from moeviz.ui.picker import asked_model, forget_offer, model_field, models_here, terms
from moeviz.ui.served import on_server
from moeviz.ui.shelf import Watch, shelf
from moeviz.ui.terms import explained, inform, note, warn

QUIET = 200e6
"""Bytes of weights up to which a model loads without a bar: it is there in a moment."""

ASK_FIRST = QUIET
"""Bytes of weights above which the visitor reads size, number format and device, and decides."""

ORIGINS = {"uploaded": "an opened", "generated": "a generated"}
"""Where a kept trace comes from, in words before "trace"."""

WELCOME = (
    "A mixture of experts has many small networks in each layer, and a router that sends every "
    "token to a few of them."
)


def model_bar() -> DeltaGenerator:
    """The way to another model; hands back the slot for the facts of the one on screen."""
    home = session.default_model()
    with st.container(horizontal=True, vertical_alignment="center", key="bar"):
        st.markdown("**MoEViz**", width="content")
        st.space("stretch")
        facts = st.empty()
        with st.popover("Change model"):
            models_here()
            if offered_models() is None:
                model_field("model_field")
            else:
                note("This server offers these models and no others.")
            note("The page stays as it is until the model is ready.")
            with st.container(horizontal=True):
                if offered_models() is None:
                    st.button("Load", type="primary", on_click=_ask_model)
                back = f"Back to {plain(model_name(home))}"
                st.button(back, on_click=session.ask, kwargs={"model": home})
        _trace_opener()
    facts.caption(plain(st.session_state.get("facts", "")), width="content")
    return facts


def _trace_opener() -> None:
    """The way to a trace that was saved before; no model is needed to see it."""
    turn = st.session_state.setdefault("openings", 0)
    most = most_megabytes(recorded.LARGEST_FILE)
    with st.popover("Open a trace", key=f"opener_{turn}"):  # a new key closes it
        st.file_uploader(
            f"A .moetrace file, up to {most} MB", key=f"trace_file_{turn}", max_upload_size=most,
            on_change=_open_file,
        )  # fmt: skip
        note(
            "It is shown to you alone, and needs no model. Routing that vLLM, SGLang or llama.cpp "
            f"recorded can be opened too: {', '.join(recorded.KINDS[1:-1])} or "
            f"{recorded.KINDS[-1]} files."
        )


def _open_file() -> None:
    """Show the trace in the file, or note what is wrong with it; the file itself is let go."""
    state = st.session_state
    file = state[f"trace_file_{state['openings']}"]
    if file is None:
        return
    state["openings"] += 1  # a fresh widget, which holds no file in memory
    try:
        recorded.open_file(file)
        state["file_trouble"] = ""
    except MoevizError as error:
        state["file_trouble"] = str(error)


def intro() -> DeltaGenerator:
    """A slot that says what a mixture of experts does, until `introduce` has numbers for it."""
    slot = st.empty()
    slot.markdown(st.session_state.get("intro", explained(WELCOME)))
    return slot


def introduce(
    trace: RoutingTrace, facts: DeltaGenerator, intro: DeltaGenerator | None = None
) -> None:
    """Fill the slots of the page's head with what is known of the model and this trace."""
    state = st.session_state
    model, kept = session.shown()[0], session.kept()
    state["facts"] = session.model_facts(model, trace)
    state["intro"] = explained(plain(model_sentence(trace)))
    with facts.container(horizontal=True, vertical_alignment="center", width="content"):
        st.caption(plain(state["facts"]), width="content")
        if kept or on_server(model):
            trace_card(trace)
        else:
            model_card(model)
    if intro is not None:
        intro.markdown(state["intro"])
    if not kept:
        _part_choice(model, trace)


def _part_choice(model: str, trace: RoutingTrace) -> None:
    """Which part of an encoder-decoder to look at; nothing for a model of one part."""
    parts = session.stacks(model)
    if len(parts) < 2:
        return
    st.session_state["stack"] = trace.router.stack
    st.segmented_control(
        "Part of the model", parts, key="stack", required=True, format_func=str.capitalize
    )


def _ask_model() -> None:
    name, seen = asked_model("model_field")
    if not name:
        return
    forget_offer()
    if seen:
        st.session_state["agreed"] = name
    session.ask(model=name)


def asked_trace() -> RoutingTrace | None:
    """The text box and what came of it: the trace to show, with its notes, or a word of trouble.

    While a kept trace is on screen, a line that says so stands in the place of the text box.
    """
    _file_trouble()
    recorded.question()
    kept = session.kept()
    if kept:
        _kept_line(kept)
        trace = kept.trace
    else:
        trace = _text_trace()
    if trace is not None:
        for sentence in (*trace.source.notes, session.text_note(trace.tokens.source)):
            if sentence:
                warn(sentence)
    return trace


def _text_trace() -> RoutingTrace | None:
    text_box()
    links.link_notes()
    if st.session_state.get("lost_trace") and "shown" not in st.session_state:
        return None  # who came to open a file need not wait for a model
    slot = st.empty()
    with told_on(_Slot(slot)):
        trace, trouble = session.shown_trace(get_ready(slot))
    if trouble:
        slot.error(plain(trouble))
    return trace


class _Slot:
    """Where somebody who waits for the model reads how many come first, and can stop."""

    def __init__(self, slot: DeltaGenerator):
        self._slot, self._words = slot, None
        self._way_back = "shown" in st.session_state

    def tell(self, sentence: str) -> None:
        if self._words is None:
            with self._slot.container():
                self._words = st.empty()
                if self._way_back:
                    st.button("Stop waiting", on_click=_stay_here)
        self._words.info(plain(sentence))

    def wipe(self) -> None:
        if self._words is not None:
            self._slot.empty()
            self._words, self._way_back = None, False  # the same button is drawn once in a run


def _stay_here() -> None:
    """Wish for what is on screen already, model and text."""
    model, text = st.session_state.get("shown", session.asked())
    session.ask(model=model, text=text)


def _file_trouble() -> None:
    """Why the last file could not be opened; said once."""
    trouble = st.session_state.pop("file_trouble", "")
    if trouble:
        st.error(plain(trouble))


def _kept_line(kept: session.Kept) -> None:
    """What is on screen instead of the text box's own text, and the way back."""
    what = f"the file {kept.name}" if kept.name else f"{ORIGINS[kept.origin]} trace"
    sentence = (
        f"You are looking at {what}: {plural(len(kept.trace.tokens), 'token')} routed by "
        f"{model_name(kept.trace.source.model)}."
    )
    with st.container(horizontal=True, vertical_alignment="center", key="kept_line"):
        inform(sentence)
        st.button("Back to the text", on_click=session.back_to_text)


def text_box() -> None:
    """The text to trace: an area, its examples, and Run."""
    st.session_state.setdefault("text", session.asked()[1])
    st.pills(
        "Examples", list(EXAMPLES), key="example", on_change=_ask_example,
        label_visibility="collapsed", wrap=False,
    )  # fmt: skip
    with st.form("ask", border=False):
        st.text_area("Text", key="text", height=108, label_visibility="collapsed",
                     placeholder="Type or paste any text, in any language")  # fmt: skip
        st.form_submit_button("Run", type="primary", on_click=_ask_text, help="Ctrl + Enter")
    if text_limits():
        note(text_limits())


def _ask_text() -> None:
    links.nothing_lost()
    st.session_state["example"] = None
    session.ask(text=st.session_state["text"])


def _ask_example() -> None:
    links.nothing_lost()
    name = st.session_state["example"]
    if name in EXAMPLES:
        st.session_state["text"] = EXAMPLES[name]
        session.ask(text=EXAMPLES[name])


def get_ready(slot: DeltaGenerator) -> Callable[[str], None]:
    """A function that loads a model and says in `slot` what that takes and how far it is.

    A model of more than QUIET bytes shows a bar and a way to stop; one of more than ASK_FIRST is
    loaded only after the visitor has read its size and agreed.
    """

    def prepare(name: str) -> None:
        if name in shelf() or on_server(name):
            return
        with slot.container(), st.spinner(f"Loading the model {plain(model_name(name))}"):
            plan = session.planned(name)
            agreed = name in (session.default_model(), st.session_state.get("agreed"))
            if plan.bytes > ASK_FIRST and not agreed:
                _put_to_the_visitor(name, terms(name))
            watch = progress(str(plan), _stay) if plan.bytes > QUIET else None
            shelf().take(name, watch)
        slot.empty()
        if name != session.default_model():
            st.rerun()  # the list of models, drawn above, knows it only now

    return prepare


def progress(sentence: str, stop: Callable[[], None]) -> Watch:
    """Draws what a load takes, a bar and a way to stop; hands back what moves the bar."""
    inform(sentence)
    bar = st.progress(0.0, "Starting")
    st.button("Stop loading", on_click=stop)
    return lambda stage, share: bar.progress(share, plain(stage) or "Starting")


def _put_to_the_visitor(name: str, sentence: str) -> None:
    st.session_state["offered_model"], st.session_state["offer"] = name, sentence
    _stay()
    st.rerun()


def _stay() -> None:
    """Wish for the model that is on screen already."""
    session.ask(model=st.session_state.get("shown", (session.default_model(),))[0])
