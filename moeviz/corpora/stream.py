"""A corpus that need not fit into memory: its passages block by block, as often as asked.

`survey` reads all of it once and keeps everything but the texts.
"""

from __future__ import annotations

import glob
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
import pandas as pd

from moeviz.corpora.corpus import DOMAIN, LANGUAGE, SOURCE, Corpus, CorpusError, Source
from moeviz.corpora.read import MAX_VALUES, families, reading_notes, usable_text
from moeviz.corpora.rows import MAX_CHARACTERS, SUFFIXES, rows_of

BLOCK = 512
"""Passages in a block."""


@dataclass(frozen=True, eq=False)
class Block:
    """Some passages in the order of the files. rows, unusable, cut: rows read for them, those of
    them without readable text, and texts that were cut."""

    corpus: Corpus
    rows: int
    unusable: int = 0
    cut: int = 0


class Stream(Protocol):
    """Something that gives the same blocks each time it is asked."""

    @property
    def name(self) -> str: ...

    @property
    def most(self) -> int | None: ...

    def blocks(self) -> Iterator[Block]: ...


@dataclass(frozen=True, eq=False)
class InMemory:
    """A corpus that is in memory already, or the first `most` passages of it."""

    corpus: Corpus
    size: int = BLOCK
    most: int | None = None

    def __post_init__(self) -> None:
        _check_sizes(self.size, self.most)

    @property
    def name(self) -> str:
        return self.corpus.name

    def blocks(self) -> Iterator[Block]:
        rows = np.arange(len(self.corpus))[: self.most]
        for start in range(0, len(rows), self.size):
            part = self.corpus.where(rows[start : start + self.size])
            yield Block(part, len(part))


@dataclass(frozen=True)
class TextFiles:
    """Files with the same columns, read one after the other; `text_files` makes it.

    most: passages to stop after, or None.
    """

    name: str
    paths: tuple[str, ...]
    text: str
    labels: tuple[str, ...]
    size: int = BLOCK
    most: int | None = None

    def __post_init__(self) -> None:
        _check_sizes(self.size, self.most)

    def blocks(self) -> Iterator[Block]:
        held, rows, unusable, done = pd.DataFrame(), 0, 0, 0
        for table in self._tables():
            usable = table[self.text].map(usable_text).to_numpy(bool)
            rows, unusable = rows + len(table), unusable + int((~usable).sum())
            held = pd.concat([held, table[usable]], ignore_index=True)
            full = self.most is not None and done + len(held) >= self.most
            held = held.iloc[: self.most - done] if full else held
            while len(held) > self.size:
                yield self._block(held.iloc[: self.size], done, rows, unusable)
                held, done, rows, unusable = held.iloc[self.size :], done + self.size, 0, 0
            if full:
                break
        if len(held):
            yield self._block(held, done, rows, unusable)
        elif not rows:
            raise CorpusError(f"{self.name} has no rows.")
        else:
            raise CorpusError(f"{self.name} has no row with text in column {self.text!r}.")

    def _tables(self) -> Iterator[pd.DataFrame]:
        columns = list(dict.fromkeys((self.text, *self.labels, "document", "parallel")))
        for path in self.paths:
            name = Path(path).name
            with _opened(path) as file:
                for number, table in enumerate(rows_of(file, name, self.size, columns)):
                    if number == 0:
                        _check(table, name, (self.text, *self.labels), path)
                    yield table.reindex(columns=columns, fill_value="").fillna("")

    def _block(self, table: pd.DataFrame, start: int, rows: int, unusable: int) -> Block:
        corpus = Corpus(
            name=self.name,
            texts=tuple(table[self.text].str.slice(0, MAX_CHARACTERS)),
            labels={label: table[label].str.strip().to_numpy(str) for label in self.labels},
            **families(table, start),
        )
        cut = int((table[self.text].str.len() > MAX_CHARACTERS).sum())
        return Block(corpus, rows, unusable, cut)


def text_files(
    where: str,
    text: str = "text",
    labels: Sequence[str] | None = None,
    size: int = BLOCK,
    most: int | None = None,
) -> TextFiles:
    """The passages of a file, of all files in a folder, or of those that a pattern with * names.

    text, labels: as for `load_corpus`; labels are looked for in the first file unless given. Texts
    are cut as there, but any number of rows is read, a few at a time. most: passages to stop after.
    Raises CorpusError where there is nothing to read.
    """
    paths = _files(where)
    if labels is None:
        first = _first_columns(paths[0])
        labels = [column for column in (LANGUAGE, DOMAIN, SOURCE) if column in first]
    return TextFiles(Path(where).name, tuple(paths), text, tuple(labels), size, most)


