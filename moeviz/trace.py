"""What one model did with one text: the value that everything else in MoEViz turns on.

A model makes a `RoutingTrace`; nobody changes it afterwards. Axes are always in the order
L routed layers, T tokens, E experts, K chosen per token.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import overload

import numpy as np

from moeviz.lazy import LazyArray, checksums
from moeviz.vocabulary import Vocabulary

EMPTY = -1
"""Expert id of an empty slot: dropped by the model, skipped, or a layer that chooses fewer."""


MOST_EXPERTS = 2**15 - 1
"""Experts that the int16 ids of a trace can tell apart."""


class MoevizError(ValueError):
    """Something the user can mend; its message is one plain sentence fit for the screen."""


class TraceError(MoevizError):
    """A trace whose parts do not fit together."""


@dataclass(frozen=True)
class Token:
    """One row of the trace, as the tokenizer cut it.

    `text` is the piece of the source it covers; byte pieces of one character all carry that
    whole character. `piece` is the tokenizer's own spelling. `span` counts characters of the
    source, end excluded; both ends are -1 for a token that stands for no text.
    """

    text: str
    id: int
    span: tuple[int, int]
    special: bool = False
    generated: bool = False
    piece: str = ""


@dataclass(frozen=True, eq=False)
class Tokens(Sequence):
    """T tokens held as columns, so that a million of them stay cheap; reads as a list of `Token`.

    source: the whole text. ids [T] int32, negative where they are not known. spans [T, 2] int32,
    characters of `source`, -1 for none. special and generated [T] bool. vocabulary: the
    tokenizer's spelling of each id used.
    """

    source: str
    ids: np.ndarray
    spans: np.ndarray
    special: np.ndarray
    generated: np.ndarray
    vocabulary: Mapping[int, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name, kind in (("ids", np.int32), ("spans", np.int32)):
            _freeze(self, name, kind)
        for name in ("special", "generated"):
            _freeze(self, name, bool)
        count = len(self.ids)
        shapes = {"spans": (count, 2), "special": (count,), "generated": (count,)}
        for name, shape in shapes.items():
            if getattr(self, name).shape != shape:
                raise TraceError(
                    f"tokens.{name} has shape {getattr(self, name).shape}, "
                    f"but {count} tokens need {shape}."
                )
        if count and self.spans.max() > len(self.source):
            raise TraceError(
                f"A token ends at character {self.spans.max()}, "
                f"but the text has {len(self.source)} characters."
            )

    def __len__(self) -> int:
        return len(self.ids)

    @overload
    def __getitem__(self, at: int) -> Token: ...
    @overload
    def __getitem__(self, at: slice) -> tuple[Token, ...]: ...
    def __getitem__(self, at):
        if isinstance(at, slice):
            return tuple(self[i] for i in range(*at.indices(len(self))))
        start, end = (int(x) for x in self.spans[at])
        token_id = int(self.ids[at])
        piece = self.vocabulary.get(token_id, "")
        return Token(
            text=self.source[start:end] if 0 <= start < end else piece,
            id=token_id,
            span=(start, end),
            special=bool(self.special[at]),
            generated=bool(self.generated[at]),
            piece=piece,
        )

    @property
    def texts(self) -> list[str]:
        """The T token texts."""
        return [token.text for token in self]


@dataclass(frozen=True)
class RouterSpec:
    """What kind of router made the trace.

    experts: E, the number of experts of the widest routed layer. chosen: K likewise.
    experts_per_layer, chosen_per_layer: [L] when the layers differ, else empty; the arrays of
    the trace are then padded (-1 ids, 0 gates, -inf logits).
    sites: [L] module path of each routed layer. stack: "decoder" or "encoder".
    scoring: how gates follow from logits ("softmax", "sigmoid", ... or "other"; "" where it is
        not known).
    renormalised: the gates of a token always add up to `scale`.
    bias: the choice is not simply the top-K of the logits (a balancing bias, groups, a hash).
    groups, groups_chosen: experts are first chosen by group (0 when they are not).
    shared: shared experts that every token passes through; known only as present or not
    where the model does not count them.
    logits_kind: "logits", or "log-probabilities" where the model hands out only those.
    capacity: the model itself drops tokens over this many per expert and sequence (0: never).
    """

    experts: int
    chosen: int
    scoring: str = "softmax"
    renormalised: bool = False
    scale: float = 1.0
    bias: bool = False
    groups: int = 0
    groups_chosen: int = 0
    shared: int = 0
    logits_kind: str = "logits"
    capacity: int = 0
    stack: str = "decoder"
    sites: tuple[str, ...] = ()
    experts_per_layer: tuple[int, ...] = ()
    chosen_per_layer: tuple[int, ...] = ()

    def in_words(self, layers: tuple[int, ...]) -> str:
        """The facts as one sentence; layers are the places of the routed layers."""
        scoring = f"{self.scoring} scores" if self.scoring else ""
        parts = [
            f"top-{self.chosen} of {self.experts} experts in layers {spoken(layers)}",
            f"{scoring}, gates add up to {self.scale:g}" if self.renormalised else scoring,
            "the choice is not simply the top-K of the logits" if self.bias else "",
            f"{self.groups_chosen} of {self.groups} groups first" if self.groups else "",
            f"{self.shared} shared" if self.shared else "",
            f"at most {self.capacity} tokens an expert" if self.capacity else "",
        ]
        return "; ".join(part for part in parts if part) + "."


@dataclass(frozen=True)
class Provenance:
    """Where a trace comes from: enough to make it again.

    rule: the routing rule in force, in its short readable form; "" for the model's own routing.
    notes: sentences the reader must know (text cut, known faults of the model).
    """

    model: str
    revision: str = ""
    model_type: str = ""
    device: str = ""
    dtype: str = ""
    versions: tuple[tuple[str, str], ...] = ()
    rule: str = ""
    text_sha256: str = ""
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Pick:
    """What the user has selected; the one thing that travels back from screen to figures."""

    layer: int = 0
    expert: int | None = None
    token: int | None = None


@dataclass(frozen=True, eq=False)
class RoutingTrace:
    """What one model did with one text: L routed layers, T tokens, E experts, K chosen.

    experts: [L, T, K] int16, chosen ids, largest gate first; -1 is an empty slot. Without gates
        they stand in the order they came in, which need not be by weight.
    gates: [L, T, K] float32, the weight each chosen expert's output was multiplied by, or None
        when only choices are known.
    logits: [L, T, E] float32 router logits before selection, or None when they are not known.
    scores: [L, T, E] float32, what the top-K was really taken of, where that is not the logits
        (bias, groups), or None.
    loss: [T] float32, nats needed to predict the next token (last: nan), or None.
    layers: (L,) place of each routed layer in the model; dense layers are absent.
    tokens, router, source: see their classes.

    The [L, T, ...] arrays of a long trace may stay in their file (`moeviz.lazy.LazyArray`): they
    read like numpy arrays, and are checked piece by piece when they are looked at.

    Raises TraceError when shapes, ids or numbers do not fit together.
    """

    experts: np.ndarray
    gates: np.ndarray | None
    tokens: Tokens
    router: RouterSpec
    source: Provenance
    layers: tuple[int, ...]
    logits: np.ndarray | None = None
    scores: np.ndarray | None = None
    loss: np.ndarray | None = None

    def __post_init__(self) -> None:
        _freeze(self, "experts", np.int16)
        for name in ("gates", "logits", "scores", "loss"):
            if getattr(self, name) is not None:
                _freeze(self, name, np.float32)
        object.__setattr__(self, "layers", tuple(int(layer) for layer in self.layers))
        _check_shapes(self)
        _check_choices(self)

    @property
    def shape(self) -> tuple[int, int, int, int]:
        """(L, T, E, K)."""
        return len(self.layers), len(self.tokens), self.router.experts, self.router.chosen

    @cached_property
    def key(self) -> str:
        """Content hash: equal exactly when every array, token and fact of the trace is equal."""
        digest = hashlib.sha256(json.dumps(self.facts(), sort_keys=True).encode())
        arrays = self.arrays()
        for name, sums in sorted(self.checksums.items()):
            shape = arrays[name].shape if name in arrays else ()
            digest.update(f"{name}{shape}".encode() + sums.tobytes())
        return digest.hexdigest()[:32]

    @cached_property
    def checksums(self) -> dict[str, np.ndarray]:
        """Of every array and text the checksums of its blocks, see `moeviz.lazy.checksums`."""
        parts = {**self.arrays(), **self.letters()}
        return {name: checksums(array) for name, array in parts.items()}

    def arrays(self) -> dict[str, np.ndarray]:
        """Every array of the trace by name, those that are None left out."""
        tokens = {f"tokens.{n}": getattr(self.tokens, n) for n in _TOKEN_ARRAYS}
        own = {n: getattr(self, n) for n in ("experts", "gates", "logits", "scores", "loss")}
        return {n: a for n, a in {**own, **tokens}.items() if a is not None}

    def letters(self) -> dict[str, np.ndarray]:
        """The text in UTF-8, and the tokenizer's spellings, as arrays by name."""
        text = np.frombuffer(self.tokens.source.encode(), np.uint8)
        columns = Vocabulary.of(self.tokens.vocabulary).columns()
        return {"text": text, **{f"vocabulary.{n}": column for n, column in columns.items()}}

    def facts(self) -> dict:
        """Everything that is neither array nor text, as plain JSON values."""
        return {
            "layers": list(self.layers),
            "router": dataclasses.asdict(self.router),
            "source": dataclasses.asdict(self.source),
        }

    @property
    def ranked(self) -> bool:
        """Whether slot 0 is known to be the first choice; without gates the order is the source's
        own."""
        return self.gates is not None or self.router.chosen == 1

    def layer_index(self, layer: int) -> int:
        """Row of the model's layer `layer` in this trace; raises TraceError if it is not routed."""
        if layer in self.layers:
            return self.layers.index(layer)
        raise TraceError(
            f"This trace has {len(self.layers)} routed layers and layer {layer} is not one of "
            f"them. Choose {spoken(self.layers)}."
        )

    def save(self, path: str | Path, compact: bool = False) -> Path:
        """Write the trace to one safetensors file; the file is written whole or not at all.

        What is opened again is equal, key and all. compact: at most 2 bytes for a gate or logit,
        rounded to float16 where that is needed; it is the rounded trace then that was saved, with
        a note that says so and a key of its own.
        """
        from moeviz.store.files import save_trace  # late: store leans on this module

        return save_trace(self, path, compact)

    def plot(self, kind: str = "load", *, layer: int | None = None, token: int = 0):
        """A Plotly figure: "load", "tokens" of one layer, or the "journey" of one token.

        See `moeviz.plot`, which says the same of any trace.
        """
        from moeviz.charts.figures import plot  # late: charts lean on this module

        return plot(self, kind, layer=layer, token=token)

    def _repr_html_(self) -> str:
        """The trace as a notebook shows it."""
        from moeviz.charts.notebook import trace_html  # late: charts lean on this module

        return trace_html(self)

    def __repr__(self) -> str:
        layers, tokens, experts, chosen = self.shape
        return (
            f"RoutingTrace({self.source.model!r}: {layers} routed layers, {tokens} tokens, "
            f"top-{chosen} of {experts} experts, key {self.key[:8]})"
        )


