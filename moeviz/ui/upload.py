"""The visitor's own labelled texts: a file, its columns, and what is wrong with it if anything."""

from __future__ import annotations

import hashlib

import numpy as np
import pandas as pd
import streamlit as st

from moeviz.charts.words import plural
from moeviz.corpora.corpus import Corpus
from moeviz.corpora.read import MAX_BYTES, MAX_ROWS, SUFFIXES, limits, read_table, table_corpus
from moeviz.trace import MoevizError
from moeviz.ui.hosted import check_upload
from moeviz.ui.house import most_megabytes, most_rows
from moeviz.ui.markdown import plain
from moeviz.ui.terms import note

TEXT_NAMES = ("text", "content", "sentence", "document", "body", "prompt")
"""Column names that are taken for the text unless the visitor chooses another."""

LARGEST_FILE = MAX_BYTES // 10**6
"""Megabytes of a file of texts."""

MOST_GUESSED = 60
"""Different values up to which a column is offered as a label from the start."""


def own_corpus() -> Corpus | None:
    """The corpus of the visitor's file, or None while there is none or it cannot be used."""
    most, rows = most_megabytes(LARGEST_FILE), most_rows(MAX_ROWS)
    file = st.file_uploader(
        "Texts with labels, one passage a row", key="corpus_file",
        type=[suffix[1:] for suffix in SUFFIXES], max_upload_size=most,
    )  # fmt: skip
    note(f"{limits(most, rows)} They stay in your session and nobody else sees them.")
    if file is None:
        return _kept()
    try:
        check_upload(file, LARGEST_FILE)
        data = file.getvalue()
        table = _table(hashlib.sha256(data).hexdigest(), file.name, data)
        text, labels = _columns(table)
        corpus = _corpus(table, file.name, text, labels)
    except MoevizError as error:
        st.error(plain(str(error)))
        return _kept()
    st.session_state["own_corpus"] = corpus
    return _kept()


def _kept() -> Corpus | None:
    """The corpus that was read last; it outlives a visit to another page."""
    corpus = st.session_state.get("own_corpus")
    if corpus is not None:
        labels = ", ".join(corpus.labels) or "no labels"
        note(f"{corpus.name}: {plural(len(corpus), 'passage')}, {labels}.")
    return corpus


@st.cache_resource(max_entries=2, scope="session", show_spinner="Reading the file")
def _table(digest: str, name: str, _data: bytes) -> pd.DataFrame:
    return read_table(_data, name)


def _columns(table: pd.DataFrame) -> tuple[str, list[str]]:
    """The text column and the label columns that the visitor chooses."""
    names = list(table.columns)
    if len(names) == 1:
        return names[0], []
    text = next((name for name in names if name.lower() in TEXT_NAMES), _longest(table))
    left, right = st.columns(2)
    with left:
        text = st.selectbox("Text is in", names, index=names.index(text), key="corpus_text")
    others = [name for name in names if name != text]
    guess = [name for name in others if 2 <= table[name].nunique() <= MOST_GUESSED]
    with right:
        labels = st.multiselect("Labels are in", others, default=guess, key="corpus_labels")
    return text, labels


def _longest(table: pd.DataFrame) -> str:
    """The column with the most text in it."""
    lengths = [table[name].str.len().mean() for name in table.columns]
    return table.columns[int(np.argmax(lengths))]


def _corpus(table: pd.DataFrame, name: str, text: str, labels: list[str]) -> Corpus:
    return table_corpus(table, name, text, labels, most_rows(MAX_ROWS))
