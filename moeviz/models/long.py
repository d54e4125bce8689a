"""Texts of many thousand tokens, read piece by piece so that memory stays bounded.

What a pass leaves on the device (activations, predictions of a whole vocabulary for every token)
is let go piece by piece: of each piece only choices, gates and losses come along, and router logits
where they are asked for. A piece sees what came before it through the model's own cache, which
grows by a few hundred bytes to a few hundred kilobytes a token. Its routes are those of one pass
but for rounding, and a model whose cache does not carry everything on is read in one pass.

A text longer than the model takes can be read in two ways, and the trace says in which:

    windows   each stretch of as many tokens as the model takes is a text of its own; a token sees
              only what comes before it in its window
    beyond    in one go; only where positions are computed (rotary), not looked up in a table, and
              the model was never trained there
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from moeviz.models.enforce import AnyRule, Enforced, in_plain_words
from moeviz.models.inputs import TextError, model_inputs, probe_inputs
from moeviz.models.load import LoadedModel
from moeviz.models.memory import running
from moeviz.models.plan import free_memory, size
from moeviz.models.run import (
    LONG,
    Rows,
    default_stack,
    next_token_loss,
    predicted,
    read_rows,
    trace_of,
    traced,
)
from moeviz.models.tape import run_once
from moeviz.rules.interventions import as_rule
from moeviz.trace import MoevizError, RoutingTrace, Tokens

PIECE = 2048
"""Tokens that are read at once: enough that a pass is as fast a token as a longer one."""

WAYS = ("windows", "beyond")

PROBE = 24
"""Tokens on which it is tried whether a model can be read in pieces."""

SAME = 0.05
"""How far predictions read in pieces may be from those of one pass, as a share of their spread."""


@dataclass(frozen=True)
class TraceSize:
    """Bytes that a trace of so many tokens takes in memory: choices and gates, router logits."""

    tokens: int
    choices: int
    logits: int

    def __str__(self) -> str:
        return (
            f"{self.tokens:,} tokens: choices and gates take {size(self.choices)}, router logits "
            f"{size(self.logits)}."
        )


def trace_size(model: LoadedModel, tokens: int, stack: str = "") -> TraceSize:
    """What the trace of a text of `tokens` tokens will take; nothing is run.

    logits: with the scores that the choice is made of, where those are others.
    """
    stack = stack or default_stack(model)
    sites = [site for site in model.sites if site.stack == stack]
    router, scored = model.routers[stack], any(site.name in model.spied for site in sites)
    choices = len(sites) * tokens * router.chosen * (2 + 4)
    return TraceSize(tokens, choices, len(sites) * tokens * router.experts * 4 * (1 + scored))


def about_long(model: LoadedModel, count: int, way: str) -> str:
    """What must be known of a text longer than `model` takes; raises TextError for no such way."""
    most, name = model.max_tokens, model.name
    if way not in WAYS:
        raise TextError(f"There is no way {way!r} to read a long text; choose {' or '.join(WAYS)}.")
    if way == "windows":
        return (
            f"The text was read in {-(-count // most):,} windows of up to {most:,} tokens, the "
            f"most that {name} takes: a token sees only what comes before it in its own window."
        )
    if not any(key.endswith("inv_freq") for key, _ in model.network.named_buffers()):
        raise TextError(
            f"{name} looks positions up in a table of {most:,}, so it cannot read beyond them. "
            "Read the text in windows, or allow it to be cut."
        )
    return (
        f"{name} was made for texts of up to {most:,} tokens: from token {most + 1:,} on it does "
        "what it was never trained for."
    )


def trace_long(
    model: LoadedModel,
    tokens: Tokens,
    rule: AnyRule = None,
    logits: bool | None = None,
    notes: Sequence[str] = (),
    stack: str = "",
    way: str = "",
    progress: Callable[[int, int], None] | None = None,
) -> RoutingTrace:
    """The trace of a text of any length; arguments and errors as `trace_text`."""
    stack = stack or default_stack(model)
    needs = trace_size(model, len(tokens), stack)
    if logits:
        _check_room(needs)
    if logits is None and len(tokens) > LONG:
        notes = (*notes, _left_out(needs))
    kept = bool(logits) or (logits is None and len(tokens) <= LONG)
    window = model.max_tokens if way == "windows" else len(tokens)
    in_pieces = as_rule(rule) is None and reads_in_pieces(model)
    if window == len(tokens) and not in_pieces:
        return traced(model, tokens, rule, kept, notes, stack)[0]
    if model.network.config.is_encoder_decoder:
        raise TextError(f"{model.name} reads a text twice, so it cannot be read in windows.")
    rows, losses, cache = [], [], None
    for start, end in _stretches(len(tokens), window, PIECE if in_pieces else window):
        cache = cache if start % window else None
        step, after, cache = _read(model, tokens.ids[start:end], start, cache, rule)
        following = tokens.ids[start + 1 : end + 1]
        rows.append(read_rows(model, step, stack, end - start, kept, rule))
        losses.append(
            None if after is None else next_token_loss(after[: len(following)], following)
        )
        del step, after  # before the next piece is read, not after it
        if progress is not None:
            progress(end, len(tokens))
    return trace_of(model, tokens, _joined(rows), stack, _joined_loss(losses), notes, rule)


def reads_in_pieces(model: LoadedModel) -> bool:
    """Whether the model's cache carries all of what it read on to the next piece.

    Tried on a short text: predictions behind three pieces against those of one pass. Not so where
    the model counts something over the whole text, such as a capacity of its own.
    """
    network = model.network
    counts = any(router.capacity for router in model.routers.values())
    if "encoder" in model.routers or counts or network._is_stateful or not network.can_generate():
        return False
    ids = probe_inputs(network, model.tokenizer, PROBE)["input_ids"][0].cpu().numpy()
    try:
        with model.lock:
            whole = _read(model, ids, 0, None, None)[1]
            cache, parts = None, []
            for start in range(0, len(ids), PROBE // 3):
                part = ids[start : start + PROBE // 3]
                _, after, cache = _read(model, part, start, cache, None)
                parts.append(after)
        together = torch.cat(parts).float()
    except (MoevizError, RuntimeError, ValueError, TypeError, AttributeError, IndexError):
        return False  # what raises in pieces is not read in pieces
    return bool((together - whole.float()).abs().mean() <= SAME * whole.float().std())


def _read(
    model: LoadedModel, ids: np.ndarray, start: int, cache: object, rule: AnyRule
) -> tuple[list, torch.Tensor | None, object]:
    """(choices, next-token logits [R, V] or None, cache) of one pass over `ids` behind `cache`.

    start: place of the first of `ids` in the whole text. Without a mask: every token counts, and
    some models take none that is longer than `ids`.
    """
    inputs = model_inputs(model.network, ids)
    del inputs["attention_mask"]
    inputs |= {"use_cache": True, "past_key_values": cache}
    sites = [site for site in model.sites if site.stack == "decoder"]
    force = Enforced(sites, model.traits, rule, start, ids)
    with running(model, start + len(ids)), in_plain_words(rule):
        output, step = run_once(model.network, model.sites, inputs, model.spied, force)
    return step, predicted(output, ids), getattr(output, "past_key_values", None)


def _stretches(count: int, window: int, piece: int) -> Iterator[tuple[int, int]]:
    """(start, end) of pieces that follow each other and never reach over the end of a window."""
    start = 0
    while start < count:
        end = min(start + piece, start - start % window + window, count)
        yield start, end
        start = end


def _joined(rows: list[Rows]) -> Rows:
    """The rows of all pieces in order; those of a piece are let go as they are joined."""
    arrays = {}
    for name in list(rows[0].arrays):
        parts = [piece.arrays.pop(name) for piece in rows]
        arrays[name] = None if parts[0] is None else np.concatenate(parts, axis=1)
    return Rows(arrays, rows[0].widths, rows[0].layers)


def _joined_loss(parts: list[np.ndarray | None]) -> np.ndarray | None:
    if any(part is None for part in parts):
        return None
    return np.concatenate([*parts, [np.nan]])


def _left_out(needs: TraceSize) -> str:
    return (
        f"Router logits were left out: for {needs.tokens:,} tokens they take "
        f"{size(needs.logits)}. Ask for them with logits=True, or --logits on the command line."
    )


def _check_room(needs: TraceSize) -> None:
    free = free_memory("cpu")
    if free is not None and needs.choices + 2 * needs.logits > free:  # twice while they are joined
        raise TextError(
            f"The router logits of {needs.tokens:,} tokens take {size(needs.logits)}, and twice "
            f"that while they are put together, but {size(free)} are free. Leave them out, or "
            "shorten the text."
        )
