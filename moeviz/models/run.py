"""Text in, trace out."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from importlib.metadata import PackageNotFoundError, version

import numpy as np
import torch
from torch import Tensor

from moeviz.models.choices import CaptureError, Choice
from moeviz.models.enforce import (
    AnyRule,
    Enforced,
    in_plain_words,
    layer_sizes,
    spec_under,
)
from moeviz.models.inputs import TextError, cut, encode, model_inputs, pieces
from moeviz.models.load import LoadedModel
from moeviz.models.memory import enough_memory, running
from moeviz.models.probe import SiteTraits
from moeviz.models.sites import Site
from moeviz.models.tape import run_once
from moeviz.rules.interventions import Rule, as_rule, check_rule
from moeviz.trace import EMPTY, Provenance, RouterSpec, RoutingTrace, Tokens

LONG = 4096
"""Tokens of a text up to which it is read in one pass, and its logits are kept unasked."""

LOSS_ROWS = 1024
"""Rows whose loss is computed at once, so that float32 copies of the logits stay small."""


def trace_text(
    model: LoadedModel,
    text: str,
    rule: AnyRule = None,
    logits: bool | None = None,
    add_special_tokens: bool = True,
    truncate: bool = False,
    stack: str = "",
    long: str = "",
    progress: Callable[[int, int], None] | None = None,
) -> RoutingTrace:
    """What `model` does with `text`: one forward pass, its routing read at every layer.

    rule: in force inside the forward pass, a CapacityRule or any of moeviz.rules.interventions;
    the trace is of the changed run, and what the rule drops is an empty slot in it.
    logits: keep the router logits [L, T, E] too; unless said, those of up to LONG tokens.
    `moeviz.trace_size` says what they take. add_special_tokens: as the tokenizer does it.
    truncate: cut a text that is longer than the model takes, and say so in `source.notes`.
    long: or read it all the same, "windows" or "beyond" (see moeviz.models.long).
    stack: "encoder" or "decoder" of an encoder–decoder; the encoder where it is routed.
    progress: told (tokens read, tokens in all) of a text of more than LONG tokens.

    A text of more than LONG tokens is read piece by piece where the model can do that, so that
    memory stays bounded; its routes are those of one pass but for rounding.

    Raises TextError for text that is empty, broken or too long, or whose logits do not fit in
    memory, RuleError for a rule that does not fit, CaptureError when a layer's routing could not
    be read.
    """
    tokens, notes = text_tokens(model, text, add_special_tokens, truncate, long)
    return trace_tokens(model, tokens, rule, logits, notes, stack, long, progress)


def text_tokens(
    model: LoadedModel,
    text: str,
    add_special_tokens: bool = True,
    truncate: bool = False,
    long: str = "",
) -> tuple[Tokens, list[str]]:
    """The tokens of a text, and notes on its length; arguments and errors as `trace_text`."""
    if model.tokenizer is None:
        raise TextError(f"{model.name} was adopted without a tokenizer; use trace_tokens.")
    tokens = encode(model.tokenizer, text, add_special_tokens)
    if not model.max_tokens or len(tokens) <= model.max_tokens:
        return tokens, []
    if long:
        from moeviz.models.long import about_long  # late: it leans on this module

        return tokens, [about_long(model, len(tokens), long)]
    if not truncate:
        raise TextError(
            f"The text has {len(tokens):,} tokens, but {model.name} takes at most "
            f"{model.max_tokens:,}. Shorten it, or allow it to be cut."
        )
    note = (
        f"The text was cut: {model.name} takes at most {model.max_tokens:,} tokens, so only "
        f"the first {model.max_tokens:,} of {len(tokens):,} are shown."
    )
    return cut(tokens, model.max_tokens), [note]


def trace_tokens(
    model: LoadedModel,
    tokens: Tokens,
    rule: AnyRule = None,
    logits: bool | None = None,
    notes: Sequence[str] = (),
    stack: str = "",
    long: str = "",
    progress: Callable[[int, int], None] | None = None,
) -> RoutingTrace:
    """As `trace_text`, for a text that is cut into tokens already."""
    if len(tokens) > LONG or (long == "windows" and 0 < model.max_tokens < len(tokens)):
        from moeviz.models.long import trace_long  # late: it leans on this module

        return trace_long(model, tokens, rule, logits, notes, stack, long, progress)
    return traced(model, tokens, rule, logits is not False, notes, stack)[0]


def traced(
    model: LoadedModel,
    tokens: Tokens,
    rule: AnyRule = None,
    logits: bool = True,
    notes: Sequence[str] = (),
    stack: str = "",
) -> tuple[RoutingTrace, Tensor | None]:
    """As `trace_tokens`, with the next-token logits [T, V], None where the stack has none."""
    stack = stack or default_stack(model)
    if stack not in model.routers:
        raise TextError(
            f"{model.name} has no routed layers in its {stack or 'none'}; "
            f"choose {' or '.join(model.routers)}."
        )
    inputs = model_inputs(model.network, tokens.ids)
    sites = [site for site in model.sites if site.stack == stack]
    rows = len(tokens) + (stack == "decoder" and "decoder_input_ids" in inputs)
    if as_rule(rule) is not None:
        check_rule(as_rule(rule), layer_sizes(sites, model.traits), rows)
    force = Enforced(sites, model.traits, rule, token_ids=tokens.ids)
    with enough_memory(model, len(tokens)):
        with running(model), in_plain_words(rule):
            output, step = run_once(model.network, model.sites, inputs, model.spied, force)
        if stack == "decoder" and "decoder_input_ids" in inputs:
            tokens = _behind_start(tokens, int(inputs["decoder_input_ids"][0, 0]), model.tokenizer)
        after = predicted(output, tokens.ids) if stack == "decoder" else None
        loss = None if after is None else next_token_loss(after[:-1], tokens.ids[1:])
        loss = None if loss is None else np.append(loss, np.float32(np.nan))
        return assemble(model, tokens, step, stack, logits, loss, notes, rule), after


def assemble(
    model: LoadedModel,
    tokens: Tokens,
    step: Sequence[Choice | None],
    stack: str = "decoder",
    logits: bool = True,
    loss: np.ndarray | None = None,
    notes: Sequence[str] = (),
    rule: AnyRule = None,
) -> RoutingTrace:
    """The trace of `tokens` from what each site of `model` was heard to choose for them."""
    rows = read_rows(model, step, stack, len(tokens), logits, rule)
    return trace_of(model, tokens, rows, stack, loss, notes, rule)


@dataclass(frozen=True)
class Rows:
    """The arrays [L, R, ...] of a trace for R rows of a stack, apart from the model's device.

    widths: [L] slots of each layer. layers: [L] their places in the model.
    """

    arrays: dict[str, np.ndarray | None]
    widths: tuple[int, ...]
    layers: tuple[int, ...]


def read_rows(
    model: LoadedModel,
    step: Sequence[Choice | None],
    stack: str,
    count: int,
    logits: bool,
    rule: AnyRule = None,
) -> Rows:
    """The `count` rows of one step as a trace holds them."""
    heard = _heard_rows(model, step, stack, as_rule(rule))
    return Rows(
        _arrays(heard, model.traits, count, logits),
        tuple(choice.ids.shape[-1] for _, choice in heard),
        tuple(site.layer for site, _ in heard),
    )


def trace_of(
    model: LoadedModel,
    tokens: Tokens,
    rows: Rows,
    stack: str = "decoder",
    loss: np.ndarray | None = None,
    notes: Sequence[str] = (),
    rule: AnyRule = None,
) -> RoutingTrace:
    """The trace of `tokens` from the rows that were read for them."""
    rule = as_rule(rule)
    router = spec_under(rule, model.routers[stack], rows.widths)
    if rule is None:
        notes = (*notes, *_dropped_by_itself(rows.arrays["experts"], router))
    return RoutingTrace(
        **rows.arrays,
        tokens=tokens,
        router=router,
        source=_provenance(model, tokens, notes, rule),
        layers=rows.layers,
        loss=loss,
    )


def joined(heard: Sequence[Sequence[Choice]]) -> list[Choice]:
    """One choice a site, the rows of several steps in order."""

    def join(parts: list[Tensor | None]) -> Tensor | None:
        return None if any(part is None for part in parts) else torch.cat(parts)

    names = ("ids", "gates", "logits", "scores")
    return [
        Choice(*(join([getattr(choice, name) for choice in site]) for name in names))
        for site in zip(*heard, strict=True)
    ]


def routes_of(
    model: LoadedModel, heard: Sequence[Sequence[Choice]], rule: Rule | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Experts and gates [L, R, K] of the decoder's rows of some steps, as a trace holds them."""
    bare = [replace(choice, logits=None, scores=None) for choice in joined(heard)]
    rows = _heard_rows(model, bare, "decoder", rule)
    arrays = _arrays(rows, model.traits, len(bare[0].ids), with_logits=False)
    return arrays["experts"], arrays["gates"]


