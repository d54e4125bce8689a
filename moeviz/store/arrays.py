"""A trace from an array of chosen experts that another program recorded.

Engines hand out choices alone: [T, A, K] whole numbers, where A counts the layers of the array,
often with a slot for every layer of the model, dense ones too. vLLM (since 0.14,
github.com/vllm-project/vllm/pull/28284) and SGLang (github.com/sgl-project/sglang/pull/12162)
both do it so. Neither hands out gates or router logits, and a trace made here has none.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import numpy as np

from moeviz.store.doubts import (
    check_axes,
    check_choices,
    check_known_dense,
    dense_layers,
    same_everywhere,
)
from moeviz.trace import (
    EMPTY,
    Provenance,
    RouterSpec,
    RoutingTrace,
    Tokens,
    TraceError,
    spoken,
)


def routing_from(
    experts: np.ndarray,
    num_experts: int,
    *,
    tokens: Tokens | Sequence[int] | None = None,
    texts: Sequence[str] | None = None,
    layers: Sequence[int] | None = None,
    chosen: int = 0,
    start: int = 0,
    prompt: int | None = None,
    gates: np.ndarray | None = None,
    empty_slots: bool = False,
    model: str = "",
    engine: str = "",
    notes: Sequence[str] = (),
) -> RoutingTrace:
    """The trace of choices recorded elsewhere; its logits are None, its gates too unless given.

    experts: [T, A, K] whole numbers, one row a token. A row that is -1 throughout was not
        recorded (a cached prefix); such rows are left out at either end, with a note.
    num_experts: E of a layer; the array itself cannot tell.
    tokens: the whole sequence as `Tokens` or as ids; its last token may lack a row, since an
        engine never reads what it wrote last. texts: the text of each, for ids or by itself.
        Without both, tokens are shown by their place.
    layers: places of the routed layers in the model. Where the array has more layers than these,
        it has a slot for each layer of the model, and the others must be dense. Without it,
        layers that hold nothing but zeros are taken for dense, which no top-2 or wider choice
        can be.
    chosen: K, to be checked where it is known. start: place of the first row among the tokens
        (SGLang's routed_experts_start_len, vLLM's routed_experts_prompt_start).
    prompt: so many of the tokens were given, the rest generated.
    gates: [T, A, K] weights in the same order, where a source has them.
    empty_slots: single slots may be -1, as in a model that drops or skips.
    model, engine: names for the reader, such as "Qwen/Qwen3-30B-A3B" and "vLLM 0.22".

    Raises TraceError for what cannot be a record of routing, as moeviz.store.doubts says.
    """
    experts = check_axes(experts, num_experts, chosen)
    given = as_tokens(tokens, texts, len(experts) + start)
    told = [*notes, *_about_tokens(tokens, texts)]
    first, last = _recorded(experts)
    if len(given) - start not in (len(experts), len(experts) + 1):
        raise TraceError(_rows_do_not_fit(len(experts), len(given), start))
    told += _left_out(first, len(experts) - last, len(given) - start - len(experts))
    kept = _part(given, start + first, start + last, prompt)
    experts = experts[first:last]
    columns, places = _routed(experts, layers)
    if len(columns) < experts.shape[1]:
        told.append(_about_dense(experts.shape[1], places, layers is not None))
    experts = experts[:, columns]
    check_choices(experts, num_experts, empty_slots)
    told += same_everywhere(experts, num_experts)
    if gates is None:
        told.append(_choices_only(engine))
    else:
        experts, gates = _best_first(experts, _as_gates(gates, first, last, columns))
    return RoutingTrace(
        experts=experts.transpose(1, 0, 2),
        gates=None if gates is None else gates.transpose(1, 0, 2),
        tokens=kept,
        router=RouterSpec(experts=num_experts, chosen=experts.shape[2], scoring=""),
        source=Provenance(
            model=model or "unnamed model",
            versions=(("recorded by", engine),) if engine else (),
            text_sha256=hashlib.sha256(kept.source.encode()).hexdigest(),
            notes=tuple(told),
        ),
        layers=places,
    )


def as_tokens(
    tokens: Tokens | Sequence[int] | None, texts: Sequence[str] | None, count: int
) -> Tokens:
    """Tokens of what is known: ids, texts, both, or `count` places and nothing else.

    Where ids are not known they are negative, and equal exactly where the texts are.
    """
    if isinstance(tokens, Tokens):
        return tokens
    if tokens is not None and texts is not None and len(tokens) != len(texts):
        raise TraceError(f"There are {len(tokens):,} token ids, but {len(texts):,} token texts.")
    if tokens is None and texts is None:
        return _bare(-1 - np.arange(count), {-1 - n: f"#{n + 1}" for n in range(count)})
    if tokens is not None and texts is None:
        ids = _ids(tokens)
        return _bare(ids, {int(token): f"id {token}" for token in ids})
    texts = [str(text) for text in texts]
    distinct = {text: -1 - n for n, text in enumerate(dict.fromkeys(texts))}
    ids = _ids(tokens) if tokens is not None else np.array([distinct[t] for t in texts], int)
    source, spans = _joined(texts, ids)
    plain = np.zeros(len(ids), bool)
    return Tokens(source, ids, spans, plain, plain, dict(zip(ids.tolist(), texts, strict=True)))


def _joined(texts: Sequence[str], ids: np.ndarray) -> tuple[str, np.ndarray]:
    """(the texts one after the other, [T, 2] where each stands in them; -1 for an empty one).

    Different tokens in a row with the same text beyond ASCII are pieces of one character, which
    each of them carries; it is put down once.
    """
    spans, parts, end = np.full((len(ids), 2), -1), [], 0
    for t, text in enumerate(texts):
        piece = t > 0 and text == texts[t - 1] and ids[t] != ids[t - 1] and not text.isascii()
        if not piece:
            parts.append(text)
            end += len(text)
        if text:
            spans[t] = end - len(text), end
    return "".join(parts), spans


def _ids(tokens: Sequence[int]) -> np.ndarray:
    ids = np.asarray(tokens)
    if ids.ndim != 1 or ids.dtype.kind not in "iu" or not len(ids):
        raise TraceError("Token ids are a list of whole numbers, one a token.")
    if ids.min() < 0 or ids.max() >= 2**31:
        raise TraceError(
            f"Token ids run from {ids.min():,} to {ids.max():,}; they must be 0 or more, and "
            "below 2,147,483,648."
        )
    return ids


def _bare(ids: np.ndarray, vocabulary: dict[int, str]) -> Tokens:
    """Tokens that stand for no text that is known."""
    plain = np.zeros(len(ids), bool)
    return Tokens("", ids, np.full((len(ids), 2), -1), plain, plain, vocabulary)


def _part(tokens: Tokens, first: int, last: int, prompt: int | None) -> Tokens:
    """The tokens that have a row; what was generated is marked where `prompt` says so."""
    ids = tokens.ids[first:last]
    if prompt is None:
        generated = tokens.generated[first:last]
    elif 0 <= prompt <= len(tokens):
        generated = np.arange(first, last) >= prompt
    else:
        raise TraceError(f"The prompt cannot have {prompt:,} of {len(tokens):,} tokens.")
    used, end = set(ids.tolist()), int(tokens.spans[first:last].max())
    return Tokens(
        source=tokens.source[:end] if last < len(tokens) and end > 0 else tokens.source,
        ids=ids,
        spans=tokens.spans[first:last],
        special=tokens.special[first:last],
        generated=generated,
        vocabulary={token: piece for token, piece in tokens.vocabulary.items() if token in used},
    )


def _recorded(experts: np.ndarray) -> tuple[int, int]:
    """First and last + 1 of the rows that are not -1 throughout."""
    found = np.flatnonzero((experts != EMPTY).any(axis=(1, 2)))
    if not len(found):
        raise TraceError("No row of the array was recorded: it holds nothing but -1.")
    return int(found[0]), int(found[-1]) + 1


def _routed(experts: np.ndarray, layers: Sequence[int] | None) -> tuple[list[int], tuple[int, ...]]:
    """Columns of the array to keep, and the layers of the model that they stand for."""
    count = experts.shape[1]
    if layers is None:
        dense = dense_layers(experts)
        kept = [column for column in range(count) if column not in dense]
        return kept, tuple(kept)
    places = tuple(int(layer) for layer in layers)
    if not places or list(places) != sorted(set(places)) or places[0] < 0:
        raise TraceError("The routed layers must be different places, counted from 0, in order.")
    if len(places) == count:
        return list(range(count)), places
    if places[-1] < count:
        check_known_dense(experts, places)
        return list(places), places
    raise TraceError(
        f"The array has {count:,} layers, but the model's routed layers are {spoken(places)}: "
        f"{len(places):,} layers, or {places[-1] + 1:,} or more with a slot for each dense one."
    )


def _best_first(experts: np.ndarray, gates: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Choices and gates with the largest gate first; empty slots last, with gate 0."""
    if experts.shape != gates.shape:
        raise TraceError(f"gates has shape {gates.shape}, but experts has {experts.shape}.")
    weight = np.where(experts == EMPTY, -np.inf, gates)
    order = np.argsort(-weight, axis=-1, kind="stable")
    experts, gates = (np.take_along_axis(array, order, -1) for array in (experts, gates))
    return experts, np.where(experts == EMPTY, 0, gates)


