"""What to see on the Compare page: what differs, in words and pictures."""

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
from moeviz.trace import MoevizError, RoutingTrace
from moeviz.ui import against as choice
from moeviz.ui import session, sides
from moeviz.ui.against import MEASURES, Against, set_against
from moeviz.ui.capacity import layer_choice
from moeviz.ui.closer import way_to_mute
from moeviz.ui.components import heat_grid, plot, token_strip
from moeviz.ui.figure import figure
from moeviz.ui.markdown import plain
from moeviz.ui.served import wanted
from moeviz.ui.shelf import shelf
from moeviz.ui.sides import Sides
from moeviz.ui.terms import headline, inform, tell, warn
from moeviz.ui.view import View, layer_labels

FEW = 10
"""Tokens of a continuation below which there is little to compare."""


def found_sides(trace: RoutingTrace | None, against: Against) -> Sides | None:
    """The two runs; None, with a sentence on the screen, where there is nothing to compare yet.

    What fails leaves the pair that was on screen before in its place.
    """
    state = st.session_state
    try:
        found = _sides_now(trace, against)
    except MoevizError as error:
        st.error(plain(str(error)))
        before = state.get("b_sides")
        return before[1] if before and before[0] == (against.way, _key(trace)) else None
    if found is not None:
        state["b_sides"] = ((against.way, _key(trace)), found)
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
            inform(words.few_tokens(len(found.b.tokens)))
        return found
    if against.way == "model":
        if not against.model:
            inform("Name a model on side B: a hub id, or a folder on this machine.")
        ready = against.model in shelf() or wanted(against.model)
        return sides.two_models(trace, against) if ready else None
    if against.way == "trace":
        if not against.trace:
            inform("Open a trace file on side B, or choose one that is open already.")
        return sides.two_traces(trace, against) if against.trace else None
    with st.spinner("Reading the other text"):
        return sides.two_texts(trace, against)


def _toolbar(found: Sides, view: View, against: Against, twins: bool = False) -> None:
    """The layer that the page shows; with twins what colours the texts, of models the measure."""
    state = st.session_state
    with st.container(horizontal=True, key="toolbar", gap="medium"):
        layer_choice(found.a, view)
        if twins:
            state["b_shade"] = against.shade
            st.segmented_control(
                "Colour the texts by", list(pictures.SHADES), key="b_shade", required=True,
                format_func=pictures.SHADES.get,
                on_change=lambda: set_against(shade=state["b_shade"]),
            )  # fmt: skip
        if not found.same_experts:
            state["b_measure"] = against.measure
            st.segmented_control(
                "Compare the models by", list(MEASURES), key="b_measure", required=True,
                wrap=True, format_func=MEASURES.get,
                on_change=lambda: set_against(measure=state["b_measure"]),
            )  # fmt: skip


def show(found: Sides, view: View, against: Against) -> None:
    """The findings in words, then the pictures."""
    notes = [note for note in found.b.source.notes if note not in found.a.source.notes]
    for sentence in (*(f"B: {note}" for note in notes), *words.cautions(found.a, found.b)):
        warn(sentence)
    if found.same_experts:
        _show_difference(found, view, against)
    else:
        _show_likeness(found, view, against)


def _show_difference(found: Sides, view: View, against: Against) -> None:
    a, b, row = found.a, found.b, view.row
    change, labels = _difference(a.key, b.key, found.linked, a, b), layer_labels(a)
    headline(words.headline(change, labels))
    _toolbar(found, view, against, twins=len(change.twins.pairs) > 0)
    tell(words.layer_sentence(change, row, labels[row]))
    if not change.twins.complete:
        inform("These texts are long and very different, so only tokens that they share at "
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
        if against.way != "moment":  # whose runs are records, not of a model that could run again
            way_to_mute(a, row, view.expert)
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


def _show_likeness(found: Sides, view: View, against: Against) -> None:
    a, b, row = found.a, found.b, view.row
    names = (layer_labels(a), layer_labels(b))
    tell(words.models_sentence(a, b))
    try:
        like = _likeness(a.key, b.key, a, b)
    except MoevizError as error:
        inform(str(error))
        _toolbar(found, view, against)
        return
    headline(words.likeness_headline(like, names))
    _toolbar(found, view, against)
    draw = _drawer(a, b)
    best = int(np.argmax(like.agreement[row] - like.chance[row]))
    left, right = st.columns([3, 2], gap="medium")
    with left:
        for side, run, at in (("A", a, row), ("B", b, best)):
            draw(
                f"strip_{side}", (at, "models"), token_strip,
                lambda s=side, r=run, n=at: pictures.plain_strip(
                    strip_picture(r, n, "expert"), a, b, like, s
                ),
            )  # fmt: skip
    with right:
        draw("agreement", (), heat_grid, lambda: pictures.likeness_grid(a, b, like, names))
        draw("alike", (row,), plot, lambda: pictures.likeness_bars(a, b, like, row, names))
    _show_measures(a, b, names, against.measure, draw)


def _show_measures(a: RoutingTrace, b: RoutingTrace, names: tuple, by: str, draw: Callable) -> None:
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