def _heard_rows(
    model: LoadedModel, step: Sequence[Choice | None], stack: str, rule: Rule | None
) -> list[tuple[Site, Choice | None]]:
    """Sites of the stack with what they were heard to choose; what a rule dropped is empty."""
    rows = [(s, c) for s, c in zip(model.sites, step, strict=True) if s.stack == stack]
    if rule is None or not rule.drops:
        return rows
    return [(site, _without_dropped(choice)) for site, choice in rows]


def default_stack(model: LoadedModel) -> str:
    """The stack that reads the text first."""
    return "encoder" if "encoder" in model.routers else "decoder"


def _arrays(
    rows: list[tuple[Site, Choice | None]],
    traits: dict[str, SiteTraits],
    count: int,
    with_logits: bool,
) -> dict[str, np.ndarray | None]:
    """The arrays [L, T, ...] of a trace, layers padded where they differ in E or K."""
    layers = [_layer(site, choice, traits[site.name], count) for site, choice in rows]
    chosen = max(ids.shape[-1] for ids, *_ in layers)
    width = max(traits[site.name].experts for site, _ in rows)
    found: dict[str, np.ndarray | None] = {
        "experts": np.stack([_padded(ids, chosen, EMPTY) for ids, *_ in layers], dtype=np.int16),
        "gates": np.stack([_padded(gates, chosen, 0.0) for _, gates, *_ in layers]),
        "logits": None,
        "scores": None,
    }
    for name, place in (("logits", 2), ("scores", 3)):
        parts = [layer[place] for layer in layers]
        if with_logits and any(part is not None for part in parts):
            blank = np.full((count, width), np.nan if name == "logits" else -np.inf, np.float32)
            parts = [blank if p is None else _padded(p, width, -np.inf) for p in parts]
            found[name] = np.stack(parts)
    return found


