"""Labelled texts as one frozen value over columns."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import cached_property
from typing import overload

import numpy as np

from moeviz.trace import MoevizError

LANGUAGE, DOMAIN, SOURCE = "language", "domain", "source"


class CorpusError(MoevizError):
    """Texts or labels that cannot be used as they are."""


@dataclass(frozen=True)
class Source:
    """Where texts come from: title, origin, licence and the attribution that it asks for."""

    name: str
    title: str
    origin: str
    licence: str
    attribution: str


@dataclass(frozen=True)
class Passage:
    """One row of a corpus. labels: by column. document: passages of one text share it.

    parallel: passages that are translations of each other share it; "" for none.
    """

    text: str
    labels: Mapping[str, str]
    document: str
    parallel: str = ""

    @property
    def language(self) -> str:
        return self.labels.get(LANGUAGE, "")

    @property
    def domain(self) -> str:
        return self.labels.get(DOMAIN, "")

    @property
    def source(self) -> str:
        return self.labels.get(SOURCE, "")


@dataclass(frozen=True, eq=False)
class Corpus(Sequence):
    """P passages held as columns; reads as a list of `Passage`.

    texts: P of them. labels: by column name (such as "language"), [P] str; "" is no label.
    documents: [P] str, what a passage was cut from; passages of one document are not independent.
    families: [P] str, documents that translate one another share it: they too stay together when
    labels are shuffled or halves are made. parallel: [P] str, passages that say the same in several
    languages share it; "" for none. sources: what to show beside every figure.
    notes: sentences the reader must know.

    Raises CorpusError when the columns do not fit together or a text is empty.
    """

    name: str
    texts: tuple[str, ...]
    labels: Mapping[str, np.ndarray] = field(default_factory=dict)
    documents: np.ndarray | None = None
    families: np.ndarray | None = None
    parallel: np.ndarray | None = None
    sources: tuple[Source, ...] = ()
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        count = len(self.texts)
        if not count:
            raise CorpusError(f"{self.name} holds no text.")
        own = np.array([f"{self.name}:{number}" for number in range(count)])
        documents = own if self.documents is None else self.documents
        families = documents if self.families is None else self.families
        parallel = np.full(count, "") if self.parallel is None else self.parallel
        object.__setattr__(self, "texts", tuple(self.texts))
        columns = {"documents": documents, "families": families, "parallel": parallel}
        for name, column in columns.items():
            object.__setattr__(self, name, _column(name, column, count))
        labels = {name: _column(name, column, count) for name, column in self.labels.items()}
        object.__setattr__(self, "labels", labels)
        empty = next((row for row, text in enumerate(self.texts) if not text.strip()), None)
        if empty is not None:
            raise CorpusError(f"Text {empty + 1} of {self.name} is empty. Leave it out.")

    def __len__(self) -> int:
        return len(self.texts)

    @overload
    def __getitem__(self, at: int) -> Passage: ...
    @overload
    def __getitem__(self, at: slice) -> tuple[Passage, ...]: ...
    def __getitem__(self, at):
        if isinstance(at, slice):
            return tuple(self[row] for row in range(*at.indices(len(self))))
        labels = {name: str(column[at]) for name, column in self.labels.items()}
        return Passage(self.texts[at], labels, str(self.documents[at]), str(self.parallel[at]))

    def column(self, label: str) -> np.ndarray:
        """[P] that label of every passage; raises CorpusError when there is no such column."""
        return label_column(self.labels, label, self.name)

    def where(self, keep: np.ndarray, name: str = "") -> Corpus:
        """The passages where `keep` [P] is true, or at those places, in the order given."""
        rows = np.flatnonzero(keep) if np.asarray(keep).dtype == bool else np.asarray(keep)
        return Corpus(
            name=name or self.name,
            texts=tuple(self.texts[row] for row in rows),
            labels={label: column[rows] for label, column in self.labels.items()},
            documents=self.documents[rows],
            families=self.families[rows],
            parallel=self.parallel[rows],
            sources=self.sources,
            notes=self.notes,
        )

    @cached_property
    def key(self) -> str:
        """Content hash: equal exactly when every text and column is equal."""
        digest = hashlib.sha256()
        for text in self.texts:
            data = text.encode("utf-8", "surrogatepass")
            digest.update(len(data).to_bytes(8, "little") + data)
        columns = {
            **{f"label.{name}": column for name, column in sorted(self.labels.items())},
            "documents": self.documents, "families": self.families, "parallel": self.parallel,
        }  # fmt: skip
        listed = {name: column.tolist() for name, column in columns.items()}
        digest.update(json.dumps(listed).encode())
        digest.update(json.dumps([asdict(source) for source in self.sources]).encode())
        return digest.hexdigest()[:32]

    def __repr__(self) -> str:
        counts = [f"{len(np.unique(column))} {name}s" for name, column in self.labels.items()]
        return f"Corpus({self.name!r}: {', '.join([f'{len(self)} passages', *counts])})"


def label_column(labels: Mapping[str, np.ndarray], label: str, owner: str) -> np.ndarray:
    """The column of that name, or a CorpusError that names those there are."""
    if label not in labels:
        known = ", ".join(labels) or "none"
        raise CorpusError(f"{owner} has no label {label!r}; it has {known}.")
    return labels[label]


def _column(name: str, column: Sequence | np.ndarray, count: int) -> np.ndarray:
    array = np.asarray(column, dtype=str)
    if array.shape != (count,):
        raise CorpusError(f"{name} has {len(array)} entries for {count} texts.")
    if array.flags.writeable:
        array = array.copy()
        array.setflags(write=False)
    return array
