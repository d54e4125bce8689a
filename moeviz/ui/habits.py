"""Habits on the Specialise page: who fires with whom, what a token settles, reading and writing."""

from __future__ import annotations

import streamlit as st

from moeviz.charts import habits as pictures
from moeviz.metrics.coactivation import VARIANTS, Company, company
from moeviz.metrics.phases import phase_specialisation
from moeviz.metrics.specialisation import Specialisation
from moeviz.metrics.words import VocabularySpecialisation, vocabulary_specialisation
from moeviz.trace import MoevizError
from moeviz.ui import asking
from moeviz.ui.components import heat_grid, picked, plot
from moeviz.ui.datasets import DataSet, kept, written
from moeviz.ui.inquiry import HABITS, VARIANT_WORDS, Inquiry
from moeviz.ui.labels import draw
from moeviz.ui.markdown import plain
from moeviz.ui.terms import headline, inform, note
from moeviz.ui.tokens import kind_choice, layer_table


def habits_section(data: DataSet, inquiry: Inquiry) -> None:
    """One habit at a time."""
    asking.choice("Habit", "habit", HABITS, inquiry.habit)
    draw_habit = {"company": _company, "words": _words, "phases": _phases}[inquiry.habit]
    try:
        draw_habit(data, inquiry)
    except MoevizError as error:
        inform(str(error))


def _company(data: DataSet, inquiry: Inquiry) -> None:
    """Which experts of a layer fire together."""
    with st.container(horizontal=True, gap="medium"):
        row = asking.layer_choice(data.routing, inquiry)
        chosen = int(data.routing.chosen[row])
        variant = inquiry.variant if chosen > 2 else VARIANTS[0]
        if chosen > 2:
            asking.choice("Counted", "variant", VARIANT_WORDS, variant)
    layer = asking.layer_labels(data.routing)[row]
    found = _pairs(data, row, variant)
    headline(pictures.company_sentence(found, layer))
    draw(
        "company", data, (row, variant),
        lambda: pictures.company_grid(data.routing, found, row, layer, variant), heat_grid,
        lambda: _take(data, "company", row),
    )  # fmt: skip
    if chosen == 2:
        note(
            "The OLMoE paper counts all pairs of a token's choices, its published script only "
            "neighbours in rank. With two choices a token, as here, both count the same."
        )


def _words(data: DataSet, inquiry: Inquiry) -> None:
    """What the token itself settles, and the tokens of a layer that settle it most."""
    found = {kind: _settled(data, kind) for kind in data.routing.vocabulary}
    with st.container(horizontal=True, gap="medium"):
        row = asking.layer_choice(data.routing, inquiry)
        kind = kind_choice(data, inquiry)
    names = asking.layer_labels(data.routing)
    headline(pictures.words_sentence(found, row, names[row]))
    left, right = st.columns([3, 2], gap="medium")
    with left:
        draw(
            "words", data, (row, kind),
            lambda: pictures.words_lines(data.routing, found[kind], names, kind, row), plot,
            lambda: _take_row(data, "words"),
        )  # fmt: skip
    with right:
        st.markdown(f"**Tokens of layer {plain(names[row])} with one expert of their own**")
        layer_table(data, kind, row)


def _phases(data: DataSet, inquiry: Inquiry) -> None:
    """Reading beside writing, of the same passages."""
    other = written(data)
    if other is None:
        return
    rows, routing = other
    found = _phase(data, len(rows))
    names = asking.layer_labels(data.routing)
    row, _ = asking.place_of(data.routing, inquiry)
    passages = int((routing.tokens > 0).sum())
    headline(pictures.phase_sentence(found, passages, names))
    left, right = st.columns([3, 2], gap="medium")
    with left:
        draw("phases", data, (), lambda: pictures.phase_grid(data.routing, found, names),
             heat_grid, lambda: _take(data, "phases"))  # fmt: skip
    with right:
        draw("phase-lines", data, (row,),
             lambda: pictures.phase_lines(data.routing, found, names, row), plot,
             lambda: _take_row(data, "phase-lines"))  # fmt: skip


@kept(most=48)
def _pairs(key: str, row: int, variant: str, _data: DataSet) -> Company:
    return company(_data.routing, row, variant)


@kept(most=24)
def _settled(key: str, kind: str, _data: DataSet) -> VocabularySpecialisation:
    return vocabulary_specialisation(_data.routing, kind)


@kept(most=8)
def _phase(key: str, passages: int, _data: DataSet) -> Specialisation:
    rows, routing = written(_data)
    return phase_specialisation(_data.routing, routing, rows)


def _take(data: DataSet, kind: str, row: int | None = None) -> None:
    """Open the card of the expert that was clicked, in its row's layer or the one given."""
    pick, names = picked(kind), asking.layer_labels(data.routing)
    at = pick.get("row") if row is None else row
    if isinstance(at, int) and 0 <= at < len(names) and isinstance(pick.get("expert"), int):
        asking.open_card(names[at], pick["expert"])


def _take_row(data: DataSet, kind: str) -> None:
    row, names = picked(kind).get("row"), asking.layer_labels(data.routing)
    if isinstance(row, int) and 0 <= row < len(names):
        asking.wish(layer=names[row])
