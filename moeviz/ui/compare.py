"""What to see on the Compare page: the two sides, and pictures of what differs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import streamlit as st

from moeviz.charts import compare as pictures
from moeviz.charts import compare_words as words
from moeviz.charts.picture import Picture
from moeviz.charts.specialise import growth_lines
from moeviz.charts.specialise_words import growth_words
from moeviz.charts.strip import strip_picture
from moeviz.corpora.emergence import load_emergence
from moeviz.corpora.passages import passages_in
from moeviz.metrics.balance import balance, balance_chance
from moeviz.metrics.difference import Difference, difference
from moeviz.metrics.emergence import saturation
from moeviz.metrics.likeness import Likeness, likeness
from moeviz.metrics.load import layer_sizes
from moeviz.metrics.repetition import repetition
from moeviz.metrics.runs import Run
from moeviz.rules.words import short_count
from moeviz.store.files import read_trace
from moeviz.trace import MoevizError, RoutingTrace
from moeviz.ui import against as choice
from moeviz.ui import ask, session, sides
from moeviz.ui.against import PAIRS, WAYS, Against, set_against
from moeviz.ui.capacity import layer_choice
from moeviz.ui.components import heat_grid, plot, token_strip
from moeviz.ui.examples import EXAMPLES
from moeviz.ui.figure import figure
from moeviz.ui.markdown import plain
from moeviz.ui.shelf import shelf
from moeviz.ui.sides import LANGUAGES, Sides
from moeviz.ui.view import View, layer_labels

MEASURES = {"evenness": "Evenness of the load", "repetition": "Repetition of neighbours"}
"""What two models can be compared by, layer by layer."""

FEW = 10
"""Tokens of a continuation below which there is little to compare."""


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
    wanted = sides.other_text(against, session.shown()[1])
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
        st.info("This link was made with a second text too long for an address. Paste it here.")


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
        st.markdown("The part of this trace that the model wrote itself, token by token.")
        return
    st.markdown(
        "The model goes on from your text; what comes next is drawn by its own probabilities "
        "(temperature 1). A is the prompt, read at once; B is the rest, read token by token."
    )
    state["b_new"] = against.new
    with st.container(horizontal=True, vertical_alignment="bottom"):
        st.segmented_control(
            "Tokens to write", [20, 40, 80, 160], key="b_new", required=True,
            on_change=lambda: set_against(new=state["b_new"]),
        )  # fmt: skip
        st.button("Write again", on_click=lambda: set_against(seed=against.seed + 1))


def _model_box(against: Against) -> None:
    """The model of side B, and what it takes to load it."""
    with st.form("b_model_form", border=False):
        st.text_input(
            "Hub id or local folder", key="b_model", placeholder="allenai/OLMoE-1B-7B-0924"
        )
        st.form_submit_button("Load B", type="primary", on_click=_take_model)
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
    name = st.session_state["b_model"].strip()
    st.session_state["b_typed"] = name
    set_against(model=name)


def _get_model(name: str) -> None:
    """Load B's model; one that is large, or comes from a link, only after a click."""
    if name in shelf():
        return
    state, plan = st.session_state, session.planned(name)
    small = plan.bytes <= ask.ASK_FIRST
    if state.get("b_agreed") != name and not (small and state.get("b_typed") == name):
        st.info(plain(str(plan)))
        st.button("Load it for B", key="b_load", on_click=lambda: state.update(b_agreed=name))
        return
    slot = st.empty()
    with slot.container(), st.spinner(f"Loading the model {plain(name)}"):
        quiet = plan.bytes <= ask.QUIET
        shelf().take(name, None if quiet else ask.progress(str(plan), _let_go))
    slot.empty()


def _let_go() -> None:
    st.session_state["b_agreed"] = st.session_state["b_typed"] = ""


def _trace_box(against: Against) -> None:
    """The trace of side B: a file, or one that is open already."""
    state, found = st.session_state, session.kept_traces()
    turn = state.setdefault("b_openings", 0)
    st.file_uploader(
        f"A .moetrace file, up to {ask.LARGEST_FILE} MB", key=f"b_file_{turn}",
        max_upload_size=ask.LARGEST_FILE, on_change=_open_file,
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
        trace = read_trace(file.getvalue(), file.name)
        session.keep_trace(trace, "uploaded", file.name)
        set_against(trace=trace.key)
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
        "Passages in (none chosen: all)", codes, key="b_passages", format_func=LANGUAGES.get,
        on_change=take,
    )  # fmt: skip
    losses = [f"{record.loss[moment]:.2f} nats" for moment in against.moments]
    st.caption(f"Mean next-token loss on all passages: {losses[0]} at A, {losses[1]} at B.")