def _layer(site: Site, choice: Choice | None, traits: SiteTraits, count: int) -> tuple:
    """ids, gates (largest gate first), logits and scores of one layer as numpy arrays."""
    if choice is None:
        raise CaptureError(f"{site.name} did not run, so its routing is not known.")
    if len(choice.ids) != count:
        raise CaptureError(
            f"{site.name} routed {len(choice.ids)} rows for {count} tokens; MoEViz cannot tell "
            "which row is which token."
        )
    ids, gates = in_order(choice.ids, choice.gates.float() * traits.after)
    logits = choice.logits
    if logits is not None:
        logits = logits.float().log() if traits.probabilities else logits.float()
    scores = None if choice.scores is None else choice.scores.float()
    return tuple(map(_numpy, (ids, gates, logits, scores)))


def in_order(ids: Tensor, gates: Tensor) -> tuple[Tensor, Tensor]:
    """ids and gates [..., K], largest gate first; an empty slot has gate 0 and stands last."""
    empty = ids == EMPTY
    weight = torch.where(empty, -torch.inf, gates)
    gates = gates.masked_fill(empty, 0.0)
    if (weight[..., 1:] <= weight[..., :-1]).all():  # as most routers hand them on
        return ids, gates
    order = torch.argsort(weight, dim=-1, descending=True, stable=True)
    return ids.gather(-1, order), gates.gather(-1, order)


def _numpy(tensor: Tensor | None) -> np.ndarray | None:
    return None if tensor is None else tensor.detach().cpu().numpy()


def _padded(array: np.ndarray, width: int, fill: float) -> np.ndarray:
    return np.pad(array, ((0, 0), (0, width - array.shape[-1])), constant_values=fill)


def _behind_start(tokens: Tokens, start: int, tokenizer) -> Tokens:
    """The decoder's own rows: its start token, then the text."""
    spelled = {start: ""} if tokenizer is None else pieces(tokenizer, [start])
    vocabulary = {**spelled, **tokens.vocabulary}
    return Tokens(
        source=tokens.source,
        ids=np.concatenate([[start], tokens.ids]),
        spans=np.concatenate([[[-1, -1]], tokens.spans]),
        special=np.concatenate([[True], tokens.special]),
        generated=np.concatenate([[False], tokens.generated]),
        vocabulary=vocabulary,
    )


def predicted(output, ids: np.ndarray) -> Tensor | None:
    """[T, V] next-token logits of one text; None for a model that predicts no tokens."""
    found = getattr(output, "logits", None)
    if found is None or found.dim() != 3 or found.shape[1] != len(ids):
        return None
    return None if found.shape[2] <= int(ids.max()) else found[0]


def next_token_loss(predicted: Tensor, following: np.ndarray) -> np.ndarray:
    """[R] nats that logits `predicted` [R, V] need for the tokens that follow: -ln p, float32."""
    target = torch.as_tensor(following.astype(np.int64), device=predicted.device)
    parts = [
        torch.nn.functional.cross_entropy(rows.float(), ids, reduction="none").cpu().numpy()
        for rows, ids in zip(predicted.split(LOSS_ROWS), target.split(LOSS_ROWS), strict=True)
    ]
    return np.concatenate(parts)


def _dropped_by_itself(experts: np.ndarray, router: RouterSpec) -> list[str]:
    """A note where a model with a capacity of its own left slots empty."""
    empty = int((experts == EMPTY).sum())
    if not router.capacity or not empty:
        return []
    return [
        f"The model itself dropped {empty:,} of {experts.size:,} assignments: each of its experts "
        f"takes at most {router.capacity:,} tokens of a text."
    ]


def _without_dropped(choice: Choice | None) -> Choice | None:
    """The choice with slots emptied that a rule gave the weight 0."""
    if choice is None:
        return None
    return replace(choice, ids=choice.ids.masked_fill(choice.gates == 0, EMPTY))


def _provenance(
    model: LoadedModel, tokens: Tokens, notes: Sequence[str], rule: Rule | None
) -> Provenance:
    text = hashlib.sha256(tokens.source.encode()).hexdigest()
    return Provenance(
        model=model.name,
        revision=model.revision,
        model_type=model.model_type,
        device=model.device,
        dtype=model.dtype,
        versions=tuple((name, _version(name)) for name in ("moeviz", "transformers", "torch")),
        rule="" if rule is None else str(rule),
        text_sha256=text,
        notes=(*model.warnings, *notes),
    )


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        from moeviz import __version__

        return __version__
