"""What was counted of one block of passages, as bytes and as files; no text is in them.

A part is a safetensors file of small integers and sums of gates, with a header of plain JSON. Its
name is the identity of what was counted, so a finished block is found again by its content.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load, save

from moeviz.corpora.corpus import CorpusError
from moeviz.corpora.packing import header, small
from moeviz.corpora.routing import CorpusRouting, TokenCounts

FORMAT = 1

_PER_PASSAGE = ("tokens", "neighbours", "counts", "first", "same_first", "shared")
_TOTALS = ("together", "ranked", "positions")


@dataclass(frozen=True, eq=False)
class LabelWords:
    """How often each token stood in passages of each value of a label.

    names: the values met. keys: [N] row of the name * vocabulary + token id. counts: [N].
    """

    names: tuple[str, ...]
    keys: np.ndarray
    counts: np.ndarray


@dataclass(frozen=True, eq=False)
class Part:
    """One block: its routing, without columns; its words by label; passages that were clipped."""

    identity: str
    routing: CorpusRouting
    words: Mapping[str, LabelWords]
    clipped: int


def part_bytes(part: Part) -> bytes:
    """The file of a part; `read_part` gives it back."""
    routing = part.routing
    arrays = {name: small(getattr(routing, name)) for name in (*_PER_PASSAGE, *_TOTALS)}
    arrays["gates"] = routing.gates
    for kind, counted in routing.vocabulary.items():
        there = np.flatnonzero(counted.tokens)
        arrays |= {
            f"{kind}.keys": counted.keys, f"{kind}.counts": small(counted.counts),
            f"{kind}.there": small(there), f"{kind}.tokens": small(counted.tokens[there]),
        }  # fmt: skip
    for row, words in enumerate(part.words.values()):
        arrays |= {f"words.{row}.keys": words.keys, f"words.{row}.counts": small(words.counts)}
    facts = {
        "format": FORMAT,
        "identity": part.identity,
        "model": routing.model, "revision": routing.revision, "weights": routing.weights,
        "phase": routing.phase, "notes": routing.notes, "layers": routing.layers,
        "experts": routing.experts.tolist(), "chosen": routing.chosen.tolist(),
        "kinds": {kind: counted.vocabulary for kind, counted in routing.vocabulary.items()},
        "pieces": {str(token): piece for token, piece in routing.pieces.items()},
        "labels": {label: words.names for label, words in part.words.items()},
        "clipped": part.clipped,
    }  # fmt: skip
    arrays = {name: np.ascontiguousarray(array) for name, array in arrays.items()}
    return save(arrays, metadata={"facts": json.dumps(facts)})


def read_part(data: bytes) -> Part:
    """The part in these bytes; raises CorpusError when there is none."""
    try:
        arrays, facts = load(data), json.loads(header(data)["facts"])
        if facts["format"] != FORMAT:
            raise CorpusError(f"A part has format {facts['format']}, not {FORMAT}.")
        return Part(
            facts["identity"],
            _routing(arrays, facts),
            {
                label: LabelWords(
                    tuple(names),
                    arrays[f"words.{row}.keys"].astype(np.int64),
                    arrays[f"words.{row}.counts"].astype(np.int64),
                )
                for row, (label, names) in enumerate(facts["labels"].items())
            },
            facts["clipped"],
        )
    except (SafetensorError, ValueError, KeyError, TypeError) as error:
        raise CorpusError("A part is damaged.") from error


def _routing(arrays: dict[str, np.ndarray], facts: dict) -> CorpusRouting:
    blank = np.full(len(arrays["tokens"]), "")
    return CorpusRouting(
        model=facts["model"],
        revision=facts["revision"],
        weights=facts["weights"],
        phase=facts["phase"],
        notes=tuple(facts["notes"]),
        corpus="",
        layers=tuple(facts["layers"]),
        experts=np.array(facts["experts"]),
        chosen=np.array(facts["chosen"]),
        labels={},
        documents=blank.copy(),
        families=blank.copy(),
        parallel=blank.copy(),
        gates=arrays["gates"],
        vocabulary={kind: _tokens(arrays, kind, size) for kind, size in facts["kinds"].items()},
        pieces={int(token): piece for token, piece in facts["pieces"].items()},
        **{name: arrays[name].astype(np.int32) for name in _PER_PASSAGE},
        **{name: arrays[name].astype(np.int64) for name in _TOTALS},
    )


def _tokens(arrays: dict[str, np.ndarray], kind: str, size: int) -> TokenCounts:
    tokens = np.zeros(size, np.int64)
    tokens[arrays[f"{kind}.there"]] = arrays[f"{kind}.tokens"]
    keys, counts = arrays[f"{kind}.keys"], arrays[f"{kind}.counts"]
    return TokenCounts(size, keys.astype(np.int64), counts.astype(np.int64), tokens)


@dataclass(frozen=True)
class PartFolder:
    """The finished blocks of a folder."""

    path: Path

    def read(self, identity: str) -> Part | None:
        """The part of that identity; None where there is none that can be read."""
        try:
            part = read_part(self._file(identity).read_bytes())
        except (OSError, CorpusError):
            return None
        return part if part.identity == identity else None

    def write(self, identity: str, data: bytes) -> None:
        """Keeps a part, whole or not at all."""
        file = self._file(identity)
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            unfinished = file.with_suffix(f".{os.getpid()}")
            unfinished.write_bytes(data)
            unfinished.replace(file)
        except OSError as error:
            raise CorpusError(f"Cannot write to {self.path}: {error.strerror}.") from error

    def _file(self, identity: str) -> Path:
        return self.path / f"{identity}.safetensors"