_TOKEN_ARRAYS = ("ids", "spans", "special", "generated")


def _freeze(owner: object, name: str, kind: type) -> None:
    """Make the array `owner.name` a read-only array of `kind`; copies unless it is one already."""
    array = getattr(owner, name)
    if isinstance(array, LazyArray) and array.dtype == kind:
        return
    array = np.asarray(array)
    if array.dtype != kind or array.flags.writeable:
        array = array.astype(kind)
        array.setflags(write=False)
    object.__setattr__(owner, name, array)


def _check_shapes(trace: RoutingTrace) -> None:
    layers, tokens, experts, chosen = trace.shape
    if not layers or not tokens:
        raise TraceError(
            f"A trace needs at least one routed layer and one token; this one has {layers} "
            f"layers and {tokens} tokens."
        )
    need = {
        "experts": (layers, tokens, chosen),
        "gates": (layers, tokens, chosen),
        "logits": (layers, tokens, experts),
        "scores": (layers, tokens, experts),
        "loss": (tokens,),
    }
    for name, shape in need.items():
        array = getattr(trace, name)
        if array is not None and array.shape != shape:
            raise TraceError(
                f"{name} has shape {array.shape}, but {layers} layers, {tokens} tokens, "
                f"{experts} experts and top {chosen} need {shape}."
            )
    if not 1 <= chosen <= experts <= MOST_EXPERTS:
        raise TraceError(
            f"A router chooses 1 or more of at most {MOST_EXPERTS:,} experts; this one chooses "
            f"{chosen:,} of {experts:,}."
        )
    for name in ("sites", "experts_per_layer", "chosen_per_layer"):
        values = getattr(trace.router, name)
        if values and len(values) != layers:
            raise TraceError(f"router.{name} has {len(values)} entries for {layers} layers.")
    for name, most in (("experts_per_layer", experts), ("chosen_per_layer", chosen)):
        values = getattr(trace.router, name)
        if values and not 0 <= min(values) <= max(values) <= most:
            raise TraceError(f"router.{name} goes up to {max(values)}, but router has {most}.")


