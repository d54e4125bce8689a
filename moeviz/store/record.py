"""What a file of recorded routing holds, what else is known of it, and what must still be asked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from moeviz.store.arrays import routing_from
from moeviz.trace import RoutingTrace, Tokens, TraceError, spoken


@dataclass(frozen=True)
class Told:
    """What is known of a record besides its arrays; any part of it may be left out.

    num_experts, chosen: E and K of a layer, 0 where they are not known. layers: places of the
    routed layers. model_layers: how many the whole model has, 0 where that is not known. tokens,
    texts, start, prompt: as of `routing_from`. model, engine: names to show.
    """

    num_experts: int = 0
    chosen: int = 0
    layers: Sequence[int] | None = None
    model_layers: int = 0
    tokens: Tokens | Sequence[int] | None = None
    texts: Sequence[str] | None = None
    start: int = 0
    prompt: int | None = None
    model: str = ""
    engine: str = ""


@dataclass(frozen=True, eq=False)
class Record:
    """experts: [T, A, K] as recorded; gates alike, or None. said: parts of `Told` that the file
    itself holds. loss: [T] nats, or None. empty_slots: single slots may be -1. notes: for readers.
    """

    experts: np.ndarray
    gates: np.ndarray | None = None
    said: Mapping[str, object] = field(default_factory=dict)
    loss: np.ndarray | None = None
    empty_slots: bool = False
    notes: tuple[str, ...] = ()


class Untold(TraceError):
    """Something that the file does not say and its owner must. wanted: the part of `Told`."""

    def __init__(self, sentence: str, wanted: str):
        super().__init__(sentence)
        self.wanted = wanted


def as_trace(record: Record, told: Told) -> RoutingTrace:
    """The trace of a record, whatever it does not say taken from what was told.

    Raises Untold without the number of experts, TraceError where the two disagree on a number, and
    for whatever `routing_from` refuses.
    """
    told = _filled(told, record.said)
    count = record.experts.shape[1] if record.experts.ndim == 3 else 0
    if told.layers is None and told.model_layers and count and count != told.model_layers:
        raise TraceError(
            f"The file has {count:,} layers, but the model {told.model_layers:,}. It may be of "
            "another model, or a part of its layers is missing."
        )
    if not told.num_experts:
        raise Untold(
            "How many experts does a layer have? The file does not say; the highest number in it "
            f"is {int(record.experts.max())}.",
            "num_experts",
        )
    trace = routing_from(
        record.experts,
        told.num_experts,
        tokens=told.tokens,
        texts=told.texts,
        layers=told.layers,
        chosen=told.chosen,
        start=told.start,
        prompt=told.prompt,
        gates=record.gates,
        empty_slots=record.empty_slots,
        model=told.model,
        engine=told.engine,
        notes=record.notes,
    )
    return trace if record.loss is None else replace(trace, loss=record.loss)


def _filled(told: Told, said: Mapping[str, object]) -> Told:
    for part in ("num_experts", "chosen"):
        given, found = getattr(told, part), said.get(part, 0)
        if given and found and given != found:
            raise TraceError(f"The file says {part} is {found}, but {given} was given.")
    if "layers" in said and told.layers is not None:
        strange = sorted({int(x) for x in said["layers"]} - {int(x) for x in told.layers})
        if strange:
            raise TraceError(
                f"The file holds routing of layer {strange[0]}, but the routed layers are "
                f"{spoken(tuple(told.layers))}. It may be of another model."
            )
        return _filled(replace(told, layers=None), said)
    return replace(told, **{part: said[part] for part in said if _open(getattr(told, part), part)})


def _open(value: object, part: str) -> bool:
    """Whether a part of `Told` was left out."""
    default = getattr(Told(), part)
    return value is None if default is None else not value