def found_sides(trace: RoutingTrace | None, against: Against) -> Sides | None:
    """The two runs; None, with a sentence on the screen, where there is nothing to compare yet.

    What fails leaves the pair that was on screen before in its place.
    """
    state = st.session_state
    try:
        found = _sides_now(trace, against)
    except MoevizError as error:
        st.error(plain(str(error)))
        before = state.get("sides")
        return before[1] if before and before[0] == (against.way, _key(trace)) else None
    if found is not None:
        state["sides"] = ((against.way, _key(trace)), found)
    return found


def _key(trace: RoutingTrace | None) -> str:
    return trace.key if trace is not None else ""


def _sides_now(trace: RoutingTrace | None, against: Against) -> Sides | None:
    if against.way == "moment":
        return sides.two_moments(against)
    if trace is None:
        return None
    if against.way == "generated":
        slot = st.empty()
        found = sides.prompt_and_rest(
            trace, against, lambda share: slot.progress(share, "The model is writing")
        )
        slot.empty()
        if len(found.b.tokens) < FEW:
            st.info(words.few_tokens(len(found.b.tokens)))
        return found
    if against.way == "model":
        if not against.model:
            st.info("Name a model on side B: a hub id, or a folder on this machine.")
        return sides.two_models(trace, against) if against.model in shelf() else None
    if against.way == "trace":
        if not against.trace:
            st.info("Open a trace file on side B, or choose one that is open already.")
        return sides.two_traces(trace, against) if against.trace else None
    with st.spinner("Reading the other text"):
        return sides.two_texts(trace, against)


def _toolbar(found: Sides, view: View, against: Against | None = None) -> None:
    """The layer that the page shows; where tokens are linked, what colours the texts."""
    with st.container(horizontal=True, key="toolbar", gap="medium"):
        layer_choice(found.a, view)
        if against:
            state = st.session_state
            state["b_shade"] = against.shade
            st.segmented_control(
                "Colour the texts by", list(pictures.SHADES), key="b_shade", required=True,
                format_func=pictures.SHADES.get,
                on_change=lambda: set_against(shade=state["b_shade"]),
            )  # fmt: skip
        if not found.same_experts:
            st.segmented_control(
                "Compare the models by", list(MEASURES), key="b_measure_by", required=True,
                wrap=True, format_func=MEASURES.get, default="evenness",
            )  # fmt: skip


def show(found: Sides, view: View, against: Against) -> None:
    """The findings in words, then the pictures."""
    notes = [note for note in found.b.source.notes if note not in found.a.source.notes]
    for sentence in (*(f"B: {note}" for note in notes), *words.cautions(found.a, found.b)):
        st.warning(plain(sentence))
    if found.same_experts:
        _show_difference(found, view, against)
    else:
        _show_likeness(found, view)


def _show_difference(found: Sides, view: View, against: Against) -> None:
    a, b, row = found.a, found.b, view.row
    change, labels = _difference(a.key, b.key, found.linked, a, b), layer_labels(a)
    st.markdown("#### " + plain(words.headline(change, labels)))
    _toolbar(found, view, against if len(change.twins.pairs) else None)
    st.markdown(plain(words.layer_sentence(change, row, labels[row])))
    if not change.twins.complete:
        st.info("These texts are long and very different, so only tokens that they share at "
                "their beginning and end are linked.")  # fmt: skip
    draw = _drawer(a, b)
    left, right = st.columns([3, 2], gap="medium")
    with left:
        for run, other, side in ((a, b, "A"), (b, a, "B")):
            draw(
                f"strip_{side}", (row, against.shade), token_strip,
                lambda r=run, o=other, s=side: pictures.twin_strip(
                    r, o, change, row, s, against.shade
                ),
            )  # fmt: skip
        draw("experts", (row,), plot,
             lambda: pictures.expert_bars(a, b, change, row, labels[row]))  # fmt: skip
    with right:
        draw("bits", (), plot, lambda: pictures.bits_bars(a, b, change, labels))
        if len(change.twins.pairs):
            draw("kept", (), plot, lambda: pictures.kept_bars(a, b, change, labels))
        if against.way == "moment":
            draw("settled", (row, against), plot, lambda: _settling(against, row))
        draw("gap", (), heat_grid, lambda: pictures.change_grid(a, b, change, labels))
    one, other = st.columns(2, gap="medium")
    with one:
        draw("grid_A", (), heat_grid, lambda: pictures.side_grid(a, "A"))
    with other:
        draw("grid_B", (), heat_grid, lambda: pictures.side_grid(b, "B"))


