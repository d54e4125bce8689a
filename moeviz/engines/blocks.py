"""A corpus block by block: whoever counts them, in whatever order, the whole is the same.

Every passage belongs to one block, so its counts and sums of gates are taken over as they are; all
other totals are integers. A finished block is kept under its identity, which is the model, the
settings and the block's content; a later run counts only what is missing.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Protocol

import numpy as np

from moeviz.corpora.corpus import Corpus, CorpusError, label_column
from moeviz.corpora.parts import FORMAT, Part, PartFolder, read_part
from moeviz.corpora.routing import CorpusRouting
from moeviz.corpora.stream import Contents, Stream, survey
from moeviz.engines.tally import Tally

Progress = Callable[[int, int], None]
"""Called with passages done and passages in all; may raise CorpusCancelled."""

MAX_TOKENS = 512
"""Tokens read of each passage unless told otherwise."""

KINDS = ("input", "next", "predicted")

SMALL = 10**9
"""Bytes of counts that any machine is taken to have room for."""


@dataclass(frozen=True)
class Settings:
    """What is counted; see `route_corpus` and `route_written`, which new_tokens asks for.

    labels: columns whose values get the words of their passages counted.
    """

    max_tokens: int = MAX_TOKENS
    vocabulary: tuple[str, ...] = ("input", "next")
    special: bool = False
    new_tokens: int = 0
    labels: tuple[str, ...] = ()


@dataclass(frozen=True)
class Outcome:
    """A block that was tried. data: the file of its part, or None; then `error` says why.
    begun: times it was begun."""

    number: int
    data: bytes | None
    error: str = ""
    begun: int = 1


class Engine(Protocol):
    """Who counts blocks."""

    def key(self) -> str:
        """Name of the model as it would run: other weights, tokenizer or dtype, another key."""

    def run(
        self, stream: Stream, todo: Mapping[int, str], settings: Settings, told: Progress
    ) -> Iterator[Outcome]:
        """The blocks of these numbers, in any order. todo: by number, the identity of the part.

        told: progress within a block, passages done and passages in it.
        """


@dataclass(frozen=True, eq=False)
class Gathered:
    """A finished run. words: by label, [G, V] as `label_words` gives them. failed: a sentence for
    each block that could not be counted. found: blocks that an earlier run had finished.
    again: times that a block had to be begun again."""

    routing: CorpusRouting
    words: dict[str, np.ndarray]
    failed: tuple[str, ...]
    found: int
    again: int


def route_blocks(
    stream: Stream,
    engine: Engine,
    settings: Settings,
    folder: PartFolder | None = None,
    progress: Progress | None = None,
    contents: Contents | None = None,
) -> Gathered:
    """What the engine's model does with every passage of `stream`.

    folder: keeps each finished block; those that are there already are not counted again. settings
    need not name labels: those of the stream are taken. contents: of the stream, if surveyed.
    Memory: one block, and 12 bytes a passage, layer and expert in the end. Raises CorpusError, also
    when no block could be counted.
    """
    contents = contents or survey(stream)
    labels = () if settings.new_tokens else settings.labels or tuple(contents.labels)
    settings = dataclasses.replace(settings, labels=labels)
    key = engine.key()
    names = [identity(key, settings, block) for block in contents.keys]
    whole = _Whole(contents, settings)
    progress = progress or (lambda done, total: None)

    for number, name in enumerate(names):
        part = folder.read(name) if folder else None
        if part is not None:
            whole.take(number, part)
    found, again, failed = len(whole.done), 0, {}
    todo = {number: name for number, name in enumerate(names) if number not in whole.done}
    done = len(contents) - sum(int(contents.sizes[number]) for number in todo)

    def told(passages: int, _: int) -> None:
        progress(done + passages, len(contents))

    for outcome in engine.run(stream, todo, settings, told) if todo else ():
        again += outcome.begun - 1
        if outcome.data is None:
            failed[outcome.number] = outcome.error
        else:
            part = read_part(outcome.data)
            if folder:
                folder.write(names[outcome.number], outcome.data)
            whole.take(outcome.number, part)
        done += int(contents.sizes[outcome.number])
        progress(done, len(contents))
    failed |= dict.fromkeys(todo.keys() - whole.done - failed.keys(), "It was never finished.")
    sentences = tuple(_failure(contents, number, failed[number]) for number in sorted(failed))
    if not whole.done:
        raise CorpusError(f"No block of {stream.name} could be counted. {sentences[0]}")
    return Gathered(*whole.result(sentences, again), sentences, found, again)


def identity(key: str, settings: Settings, block: str) -> str:
    """Name of a part: equal exactly when format, model, settings and block are equal."""
    words = json.dumps([FORMAT, key, asdict(settings), block])
    return hashlib.sha256(words.encode()).hexdigest()[:32]


def wanted(
    stream: Stream, todo: Mapping[int, str], key: str, settings: Settings
) -> Iterator[tuple[int, Corpus]]:
    """(number, corpus) of the blocks to count; raises CorpusError if they have changed."""
    last = max(todo, default=-1)
    for number, block in enumerate(stream.blocks()):
        if number in todo:
            if identity(key, settings, block.corpus.key) != todo[number]:
                raise CorpusError(f"{stream.name} was changed while it was read. Start again.")
            yield number, block.corpus
        if number == last:
            return


def clipped_note(clipped: int, passages: int, max_tokens: int) -> tuple[str, ...]:
    """The sentence on passages that were longer than was read, if there are any."""
    if not clipped:
        return ()
    return (
        f"{clipped:,} of {passages:,} passages were longer than {max_tokens:,} tokens; only that "
        "much of each was read.",
    )


def _failure(contents: Contents, number: int, error: str) -> str:
    rows = contents.rows(number)
    return (
        f"Passages {rows.start + 1:,} to {rows.stop:,} of {contents.name} could not be counted and "
        f"are left out: {error}"
    )


class _Whole:
    """The corpus in the making."""

    def __init__(self, contents: Contents, settings: Settings):
        self.contents, self.settings = contents, settings
        self.done: set[int] = set()
        self._names = {
            label: np.unique(label_column(contents.labels, label, contents.name))
            for label in settings.labels
        }
        self._first: Part | None = None
        self._pieces: dict[int, str] = {}
        self._clipped = 0

    def take(self, number: int, part: Part) -> None:
        if self._first is None:
            self._begin(part)
        self._tally.take(self.contents.rows(number), part.routing)
        self._pieces |= part.routing.pieces
        self._clipped += part.clipped
        for label, words in part.words.items():
            size = self._words[label].shape[1]
            places = np.searchsorted(self._names[label], words.names)
            self._words[label][places[words.keys // size], words.keys % size] += words.counts
        self.done.add(number)

    def _begin(self, part: Part) -> None:
        routing = part.routing
        _, layers, experts = routing.shape
        _check_room(len(self.contents), layers, experts)
        sizes = {kind: counted.vocabulary for kind, counted in routing.vocabulary.items()}
        self._first = part
        self._tally = Tally(len(self.contents), layers, experts, sizes)
        self._words = {
            label: np.zeros((len(names), sizes["input"]), np.int64)
            for label, names in self._names.items()
        }

    def result(
        self, failed: tuple[str, ...], again: int
    ) -> tuple[CorpusRouting, dict[str, np.ndarray]]:
        kept = np.zeros(len(self.contents), bool)
        for number in self.done:
            kept[self.contents.rows(number)] = True
        contents, first = self.contents, self._first.routing
        counted = self._tally.totals()
        columns = {name: getattr(contents, name) for name in ("documents", "families", "parallel")}
        passages = {**columns, **{name: counted.pop(name) for name in Tally.BY_PASSAGE}}
        if not kept.all():
            passages = {name: array[kept] for name, array in passages.items()}
        again_note = (f"Blocks begun again after a failure: {again:,}.",) if again else ()
        routing = dataclasses.replace(
            first,
            corpus=contents.name,
            labels={name: column[kept] for name, column in contents.labels.items()},
            sources=contents.sources,
            pieces=dict(sorted(self._pieces.items())),
            notes=(
                *first.notes,
                *contents.notes,
                *clipped_note(self._clipped, int(kept.sum()), self.settings.max_tokens),
                *failed,
                *again_note,
            ),
            **passages,
            **counted,
        )
        words = {label: counts[self._names[label] != ""] for label, counts in self._words.items()}
        return routing, words


def _check_room(passages: int, layers: int, experts: int) -> None:
    need = 12 * passages * layers * experts
    if need <= SMALL:
        return
    from moeviz.models.plan import free_memory, size  # late: torch takes seconds

    free = free_memory("cpu")
    if free is not None and need > free / 2:  # the metrics need as much again
        fits = int(free / 2 / (12 * layers * experts))
        raise CorpusError(
            f"The counts of {passages:,} passages take {size(need)}, and half of what this machine "
            f"has free is {size(free / 2)}. Read at most {fits:,} passages."
        )


class LocalEngine:
    """One process, with a model that is loaded."""

    def __init__(self, model):
        from moeviz.engines.counting import BlockCounter  # late: torch takes seconds

        self._counter = BlockCounter(model)

    def key(self) -> str:
        return self._counter.key

    def run(
        self, stream: Stream, todo: Mapping[int, str], settings: Settings, told: Progress
    ) -> Iterator[Outcome]:
        for number, corpus in wanted(stream, todo, self.key(), settings):
            yield Outcome(number, self._counter.count(corpus, settings, todo[number], told))
