"""Version 2 of the trace file: narrow numbers in blocks with checksums, see moeviz.store.files."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import BinaryIO

import numpy as np

from moeviz.lazy import BLOCK, CHECKSUM, LazyArray, blocks, checksum, checksums
from moeviz.store.container import ITEM_BYTES, Place, Source, header_bytes, plain_json
from moeviz.store.facts import (
    damage_in_words,
    layers_from,
    router_from,
    source_from,
)
from moeviz.store.numbers import (
    check_known,
    from_file,
    ids_from_file,
    kind_of_ids,
    kind_of_reals,
    rounded,
    to_file,
)
from moeviz.trace import RoutingTrace, Tokens, TraceError, check_gates, check_ids
from moeviz.vocabulary import Vocabulary

FORMAT = "moetrace"
VERSION = 2

_BLOCKED = ("experts", "gates", "logits", "scores")
"""The arrays [L, T, ...], which stand in blocks."""

_REALS = ("F16", "BF16", "F32")

_KINDS = {
    "experts": ("U8", "I16"), "gates": _REALS, "logits": _REALS, "scores": _REALS,
    "loss": ("F32",), "tokens.ids": ("I32",), "tokens.spans": ("I32",),
    "tokens.special": ("BOOL",), "tokens.generated": ("BOOL",), "text": ("U8",),
    "vocabulary.ids": ("I32",), "vocabulary.ends": ("I32",), "vocabulary.letters": ("U8",),
    **{f"checksums.{name}": ("U8",) for name in _BLOCKED},
}  # fmt: skip
"""Number formats that each array may have."""

_COMPACT = "Gates and logits were rounded to float16 when this trace was saved: at most 0.05 % off."


def compacted(trace: RoutingTrace) -> RoutingTrace:
    """The trace with every gate, logit and score a number of 2 bytes, rounded where it was not."""
    reals = [name for name in _BLOCKED[1:] if getattr(trace, name) is not None]
    wide = [name for name in reals if kind_of_reals(getattr(trace, name)) == "F32"]
    if not wide:
        return trace
    source = replace(trace.source, notes=(*trace.source.notes, _COMPACT))
    return replace(trace, source=source, **{n: rounded(getattr(trace, n)) for n in wide})


def write_trace(trace: RoutingTrace, file: BinaryIO) -> None:
    """Write the file piece by piece, so that it is never in memory as a whole."""
    arrays = {**trace.arrays(), **trace.letters()}
    for name in _BLOCKED:
        if name in arrays:
            arrays[f"checksums.{name}"] = trace.checksums[name]
    kinds = {name: _kind(name, array, trace) for name, array in arrays.items()}
    names = sorted(arrays, key=lambda name: -ITEM_BYTES[kinds[name]])  # so that all are aligned
    facts = json.dumps(trace.facts(), ensure_ascii=False)
    metadata = {"format": FORMAT, "version": str(VERSION), "key": trace.key, "facts": facts}
    file.write(header_bytes(metadata, [(n, kinds[n], arrays[n].shape) for n in names]))
    for name in names:
        for block in blocks(arrays[name]):
            file.write(to_file(block, kinds[name]))


def read_version_2(
    source: Source, metadata: dict[str, str], places: dict[str, Place], whole: bool
) -> RoutingTrace:
    """The trace in a file of version 2; unless `whole`, its large arrays stay in the file."""
    with damage_in_words(source.name):
        file = _File(source, places)
        facts = plain_json(metadata["facts"])
        router = router_from(facts)
        small = {name: file.whole(name) for name in places if name not in _BLOCKED}
        saved = {name: small.pop(f"checksums.{name}") for name in places if name in _BLOCKED}
        big = {
            name: file.whole(name) if whole else file.lazy(name, saved[name], router.experts)
            for name in saved
        }
        trace = RoutingTrace(
            tokens=_tokens(small, whole),
            router=router,
            source=source_from(facts),
            layers=layers_from(facts),
            loss=small.get("loss"),
            **{"gates": None, **big},
        )
        found = {name: checksums(array) for name, array in {**small, **big}.items()}
        vars(trace)["checksums"] = found  # known here; of the trace they would take as long again
        for name in saved:
            if not np.array_equal(found[name], saved[name]):
                raise TraceError(f"its {name} are not those that were saved.")
        if trace.key != metadata["key"]:
            raise TraceError("it is not as it was saved (its key is another).")
        return trace


class _File:
    """The arrays of one file, whose shapes are checked before they are read."""

    def __init__(self, source: Source, places: dict[str, Place]):
        for name, place in places.items():
            if name not in _KINDS:
                raise TraceError(f"it holds {name[:40]!r}, which no trace has.")
            if place.kind not in _KINDS[name]:
                raise TraceError(
                    f"{name} is in {place.kind} instead of {' or '.join(_KINDS[name])}."
                )
            if name in _BLOCKED and len(place.shape) != 3:
                raise TraceError(f"{name} has {len(place.shape)} axes instead of 3.")
        self._source, self._places = source, places

    def whole(self, name: str) -> np.ndarray:
        place = self._places[name]
        found = from_file(self._source.read(place.start, place.bytes), place.kind, place.shape)
        for layer in found if name in ("logits", "scores") else ():
            check_known(layer, name, bool(np.isnan(layer[:1]).all()))
        return ids_from_file(found) if name == "experts" else found

    def lazy(self, name: str, sums: np.ndarray, experts: int) -> LazyArray:
        """The array `name`, each block held to its checksum and its meaning when first read."""
        place = self._places[name]
        layers, tokens, _ = place.shape
        many = -(-tokens // BLOCK)
        if sums.shape != (layers * many, CHECKSUM):
            raise TraceError(f"{name} does not have one checksum a block.")
        checked = np.zeros((layers, many), bool)

        def read(layer: int, block: int) -> np.ndarray:
            with damage_in_words(self._source.name):
                found = self._block(name, layer, block)
                if not checked[layer, block]:
                    if checksum(found) != sums[layer * many + block].tobytes():
                        raise TraceError(f"its {name} are not those that were saved.")
                    self._check(name, found, layer, block, experts)
                    checked[layer, block] = True
            return found

        return LazyArray(place.shape, np.int16 if name == "experts" else np.float32, read, sums)

    def _block(self, name: str, layer: int, block: int, rows: int = BLOCK) -> np.ndarray:
        """[<= rows, N] numbers from the first of a block, not checked."""
        place = self._places[name]
        _, tokens, width = place.shape
        first = block * BLOCK
        rows = min(rows, tokens - first)
        each = width * ITEM_BYTES[place.kind]
        start = place.start + (layer * tokens + first) * each
        found = from_file(self._source.read(start, rows * each), place.kind, (rows, width))
        return ids_from_file(found) if name == "experts" else found

    def _check(self, name: str, found: np.ndarray, layer: int, block: int, experts: int) -> None:
        if name == "experts":
            check_ids(found, experts)
        elif name == "gates":
            check_gates(found, self._block("experts", layer, block))
        else:
            check_known(found, name, bool(np.isnan(self._block(name, layer, 0, 1)).all()))


def _tokens(arrays: dict[str, np.ndarray], whole: bool) -> Tokens:
    vocabulary = Vocabulary(**_under("vocabulary.", arrays))
    if not vocabulary.fits():
        raise TraceError("its vocabulary is not whole.")
    return Tokens(
        source=arrays["text"].tobytes().decode(),
        vocabulary=dict(vocabulary) if whole else vocabulary,
        **_under("tokens.", arrays),
    )


def _under(start: str, arrays: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    return {n.removeprefix(start): array for n, array in arrays.items() if n.startswith(start)}


def _kind(name: str, array: np.ndarray | LazyArray, trace: RoutingTrace) -> str:
    """The number format that the array is written in."""
    if name == "experts":
        return kind_of_ids(trace.router.experts)
    return kind_of_reals(array) if name in _BLOCKED else _KINDS[name][0]