def _drawer(a: Run | RoutingTrace, b: Run | RoutingTrace) -> Callable:
    """A function that draws one picture of the pair, made once in a session."""

    def draw(kind: str, options: tuple, component: Callable, make: Callable) -> None:
        figure(f"compare_{kind}", a, (b.key, *options), make, component)

    return draw


def _settling(against: Against, row: int) -> Picture:
    """How many of the final choices each moment made already."""
    found = load_emergence()
    part = replace(found, experts=found.experts[:, :, passages_in(against.passages)])
    grown = saturation(part)
    title, read = growth_words("saturation", "")
    seen = [short_count(int(count)) for count in found.seen]
    layers = [str(layer) for layer in range(found.experts.shape[1])]
    return growth_lines(
        title, read, grown.name, grown.unit, grown.values, grown.chance, seen, layers, row,
        against.moments[0],
    )  # fmt: skip


def _show_likeness(found: Sides, view: View) -> None:
    a, b, row = found.a, found.b, view.row
    names = (layer_labels(a), layer_labels(b))
    st.markdown(plain(words.models_sentence(a, b)))
    try:
        like = _likeness(a.key, b.key, a, b)
    except MoevizError as error:
        st.info(plain(str(error)))
        _toolbar(found, view)
        return
    st.markdown("#### " + plain(words.likeness_headline(like, names)))
    _toolbar(found, view)
    draw = _drawer(a, b)
    best = int(np.argmax(like.agreement[row] - like.chance[row]))
    left, right = st.columns([3, 2], gap="medium")
    with left:
        draw(
            "strip_A",
            (row, "models"),
            token_strip,
            lambda: pictures.plain_strip(strip_picture(a, row, "expert"), a, b, like, "A"),
        )
        draw(
            "strip_B",
            (best, "models"),
            token_strip,
            lambda: pictures.plain_strip(strip_picture(b, best, "expert"), a, b, like, "B"),
        )
    with right:
        draw("agreement", (), heat_grid, lambda: pictures.likeness_grid(a, b, like, names))
        draw("alike", (row,), plot, lambda: pictures.likeness_bars(a, b, like, row, names))
    _show_measures(a, b, names, draw)


def _show_measures(a: RoutingTrace, b: RoutingTrace, names: tuple, draw: Callable) -> None:
    by = st.session_state.get("b_measure_by") or "evenness"
    values = {side: _measure(run.key, by, run) for side, run in (("A", a), ("B", b))}
    top = float(max(np.nanmax(np.stack(part)) for part in values.values()))
    columns = st.columns(2, gap="medium")
    for column, side, run, labels in zip(columns, "AB", (a, b), names, strict=True):
        own, low, high = values[side]
        with column:
            draw(
                f"measure_{side}", (by,), plot,
                lambda r=run, s=side, v=own, c=(low, high), n=labels: pictures.measure_bars(
                    r, s, MEASURES[by], v, c, top, n
                ),
            )  # fmt: skip


@st.cache_resource(max_entries=16, scope="session", show_spinner=False)
def _measure(key: str, by: str, _trace: RoutingTrace) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(values [L], low and high of chance [L])."""
    if by == "repetition":
        found = repetition(_trace)
        return found.first, found.loaded_first, found.loaded_first
    tokens = len(_trace.tokens)
    sizes = list(zip(*(size.tolist() for size in layer_sizes(_trace)), strict=True))
    bands = {size: balance_chance(tokens, *size).entropy for size in set(sizes)}
    low, high = np.array([bands[size] for size in sizes]).T
    return balance(_trace).entropy, low, high


@st.cache_resource(max_entries=8, scope="session", show_spinner=False)
def _difference(key: str, other: str, linked: bool, _a: Run, _b: Run) -> Difference:
    return difference(_a, _b, linked=linked)


@st.cache_resource(max_entries=4, scope="session", show_spinner=False)
def _likeness(key: str, other: str, _a: RoutingTrace, _b: RoutingTrace) -> Likeness:
    return likeness(_a, _b)


def link(against: Against) -> dict[str, str]:
    """What this page adds to the address."""
    return choice.to_link(against, session.digest(against.text))
