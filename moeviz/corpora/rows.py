"""The rows of a file of texts, a few at a time: CSV, TSV, JSON Lines, Parquet or plain text.

Nothing in a file is executed, and memory does not grow with its length.
"""

from __future__ import annotations

import codecs
import io
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import BinaryIO

import pandas as pd

from moeviz.corpora.corpus import CorpusError

SUFFIXES = (".csv", ".tsv", ".jsonl", ".parquet", ".txt")

MAX_CHARACTERS = 20_000
"""Of one text; what is longer is cut, and that is said."""

MAX_LINE = 2**24
"""Characters of one line of JSON."""

MAX_GROUP = 10**9
"""Unpacked bytes of the columns read of one row group of Parquet."""


def rows_of(
    file: BinaryIO, name: str, size: int, columns: Sequence[str] | None = None
) -> Iterator[pd.DataFrame]:
    """The rows of an open file, at most `size` in a table, every cell a string, "" for none.

    name: the file's; its ending says what it is. columns: those wanted (all if None); Parquet
    reads no others, the rest may give more. Raises CorpusError with one sentence.
    """
    suffix = Path(name).suffix.lower()
    if suffix not in SUFFIXES:
        raise CorpusError(
            f"{name} is not a file that can be read: give {', '.join(SUFFIXES[:-1])} or "
            f"{SUFFIXES[-1]}."
        )
    try:
        if suffix == ".parquet":
            yield from _parquet(file, name, size, columns)
        else:
            text = io.TextIOWrapper(file, "utf-8-sig", newline="\n")
            yield from _READERS[suffix](text, name, size)
    except UnicodeDecodeError as error:
        raise _not_text(file, name) from error


def _csv(text: io.TextIOWrapper, name: str, size: int) -> Iterator[pd.DataFrame]:
    head = text.readline(MAX_LINE)
    text.seek(0)
    separator = max(",;\t", key=head.count)
    try:
        tables = pd.read_csv(text, sep=separator, dtype=str, keep_default_na=False, chunksize=size)
        for table in tables:
            yield table.fillna("")
    except UnicodeDecodeError:
        raise
    except (pd.errors.ParserError, pd.errors.EmptyDataError, ValueError) as error:
        reason = str(error).strip().splitlines()[0].removeprefix("Error tokenizing data. ")
        raise CorpusError(f"{name} is not a table: {reason.rstrip('.')}.") from error


def _jsonl(text: io.TextIOWrapper, name: str, size: int) -> Iterator[pd.DataFrame]:
    rows = []
    for number, line in enumerate(iter(lambda: text.readline(MAX_LINE), ""), 1):
        if len(line) == MAX_LINE:
            raise CorpusError(
                f"Line {number:,} of {name} has more than {MAX_LINE:,} characters. Give each row a "
                "line of its own."
            )
        if line.strip():
            rows.append(_object(line, number, name))
        if len(rows) == size:
            yield _table(rows)
            rows = []
    if rows:
        yield _table(rows)


def _object(line: str, number: int, name: str) -> dict[str, str]:
    try:
        row = json.loads(line)
    except (json.JSONDecodeError, RecursionError) as error:
        raise CorpusError(f"Line {number:,} of {name} is not JSON.") from error
    if not isinstance(row, dict):
        raise CorpusError(f"Line {number:,} of {name} is not a JSON object of columns.")
    return {str(column): _cell(value) for column, value in row.items()}


def _cell(value: object) -> str:
    if isinstance(value, str):
        return value
    return "" if value is None else json.dumps(value, default=str)


def _table(rows: list[dict[str, str]]) -> pd.DataFrame:
    return pd.DataFrame(rows, dtype=object).fillna("")


def _plain(text: io.TextIOWrapper, name: str, size: int) -> Iterator[pd.DataFrame]:
    found: list[str] = []
    for paragraph in _paragraphs(text):
        found.append(paragraph)
        if len(found) == size:
            yield pd.DataFrame({"text": found}, dtype=object)
            found = []
    if found:
        yield pd.DataFrame({"text": found}, dtype=object)


