"""Version 1 of the trace file: wide numbers, one JSON for all that is no array, no checksums."""

from __future__ import annotations

import numpy as np

from moeviz.store.container import Place, Source, plain_json
from moeviz.store.facts import (
    damage_in_words,
    layers_from,
    router_from,
    source_from,
    text_from,
    vocabulary_from,
)
from moeviz.store.numbers import check_known, from_file
from moeviz.trace import RoutingTrace, Tokens, TraceError

_KINDS = {
    "experts": "I16", "gates": "F32", "logits": "F32", "scores": "F32", "loss": "F32",
    "tokens.ids": "I32", "tokens.spans": "I32", "tokens.special": "BOOL",
    "tokens.generated": "BOOL",
}  # fmt: skip
"""Number format of every array in a file."""


def read_version_1(
    source: Source, metadata: dict[str, str], places: dict[str, Place], whole: bool
) -> RoutingTrace:
    """The trace in a file of version 1, which is read whole always."""
    with damage_in_words(source.name):
        header = plain_json(metadata["header"])
        arrays = {name: _array(source, name, place) for name, place in places.items()}
        columns = {n.removeprefix("tokens."): a for n, a in arrays.items() if "." in n}
        own = {"gates": None} | {n: a for n, a in arrays.items() if "." not in n}
        for name in ("logits", "scores"):
            for layer in own.get(name, ()):
                check_known(layer, name, np.isnan(layer).all())
        return RoutingTrace(
            tokens=Tokens(
                source=text_from(header["text"]),
                vocabulary=vocabulary_from(header["vocabulary"]),
                **columns,
            ),
            router=router_from(header),
            source=source_from(header),
            layers=layers_from(header),
            **own,
        )


def _array(source: Source, name: str, place: Place) -> np.ndarray:
    if place.kind != _KINDS[name]:
        raise TraceError(f"{name} is in {place.kind} instead of {_KINDS[name]}.")
    return from_file(source.read(place.start, place.bytes), place.kind, place.shape)
