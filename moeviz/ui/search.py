"""The search box of the Specialise page: a question in, the experts that answer it out."""

from __future__ import annotations

import numpy as np
import streamlit as st

from moeviz.charts import specialise_words as words
from moeviz.corpora.routing import CorpusRouting
from moeviz.metrics.apart import Apart, set_apart
from moeviz.metrics.question import labels_asked
from moeviz.trace import MoevizError
from moeviz.ui import asking
from moeviz.ui.datasets import DataSet, kept
from moeviz.ui.inquiry import LONGEST_ASK, PUBLISHED
from moeviz.ui.labels import labels_of, specialised
from moeviz.ui.terms import inform, tell

EXAMPLE = "Which experts fire on German law?"


def search(data: DataSet) -> None:
    """The box, and below it the answer in one sentence with the experts to open."""
    st.text_input(
        "Ask for experts", key="search", max_chars=LONGEST_ASK, on_change=_take,
        placeholder="Which experts fire on arXiv?" if data.published else EXAMPLE,
        label_visibility="collapsed",
    )  # fmt: skip
    question = asking.current().ask
    if not question:
        return
    known = {
        name: np.unique(data.routing.labels[name]).tolist() for name in labels_of(data.routing)
    }
    asked = labels_asked(question, known)
    with st.container(border=True, key="answer"):
        if not asked:
            tell(words.unknown_sentence(known))
        elif data.texts:
            _answer(data, asked)
        else:
            _published_answer(data, asked)


def _take() -> None:
    asking.wish(ask=st.session_state["search"])


def _answer(data: DataSet, asked: dict[str, list[str]]) -> None:
    chosen = _mask(data.routing, asked)
    if not chosen.any():
        tell(words.nothing_both(data.routing, asked))
        return
    try:
        found = _apart(data, _facts(asked))
    except MoevizError as error:
        inform(str(error))
        return
    tell(f"{words.asked_words(asked)}: {words.texts_words(found)}. "
                      f"{words.apart_sentence(found)}")  # fmt: skip
    wider = _language_alone(data, asked)
    tongue = words.asked_words({"language": asked["language"]}) if wider else ""
    with st.container(gap=None):
        for row, expert in found.best(6):
            said = words.expert_words(found, row, expert)
            if wider:
                said += f"; all {tongue}: {wider.lift[row, expert]:.1f} ×"
            asking.expert_button(data.routing, row, expert, said, "answer")


def _language_alone(data: DataSet, asked: dict[str, list[str]]) -> Apart | None:
    """The same for the language whatever the domain, to tell topic from tongue."""
    if not {"language", "domain"} <= set(asked):
        return None
    only = {"language": asked["language"]}
    return _apart(data, _facts(only))


def _published_answer(data: DataSet, asked: dict[str, list[str]]) -> None:
    """From totals alone: the experts with the most lift, without chance from dealt labels."""
    label, names = next(iter(asked.items()))
    found = specialised(data, label)
    if found is None:
        return
    at = int(np.flatnonzero(found.names == names[0])[0])
    said = f"{words.label_word(names[0])}, from {PUBLISHED[data.kind]}'s published totals"
    tell(f"{said}; the strongest first:")
    lift = np.nan_to_num(found.lift[:, at])
    for place in np.argsort(-lift, axis=None)[:6]:
        row, expert = (int(i) for i in np.unravel_index(place, lift.shape))
        said = words.share_words(found.share[row, at, expert], lift[row, expert], label)
        asking.expert_button(data.routing, row, expert, said, "answer")


def _mask(routing: CorpusRouting, asked: dict[str, list[str]]) -> np.ndarray:
    """[P] passages that have one of the values asked for in every column asked about."""
    found = np.ones(len(routing.tokens), bool)
    for column, values in asked.items():
        found &= np.isin(routing.labels[column], values)
    return found


@kept(most=64)
def _apart(key: str, asked: tuple, _data: DataSet) -> Apart:
    return set_apart(_data.routing, _mask(_data.routing, dict(asked)))


def _facts(asked: dict[str, list[str]]) -> tuple:
    return tuple((column, tuple(values)) for column, values in asked.items())