def _paragraphs(text: io.TextIOWrapper) -> Iterator[str]:
    """What stands between empty lines; of a longer one no more than shows that it is too long."""
    kept, length, ended = [], 0, True
    for line in iter(lambda: text.readline(MAX_CHARACTERS + 1), ""):
        if ended and not line.strip("\r\n"):
            yield from _paragraph(kept)
            kept, length = [], 0
        elif length <= MAX_CHARACTERS:
            kept.append(line)
            length += len(line)
        ended = line.endswith("\n")
    yield from _paragraph(kept)


def _paragraph(lines: list[str]) -> Iterator[str]:
    whole = "".join(lines).replace("\r\n", "\n").strip()
    if whole:
        yield whole


_READERS = {".csv": _csv, ".tsv": _csv, ".jsonl": _jsonl, ".txt": _plain}


def _parquet(
    file: BinaryIO, name: str, size: int, columns: Sequence[str] | None
) -> Iterator[pd.DataFrame]:
    import pyarrow as pa
    from pyarrow import parquet

    try:
        opened = parquet.ParquetFile(file, buffer_size=2**20)
        there = opened.schema_arrow.names
        wanted = there if columns is None else [column for column in columns if column in there]
        _check(opened, wanted, name)
        for batch in opened.iter_batches(size, columns=wanted):
            yield pd.DataFrame(
                {str(field): _strings(batch.column(field)) for field in batch.schema.names},
                dtype=object,
            )
    except (pa.ArrowException, OSError) as error:
        raise CorpusError(f"{name} is not a Parquet file, or it is damaged.") from error


def _check(opened, wanted: Sequence[str], name: str) -> None:
    """Raises CorpusError for what would run code of its own, or not fit into memory."""
    for column in wanted:
        if _foreign(opened.schema_arrow.field(column).type):
            raise CorpusError(
                f"Column {column!r} of {name} holds a program's objects, not text. Save it as text."
            )
    groups = [opened.metadata.row_group(at) for at in range(opened.metadata.num_row_groups)]
    for group in groups:
        chunks = [group.column(at) for at in range(group.num_columns)]
        used = [chunk for chunk in chunks if chunk.path_in_schema.partition(".")[0] in wanted]
        unpacked = sum(chunk.total_uncompressed_size for chunk in used)
        if unpacked > MAX_GROUP:
            raise CorpusError(
                f"A row group of {name} unpacks to {unpacked / 1e6:,.0f} MB, but at most "
                f"{MAX_GROUP / 1e6:,.0f} MB are read at a time. Write it with smaller row groups."
            )


def _foreign(kind) -> bool:
    """Whether a library registered its own Python code for this type: some of it unpickles."""
    import pyarrow as pa

    if isinstance(kind, pa.ExtensionType):
        return True
    if pa.types.is_dictionary(kind):
        return _foreign(kind.value_type)
    return any(_foreign(kind.field(at).type) for at in range(kind.num_fields))


def _strings(column) -> list[str]:
    import pyarrow as pa

    if pa.types.is_dictionary(column.type):
        column = column.dictionary_decode()
    if pa.types.is_string(column.type) or pa.types.is_large_string(column.type):
        return [value or "" for value in column.to_pylist()]
    if pa.types.is_floating(column.type):
        return [_cell(value) if value == value else "" for value in column.to_pylist()]
    return [_cell(value) for value in column.to_pylist()]


def _not_text(file: BinaryIO, name: str) -> CorpusError:
    """The sentence for a file that is not UTF-8, with the first byte that is wrong."""
    file.seek(0)
    decoder, place = codecs.getincrementaldecoder("utf-8-sig")(), 0
    while True:
        chunk = file.read(2**20)
        waiting = decoder.getstate()[0]
        try:
            decoder.decode(chunk, final=not chunk)
        except UnicodeDecodeError as error:
            at = place - len(waiting) + error.start
            byte = (waiting + chunk)[error.start]
            return CorpusError(
                f"{name} is not UTF-8 text: byte {at:,} is 0x{byte:02x}. Save it as UTF-8."
            )
        if not chunk:
            return CorpusError(f"{name} is not UTF-8 text. Save it as UTF-8.")
        place += len(chunk)
