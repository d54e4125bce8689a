"""A user's own file as a corpus: CSV, TSV, JSON Lines, Parquet or plain text.

Nothing in a file is executed, and no more of it is kept than the limits below allow.
"""

from __future__ import annotations

import io
import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from moeviz.corpora.corpus import DOMAIN, LANGUAGE, SOURCE, Corpus, CorpusError

MAX_BYTES = 100_000_000
MAX_ROWS = 20_000
MAX_CHARACTERS = 20_000
"""Of one text; what is longer is cut, and that is said."""
MAX_VALUES = 100
"""Different values of one label column."""

SUFFIXES = (".csv", ".tsv", ".jsonl", ".parquet", ".txt")
LIMITS = (
    f"CSV, TSV, JSON Lines, Parquet or plain text; at most {MAX_BYTES // 10**6} MB, of which the "
    f"first {MAX_ROWS:,} rows are read, and {MAX_CHARACTERS:,} characters of each text."
)
"""The limits as one sentence for the screen."""

_MOST_UNPACKED = 10 * MAX_BYTES


def load_corpus(
    path: str | Path, text: str = "text", labels: Sequence[str] | None = None
) -> Corpus:
    """The corpus in a file; see `LIMITS` for what is read.

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
    suffix = Path(name).suffix.lower()
    if suffix not in SUFFIXES:
        raise CorpusError(
            f"{name} is not a file that can be read: give {', '.join(SUFFIXES[:-1])} or "
            f"{SUFFIXES[-1]}."
        )
    if len(data) > MAX_BYTES:
        raise _too_large(name, len(data))
    if not data.strip():
        raise CorpusError(f"{name} is empty.")
    table = (
        _parquet(data, name) if suffix == ".parquet" else _READERS[suffix](_text(data, name), name)
    )
    if table.empty:
        raise CorpusError(f"{name} has no rows.")
    table.columns = [str(column) for column in table.columns]
    return table


def table_corpus(
    table: pd.DataFrame, name: str, text: str = "text", labels: Sequence[str] | None = None
) -> Corpus:
    """The corpus in a table as `read_table` gives it; see `load_corpus`."""
    if labels is None:
        labels = [column for column in (LANGUAGE, DOMAIN, SOURCE) if column in table]
    for column in (text, *labels):
        if column not in table:
            raise CorpusError(
                f"{name} has no column {column!r}; it has {', '.join(map(repr, table.columns))}."
            )
    notes = []
    if len(table) > MAX_ROWS:
        table = table.iloc[:MAX_ROWS]
        notes.append(f"{name} has more than {MAX_ROWS:,} rows; the first {MAX_ROWS:,} were read.")
    usable = table[text].map(_usable).to_numpy(bool)
    if not usable.any():
        raise CorpusError(f"{name} has no row with text in column {text!r}.")
    if not usable.all():
        notes.append(
            f"{int((~usable).sum()):,} of {len(table):,} rows of {name} held no readable text and "
            "were left out."
        )
    table = table[usable]
    long = table[text].str.len() > MAX_CHARACTERS
    if long.any():
        notes.append(
            f"{int(long.sum()):,} texts of {name} were cut to {MAX_CHARACTERS:,} characters."
        )
    return Corpus(
        name=name,
        texts=tuple(table[text].str.slice(0, MAX_CHARACTERS)),
        labels={column: _label(table[column], name) for column in labels},
        **_families(table),
        notes=tuple(notes),
    )


def _families(table: pd.DataFrame) -> dict[str, np.ndarray]:
    """documents, families and parallel from columns "document" and "parallel", where they are."""
    own = np.array([f"row {number}" for number in range(len(table))])
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


def _usable(text: str) -> bool:
    """Whether a cell holds text that is valid Unicode."""
    return bool(text.strip()) and not any("\ud800" <= letter <= "\udfff" for letter in text)


def _text(data: bytes, name: str) -> str:
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise CorpusError(
            f"{name} is not UTF-8 text: byte {error.start:,} is 0x{data[error.start]:02x}. Save it "
            "as UTF-8."
        ) from error


def _csv(text: str, name: str) -> pd.DataFrame:
    head = text.partition("\n")[0]
    separator = max(",;\t", key=head.count)
    try:
        return pd.read_csv(
            io.StringIO(text), sep=separator, dtype=str, keep_default_na=False, nrows=MAX_ROWS + 1
        ).fillna("")
    except (pd.errors.ParserError, pd.errors.EmptyDataError, ValueError) as error:
        reason = str(error).strip().splitlines()[0].removeprefix("Error tokenizing data. ")
        raise CorpusError(f"{name} is not a table: {reason.rstrip('.')}.") from error


def _jsonl(text: str, name: str) -> pd.DataFrame:
    rows = []
    for number, line in enumerate(text.split("\n"), 1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except (json.JSONDecodeError, RecursionError) as error:
            raise CorpusError(f"Line {number:,} of {name} is not JSON.") from error
        if not isinstance(row, dict):
            raise CorpusError(f"Line {number:,} of {name} is not a JSON object of columns.")
        rows.append({str(column): _cell(value) for column, value in row.items()})
        if len(rows) > MAX_ROWS:
            break
    return pd.DataFrame(rows, dtype=object).fillna("")


def _cell(value: object) -> str:
    if isinstance(value, str):
        return value
    return "" if value is None else json.dumps(value)


def _parquet(data: bytes, name: str) -> pd.DataFrame:
    import pyarrow as pa
    from pyarrow import parquet

    try:
        file = parquet.ParquetFile(io.BytesIO(data))
        groups = [file.metadata.row_group(at) for at in range(file.metadata.num_row_groups)]
        unpacked = sum(group.total_byte_size for group in groups)
        if unpacked > _MOST_UNPACKED:
            raise _too_large(name, unpacked)
        parts, rows = [], 0
        for part in file.iter_batches(MAX_ROWS + 1):
            parts.append(part.to_pandas())
            rows += len(part)
            if rows > MAX_ROWS:
                break
    except (pa.ArrowException, OSError) as error:
        raise CorpusError(f"{name} is not a Parquet file, or it is damaged.") from error
    table = pd.concat(parts).iloc[: MAX_ROWS + 1] if parts else pd.DataFrame()
    return table.astype(object).where(table.notna(), "").map(str)


def _plain(text: str, name: str) -> pd.DataFrame:
    paragraphs = [part.strip() for part in text.replace("\r\n", "\n").split("\n\n")]
    return pd.DataFrame(
        {"text": [part for part in paragraphs if part][: MAX_ROWS + 1]}, dtype=object
    )


_READERS = {".csv": _csv, ".tsv": _csv, ".jsonl": _jsonl, ".txt": _plain}


def _too_large(name: str, size: int) -> CorpusError:
    return CorpusError(
        f"{name} holds {size / 1e6:,.0f} MB, but at most {MAX_BYTES // 10**6} MB are read. "
        "Take a sample of it."
    )
