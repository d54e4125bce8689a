"""What to see on the Contrast page: two sets of texts, and the experts that tell them apart."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd
import streamlit as st

from moeviz.charts import contrast as pictures
from moeviz.metrics.contrast import Contrast, contrast
from moeviz.rules.interventions import Rule
from moeviz.trace import MoevizError, RoutingTrace
from moeviz.ui import session
from moeviz.ui.ask import get_ready
from moeviz.ui.components import heat_grid
from moeviz.ui.figure import figure
from moeviz.ui.markdown import plain
from moeviz.ui.memory import run_once
from moeviz.ui.pairs import MOST_TEXTS, PAIRS, texts_of
from moeviz.ui.served import on_server, served_trace
from moeviz.ui.sheets import sheet
from moeviz.ui.terms import headline, inform, note, tell
from moeviz.ui.view import LONGEST_LINK_TEXT, View, layer_labels

RANKED = 12
"""Experts listed, those that differ most."""


@dataclass(frozen=True)
class Sets:
    """The two sets of texts, one a line. pair: the built-in pair they come from, or ""."""

    texts_a: str
    texts_b: str
    pair: str = ""

    @property
    def names(self) -> tuple[str, str]:
        """What to call them."""
        pair = PAIRS.get(self.pair)
        return (pair.name_a, pair.name_b) if pair else ("A", "B")


def built_in(name: str) -> Sets:
    """The sets of a built-in pair."""
    pair = PAIRS[name]
    return Sets(pair.texts_a, pair.texts_b, name)


FIRST = built_in(next(iter(PAIRS)))


def current_sets() -> Sets:
    """The visitor's sets; a link that was just opened brings its own."""
    state = st.session_state
    if "link_wish" in state:
        state["contrast_sets"] = from_link(state["link_wish"])
    return state.setdefault("contrast_sets", FIRST)


def from_link(link: Mapping[str, str]) -> Sets:
    """The sets a link asks for; the first ones where it asks for none."""
    if link.get("pair") in PAIRS:
        return built_in(link["pair"])
    if link.get("set_a", "").strip() and link.get("set_b", "").strip():
        return Sets(link["set_a"], link["set_b"])
    return FIRST


def to_link(sets: Sets) -> dict[str, str]:
    """The sets as link parameters, where an address can hold them."""
    if sets.pair:
        return {} if sets == FIRST else {"pair": sets.pair}
    both = f"{sets.texts_a}{sets.texts_b}".encode("utf-8", "replace")
    if len(both) > LONGEST_LINK_TEXT:
        return {}
    return {"set_a": sets.texts_a, "set_b": sets.texts_b}


def model_trace() -> RoutingTrace | None:
    """What the model on screen does with the visitor's text: it tells layers and experts.

    None, with a word of why, while there is no model to read the sets with.
    """
    if session.kept():
        inform("A trace without its model is on screen, but the sets need a model to read them.")
        st.button("Back to the text", on_click=session.back_to_text)
        return None
    slot = st.empty()
    trace, trouble = session.shown_trace(get_ready(slot))
    if trouble:
        slot.error(plain(trouble))
    return trace


def ask_sets(sets: Sets) -> None:
    """The built-in pairs, and the two sets as text to edit."""
    state = st.session_state
    state["pair"], state["set_a"], state["set_b"] = sets.pair or None, sets.texts_a, sets.texts_b
    st.pills(
        "Pairs", list(PAIRS), key="pair", on_change=_take_pair, wrap=True,
        label_visibility="collapsed",
    )  # fmt: skip
    with st.form("sets", border=False):
        columns = st.columns(2, gap="medium")
        for column, key, name in zip(columns, ("set_a", "set_b"), sets.names, strict=True):
            label = f"Texts {name}" if name in "AB" else name
            column.text_area(f"{label}, one text a line", key=key, height=230)
        st.form_submit_button("Compare", type="primary", on_click=_take_sets)


def _take_pair() -> None:
    name = st.session_state["pair"]
    if name in PAIRS:
        st.session_state["contrast_sets"] = built_in(name)


def _take_sets() -> None:
    state = st.session_state
    mine, theirs = state["set_a"], state["set_b"]
    known = [name for name in PAIRS if built_in(name) == Sets(mine, theirs, name)]
    state["contrast_sets"] = Sets(mine, theirs, known[0] if known else "")