@dataclass(frozen=True, eq=False)
class Contents:
    """All of a stream but its texts: P passages in B blocks.

    keys: [B] content hash of each block. sizes: [B] passages in each. The rest as in `Corpus`.
    """

    name: str
    keys: tuple[str, ...]
    sizes: np.ndarray
    labels: dict[str, np.ndarray]
    documents: np.ndarray
    families: np.ndarray
    parallel: np.ndarray
    sources: tuple[Source, ...]
    notes: tuple[str, ...]

    def __len__(self) -> int:
        return int(self.sizes.sum())

    def rows(self, number: int) -> slice:
        """The passages of that block."""
        end = int(self.sizes[: number + 1].sum())
        return slice(end - int(self.sizes[number]), end)


def survey(stream: Stream) -> Contents:
    """Everything that can be known of a stream without a model; raises CorpusError as it reads."""
    keys, sizes, parts = [], [], []
    values: dict[str, set] = {}
    rows = unusable = cut = 0
    corpus = None
    for block in stream.blocks():
        corpus = block.corpus
        keys.append(corpus.key)
        sizes.append(len(corpus))
        parts.append(_columns(corpus))
        rows, unusable, cut = rows + block.rows, unusable + block.unusable, cut + block.cut
        _check_values(stream.name, corpus, values)
    joined = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
    fixed = {name: joined.pop(name) for name in ("documents", "families", "parallel")}
    notes = (*corpus.notes, *reading_notes(stream.name, rows, unusable, cut))
    if sum(sizes) == stream.most:
        notes += (f"Of {stream.name} no more than {stream.most:,} passages were asked for.",)
    return Contents(
        stream.name, tuple(keys), np.array(sizes), {k[1:]: v for k, v in joined.items()}, **fixed,
        sources=corpus.sources, notes=notes,
    )  # fmt: skip


def _columns(corpus: Corpus) -> dict[str, np.ndarray]:
    """The columns by name; that of a label has a dot before its own."""
    labels = {f".{name}": column for name, column in corpus.labels.items()}
    fixed = ("documents", "families", "parallel")
    return {**{name: getattr(corpus, name) for name in fixed}, **labels}


def _check_values(name: str, corpus: Corpus, seen: dict[str, set]) -> None:
    for label, column in corpus.labels.items():
        seen.setdefault(label, set()).update(np.unique(column).tolist())
        if len(seen[label]) > MAX_VALUES:
            raise CorpusError(
                f"Column {label!r} of {name} has more than {MAX_VALUES} different values, which is "
                "the most a label has. Choose another column."
            )


def _check_sizes(size: int, most: int | None) -> None:
    for number, what in ((size, "A block"), (most, "A run")):
        if number is not None and number < 1:
            raise CorpusError(f"{what} has at least 1 passage, not {number}.")


def _files(where: str) -> list[str]:
    if os.path.isdir(where):  # unlike pathlib's, it takes a name too long for a path
        files = sorted(Path(where).rglob("*"))
        found = [str(file) for file in files if file.suffix.lower() in SUFFIXES]
    elif glob.has_magic(where) and not os.path.exists(where):
        found = sorted(glob.glob(where, recursive=True))
    else:
        return [where]
    if not found:
        raise CorpusError(f"{where} holds no file that can be read: {', '.join(SUFFIXES)}.")
    return found


def _first_columns(path: str) -> list[str]:
    with _opened(path) as file:
        return list(next(rows_of(file, Path(path).name, BLOCK), pd.DataFrame()).columns)


def _opened(path: str):
    try:
        return Path(path).open("rb")
    except OSError as error:
        raise CorpusError(f"Cannot read {path}: {error.strerror}.") from error


def _check(table: pd.DataFrame, name: str, wanted: Sequence[str], path: str) -> None:
    missing = next((column for column in wanted if column not in table), None)
    if missing is not None:
        there = ", ".join(map(repr, _first_columns(path)))
        raise CorpusError(f"{name} has no column {missing!r}; it has {there}.")