def _check_choices(trace: RoutingTrace) -> None:
    """Layer by layer; arrays that stay in their file are checked when they are read."""
    gates = [None] * len(trace.experts) if trace.gates is None else trace.gates
    if all(isinstance(array, LazyArray | list) for array in (trace.experts, gates)):
        return
    for ids, weights in zip(trace.experts, gates, strict=True):
        check_ids(ids, trace.router.experts)
        if weights is not None:
            check_gates(weights, ids)


def check_ids(ids: np.ndarray, experts: int) -> None:
    """Raises TraceError unless ids [T, K] are 0 to `experts` - 1 or EMPTY, none twice in a row."""
    low, high = int(ids.min()), int(ids.max())
    if low < EMPTY or high >= experts:
        raise TraceError(
            f"Expert ids run from {low} to {high}, but the router has experts 0 to "
            f"{experts - 1} (and -1 for an empty slot)."
        )
    ordered = np.sort(ids, axis=-1)
    if ((ordered[..., 1:] == ordered[..., :-1]) & (ordered[..., 1:] != EMPTY)).any():
        raise TraceError("A token chose the same expert twice in one layer.")


def check_gates(gates: np.ndarray, ids: np.ndarray) -> None:
    """Raises TraceError unless gates [T, K] are finite, and 0 where ids [T, K] are EMPTY."""
    if not np.isfinite(gates).all():
        raise TraceError("Some gates are not finite numbers.")
    if gates[ids == EMPTY].any():
        raise TraceError("An empty slot has a gate other than 0.")


def layer_names(layers: Sequence[int]) -> list[str]:
    """A name for each routed layer: its number, with a, b, ... where a layer routes twice."""
    layers = list(layers)
    return [
        f"{layer}{'abcdefgh'[layers[:row].count(layer)] if layers.count(layer) > 1 else ''}"
        for row, layer in enumerate(layers)
    ]


def spoken(layers: tuple[int, ...]) -> str:
    """The layers as a person would say them: "0 to 15", or "1, 3 and 5"."""
    unique = sorted(set(layers))
    if len(unique) == 1:
        return str(unique[0])
    if unique == list(range(unique[0], unique[-1] + 1)):
        return f"{unique[0]} to {unique[-1]}"
    return ", ".join(map(str, unique[:-1])) + f" and {unique[-1]}"