def _as_gates(gates: np.ndarray, first: int, last: int, columns: list[int]) -> np.ndarray:
    gates = np.asarray(gates)
    if gates.ndim != 3 or gates.dtype.kind != "f":
        raise TraceError(
            f"gates must be decimal numbers [tokens, layers, top-k]; these are {gates.dtype} with "
            f"{gates.ndim} axes."
        )
    if columns[-1] >= gates.shape[1]:
        raise TraceError(f"gates has shape {gates.shape}, which has no layer {columns[-1]}.")
    return gates[first:last][:, columns].astype(np.float32)


def _rows_do_not_fit(rows: int, tokens: int, start: int) -> str:
    behind = f" from token {start:,} on" if start else ""
    left = max(tokens - start, 0)
    return (
        f"The array has {rows:,} rows, but the text has {tokens:,} tokens{behind}, which need "
        f"{left:,} rows, or {max(left - 1, 0):,} without the last. Give all tokens, prompt and "
        "continuation, and the place where the rows start."
    )


def _left_out(before: int, after: int, unread: int) -> list[str]:
    notes = []
    if before or after:
        words = [f"the first {before:,}" if before else "", f"the last {after:,}" if after else ""]
        notes.append(
            f"The routing of {' and '.join(word for word in words if word)} tokens was not "
            "recorded (a cached prefix, for example), so they are left out."
        )
    if unread:
        notes.append("The last token was written but never read, so it has no routing.")
    return notes


def _about_tokens(tokens: object, texts: object) -> list[str]:
    if tokens is None and texts is None:
        return ["What the tokens are is not known: they are shown by their place, from #1 on."]
    if not isinstance(tokens, Tokens) and texts is None:
        return ["The text of the tokens is not known: they are shown by their ids."]
    return []


def _about_dense(count: int, places: tuple[int, ...], known: bool) -> str:
    dense = spoken(tuple(layer for layer in range(count) if layer not in places))
    if known:
        return f"Layers without a router are left out: {dense}."
    return (
        f"Layers that hold only zeros, or nothing, are taken for dense and left out: {dense}. No "
        "token can choose expert 0 twice."
    )


def _choices_only(engine: str) -> str:
    return (
        f"Only the choices are known, in the order that {engine or 'their source'} gave them: no "
        "gates and no router logits."
    )