def found_contrast(trace: RoutingTrace, sets: Sets) -> Contrast | None:
    """The contrast of the two sets; says what is wrong where there is none."""
    try:
        with st.spinner("Reading both sets"):
            return _contrast(session.shown()[0], trace.router.stack, sets)
    except MoevizError as error:
        st.error(plain(str(error)))
        return None


@st.cache_resource(max_entries=8, scope="session", show_spinner=False)
def _contrast(model: str, stack: str, sets: Sets) -> Contrast:
    return contrast(*set_traces(model, stack, sets, None))


def set_traces(
    model: str, stack: str, sets: Sets, rule: Rule | None
) -> tuple[list[RoutingTrace], list[RoutingTrace]]:
    """Every text of both sets read by the model, under a rule or without; once in a session."""
    return run_once(
        lambda: _set_traces(model, stack, sets, rule), "sets", model, stack, sets, str(rule)
    )


def _set_traces(model: str, stack: str, sets: Sets, rule: Rule | None):
    both = [texts_of(texts) for texts in (sets.texts_a, sets.texts_b)]
    most = max(map(len, both))
    if most > MOST_TEXTS:
        raise MoevizError(f"A set can have {MOST_TEXTS} texts, one a line; this one has {most:,}.")
    for text in (text for texts in both for text in texts):
        session.check_text(text)
    first, second = ([_read(model, text, stack, rule) for text in texts] for texts in both)
    return first, second


def _read(model: str, text: str, stack: str, rule: Rule | None) -> RoutingTrace:
    if on_server(model) and rule is None:
        return served_trace(model, text)
    loaded = session.loaded(model)
    from moeviz.models import trace_text  # late: torch takes seconds

    return trace_text(loaded, text, rule=rule, logits=False, truncate=True, stack=stack)


def finding(trace: RoutingTrace, found: Contrast, names: tuple[str, str]) -> None:
    """The experts that tell the sets apart, in a sentence, and how chance was reckoned."""
    headline(pictures.contrast_sentence(found, names, layer_labels(trace)))
    note(pictures.chance_note(found))


def figures(trace: RoutingTrace, view: View, found: Contrast, sets: Sets) -> None:
    """All experts as a grid, those that differ most as a list."""
    left, right = st.columns([3, 2], gap="medium")
    mark = session.digest(f"{sets.texts_a}\0{sets.texts_b}")
    with left:
        figure(
            "contrast", trace, (mark, sets.pair),
            lambda: pictures.contrast_grid(trace, found, sets.names), heat_grid,
        )  # fmt: skip
    with right:
        _ranking(trace, found, sets.names)


def _ranking(trace: RoutingTrace, found: Contrast, names: tuple[str, str]) -> None:
    labels = layer_labels(trace)
    lines = [
        {
            "Expert": f"{expert} of layer {labels[row]}",
            names[0]: 100 * found.share_a[row, expert],
            names[1]: 100 * found.share_b[row, expert],
            "Difference": round(100 * float(found.difference[row, expert])),
            "By chance": found.p[row, expert],
        }
        for row, expert in found.ranked()[:RANKED]
    ]
    column = st.column_config
    bar = {"format": "%d %%", "min_value": 0, "max_value": 100, "width": "small"}
    sheet(
        pd.DataFrame(lines), "contrast", height="content", width="stretch",
        column_config={
            "Expert": column.TextColumn(width=90),
            names[0]: column.ProgressColumn(**bar, help="Share of the tokens that choose it"),
            names[1]: column.ProgressColumn(**bar, help="Share of the tokens that choose it"),
            "Difference": column.NumberColumn(format="%+d points", width="small"),
            "By chance": column.NumberColumn(format="%.3f", width="small"),
        },
    )  # fmt: skip
    note(
        "Bars: share of the set's tokens that the expert reads. By chance: share of shuffles in "
        "which any expert of any layer differs at least as much."
    )


def selected(trace: RoutingTrace, view: View, found: Contrast, names: tuple[str, str]) -> None:
    """The expert that was clicked, in a sentence."""
    if view.expert is not None and np.isfinite(found.difference[view.row, view.expert]):
        label = layer_labels(trace)[view.row]
        tell(pictures.expert_sentence(found, view.row, view.expert, names, label))
