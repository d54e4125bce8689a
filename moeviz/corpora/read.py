"""A user's own file as a corpus: CSV, TSV, JSON Lines, Parquet or plain text.

Nothing in a file is executed, and no more of it is kept than the limits below allow.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from moeviz.corpora.corpus import DOMAIN, LANGUAGE, SOURCE, Corpus, CorpusError
from moeviz.corpora.rows import MAX_CHARACTERS, SUFFIXES, rows_of

MAX_BYTES = 100_000_000
MAX_ROWS = 20_000
MAX_VALUES = 100
"""Different values of one label column."""


def limits(megabytes: int = MAX_BYTES // 10**6, rows: int = MAX_ROWS) -> str:
    """What is read of a file, as one sentence for the screen."""
    return (
        f"CSV, TSV, JSON Lines, Parquet or plain text; at most {megabytes:,} MB, of which the "
        f"first {rows:,} rows are read, and {MAX_CHARACTERS:,} characters of each text."
    )


_MOST_UNPACKED = 10 * MAX_BYTES
_AT_ONCE = 1024


def load_corpus(
    path: str | Path, text: str = "text", labels: Sequence[str] | None = None
) -> Corpus:
    """The corpus in a file; see `limits` for what is read.

    text: the column of the texts. labels: columns to tell passages apart by; unless given, those
    of "language", "domain" and "source" that are there. A column "document" says which passages
    come from one text, "parallel" which of them are translations of each other; passages that
    share either stay together when labels are dealt. Plain text has no columns: each paragraph is
    a passage.

    Raises CorpusError with one sentence for a file or column that cannot be used.
    """
    path = Path(path)
    name = path.name
    try:
        if path.stat().st_size > MAX_BYTES:
            raise _too_large(name, path.stat().st_size)
        data = path.read_bytes()
    except OSError as error:
        raise CorpusError(f"Cannot read {path}: {error.strerror}.") from error
    return table_corpus(read_table(data, name), name, text, labels)


def read_table(data: bytes, name: str) -> pd.DataFrame:
    """The rows of an uploaded file, every cell a string, "" where there is none.

    name: the file's; its ending says what it is. One row more than MAX_ROWS is read, so that
    `table_corpus` can say that there are more.
    """
    if len(data) > MAX_BYTES:
        raise _too_large(name, len(data))
    if not data.strip() and Path(name).suffix.lower() in SUFFIXES:
        raise CorpusError(f"{name} is empty.")
    parts, rows, characters = [], 0, 0
    for part in rows_of(io.BytesIO(data), name, _AT_ONCE):
        parts.append(part)
        rows += len(part)
        characters += sum(int(part[column].str.len().sum()) for column in part)
        if characters > _MOST_UNPACKED:
            raise _too_large(name, characters)
        if rows > MAX_ROWS:
            break
    if not rows:
        raise CorpusError(f"{name} has no rows.")
    table = pd.concat(parts, ignore_index=True).iloc[: MAX_ROWS + 1].fillna("")
    table.columns = [str(column) for column in table.columns]
    return table


def table_corpus(
    table: pd.DataFrame,
    name: str,
    text: str = "text",
    labels: Sequence[str] | None = None,
    most: int | None = None,
) -> Corpus:
    """The corpus in the first `most` rows (MAX_ROWS) of a `read_table`; see `load_corpus`."""
    most = most or MAX_ROWS
    if labels is None:
        labels = [column for column in (LANGUAGE, DOMAIN, SOURCE) if column in table]
    for column in (text, *labels):
        if column not in table:
            raise CorpusError(
                f"{name} has no column {column!r}; it has {', '.join(map(repr, table.columns))}."
            )
    notes = []
    if len(table) > most:
        table = table.iloc[:most]
        notes.append(f"{name} has more than {most:,} rows; the first {most:,} were read.")
    usable = table[text].map(usable_text).to_numpy(bool)
    if not usable.any():
        raise CorpusError(f"{name} has no row with text in column {text!r}.")
    long = table[text][usable].str.len() > MAX_CHARACTERS
    notes += reading_notes(name, len(table), int((~usable).sum()), int(long.sum()))
    table = table[usable]
    return Corpus(
        name=name,
        texts=tuple(table[text].str.slice(0, MAX_CHARACTERS)),
        labels={column: _label(table[column], name) for column in labels},
        **families(table),
        notes=tuple(notes),
    )


def reading_notes(name: str, rows: int, unusable: int, cut: int) -> list[str]:
    """What the reader must know of rows that were left out and texts that were cut."""
    notes = []
    if unusable:
        notes.append(
            f"{unusable:,} of {rows:,} rows of {name} held no readable text and were left out."
        )
    if cut:
        notes.append(f"{cut:,} texts of {name} were cut to {MAX_CHARACTERS:,} characters.")
    return notes


def families(table: pd.DataFrame, start: int = 0) -> dict[str, np.ndarray]:
    """documents, families and parallel from columns "document" and "parallel", where they are.

    start: number of the first row, for those that belong to no document.
    """
    own = np.array([f"row {number}" for number in range(start, start + len(table))])
    found = {}
    documents = families = own
    if "document" in table:
        given = table["document"].to_numpy(str)
        documents = families = np.where(given == "", own, given)
    if "parallel" in table:
        parallel = table["parallel"].to_numpy(str)
        families = np.where(parallel == "", documents, np.char.add("parallel ", parallel))
        found["parallel"] = parallel
    return {**found, "documents": documents, "families": families}


def _label(column: pd.Series, name: str) -> np.ndarray:
    values = column.str.strip().to_numpy(str)
    different = len(np.unique(values))
    if different > MAX_VALUES:
        raise CorpusError(
            f"Column {column.name!r} of {name} has {different:,} different values, but a label has "
            f"at most {MAX_VALUES}. Choose another column."
        )
    return values


def usable_text(text: str) -> bool:
    """Whether a cell holds text that is valid Unicode."""
    return bool(text.strip()) and not any("\ud800" <= letter <= "\udfff" for letter in text)


def _too_large(name: str, size: int) -> CorpusError:
    return CorpusError(
        f"{name} holds {size / 1e6:,.0f} MB, but at most {MAX_BYTES // 10**6} MB are read. "
        "Take a sample of it."
    )
