"""The same text with and without a rule: what the model predicts, and what each change costs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import combinations
from math import comb

import numpy as np
import torch
from torch import Tensor

from moeviz.models.enforce import AnyRule, Enforced, in_plain_words, layer_sizes
from moeviz.models.inputs import TextError, model_inputs, pieces
from moeviz.models.load import LoadedModel
from moeviz.models.memory import enough_memory, running
from moeviz.models.prefix import Prefix
from moeviz.models.run import (
    LOSS_ROWS,
    default_stack,
    next_token_loss,
    predicted,
    text_tokens,
    traced,
)
from moeviz.rules.capacity import RuleError
from moeviz.rules.interventions import Mute, Route, Rule
from moeviz.rules.predictions import Predictions
from moeviz.trace import EMPTY, MoevizError, RoutingTrace, Tokens, layer_names

SHOWN = 5
"""Likeliest next tokens that are kept of each run."""

MOST_ROUTES = 128
"""Routes that a search tries at most."""

MOST_COPIES, COPIES_BYTES, COPIES_WORK = 8, 32 * 2**20, 2 * 10**10
"""What one pass of a sweep may hold: copies of the text, bytes of logits, and parameters times
tokens, so that on a CPU it takes about a second and can be stopped after it."""

SAME_NATS = 1e-4
"""How far rounding may move a token's loss when several copies of a text run together."""


def what_if(
    model: LoadedModel,
    text: str,
    rule: AnyRule,
    logits: bool = True,
    truncate: bool = False,
    stack: str = "",
) -> tuple[RoutingTrace, Predictions | None]:
    """The trace of `text` under `rule`, and what the model then predicts against its plain run.

    The predictions are None for a model that predicts no tokens, or of an encoder. Both runs'
    outputs [T, V] are in memory together while they are compared, and gone afterwards.
    Other arguments and errors as `trace_text`.
    """
    tokens, notes = text_tokens(model, text, truncate=truncate)
    stack = stack or default_stack(model)
    with enough_memory(model, len(tokens)):
        trace, after = traced(model, tokens, rule, logits, notes, stack)
        if after is None:
            return trace, None
        before = _bare(model, tokens, stack)
        return trace, compared(before, after, model.tokenizer)


@torch.inference_mode()
def compared(before: Tensor, after: Tensor, tokenizer) -> Predictions:
    """Two runs' next-token logits [T, V] as a small value, a stretch of rows at a time."""
    found: list[tuple[Tensor, ...]] = []
    for one, other in zip(before.split(LOSS_ROWS), after.split(LOSS_ROWS), strict=True):
        logs = [rows.float().log_softmax(-1) for rows in (one, other)]
        parts = logs[0].exp() * (logs[0] - logs[1])
        kl = parts.nan_to_num(0.0).sum(-1).clamp(min=0)  # a token that neither can predict: 0
        best = [rows.topk(min(SHOWN, rows.shape[-1]), dim=-1) for rows in logs]
        found.append((kl, *(t for top in best for t in (top.indices, top.values.exp()))))
    kl, before_ids, odds, after_ids, other_odds = (
        torch.cat(parts).cpu().numpy() for parts in zip(*found, strict=True)
    )
    ids = np.unique(np.concatenate([before_ids.ravel(), after_ids.ravel()]))
    return Predictions(
        kl=kl,
        before_ids=before_ids.astype(np.int32),
        before=odds,
        after_ids=after_ids.astype(np.int32),
        after=other_odds,
        pieces=_spelled(tokenizer, ids),
    )


def losses_under(
    model: LoadedModel, tokens: Tokens, rules: Sequence[AnyRule], stack: str = "decoder"
) -> Iterator[np.ndarray]:
    """[T] next-token loss under each of the rules, one run each; see `trace_text` for its rows."""
    sites = [site for site in model.sites if site.stack == stack]
    inputs = model_inputs(model.network, tokens.ids)
    for rule in rules:
        force = Enforced(sites, model.traits, rule, token_ids=tokens.ids)
        with running(model, len(tokens)), torch.inference_mode(), in_plain_words(rule), force:
            output = model.network(**inputs)
        yield _loss(output, inputs)


def ablation_losses(
    model: LoadedModel, tokens: Tokens, layer: str, drop: bool = False, stack: str = "decoder"
) -> Iterator[tuple[int, np.ndarray]]:
    """(expert, loss [T]) with each expert of one layer muted in turn, all else as in the text.

    What comes before the layer is computed once, and several experts are tried in one forward
    pass, each on a copy of the text, where copies do not touch one another; the losses are then
    those of separate runs but for rounding. An expert that no token goes to needs no run: its loss
    is the plain one. drop: as in `Mute`. Close the iterator to stop early.
    """
    row, site = _site(model, layer, stack)
    prefix = Prefix(model, model_inputs(model.network, tokens.ids), site)
    plain = _loss(prefix.output, prefix.inputs)
    used = {int(e) for e in prefix.choice.ids[prefix.choice.gates != 0].unique()}
    name = layer_sizes(_stack(model, stack), model.traits)[row][0]
    muted = _muted_losses(prefix, plain, sorted(used), name, drop)
    for expert in range(model.traits[site.name].experts):
        yield expert, next(muted) if expert in used else plain


def copies_at_once(model: LoadedModel, tokens: int, stack: str = "decoder") -> int:
    """How many copies of a text of so many tokens a sweep gives the model in one pass.

    At most `MOST_COPIES`, so many that logits and work stay below `COPIES_BYTES` and `COPIES_WORK`.
    1 for models whose copies may touch one another: that drop by a capacity of their own, that
    round so coarsely that a batch moves routes, that read in an encoder.
    """
    config = model.network.config
    alone = model.routers[stack].capacity or config.is_encoder_decoder
    if alone or model.dtype != "float32":
        return 1
    vocabulary = model.network.get_input_embeddings().num_embeddings
    by_memory = COPIES_BYTES // (4 * vocabulary * tokens)
    by_work = COPIES_WORK // (model.parameters * tokens)
    return max(1, min(MOST_COPIES, by_memory, by_work))


def _muted_losses(
    prefix: Prefix, plain: np.ndarray, experts: list[int], layer: str, drop: bool
) -> Iterator[np.ndarray]:
    """[T] loss with each of the experts muted."""
    copies = copies_at_once(prefix.model, len(plain), prefix.site.stack)
    together = min(copies, len(experts)) > 1 and prefix.takes_copies
    first = experts[: copies - 1] if together else []
    losses = _first_copies(prefix, plain, first, layer, drop) if first else None
    if losses is None:
        first, losses, copies = [], [], 1
    yield from losses
    for start in range(len(first), len(experts), copies):
        yield from _losses_of_copies(prefix, experts[start : start + copies], layer, drop)


def _first_copies(
    prefix: Prefix, plain: np.ndarray, experts: list[int], layer: str, drop: bool
) -> list[np.ndarray] | None:
    """As `_losses_of_copies`, with one copy more that nothing is muted in, behind the others.

    None where the loss of that copy is not the plain one, or where the model's own code fails:
    there copies are not apart, and each expert needs a run of its own.
    """
    try:
        *losses, untouched = _losses_of_copies(prefix, [*experts, None], layer, drop)
    except MoevizError:
        return None
    apart = np.allclose(untouched, plain, rtol=0, atol=SAME_NATS, equal_nan=True)
    return losses if apart else None


def _losses_of_copies(
    prefix: Prefix, experts: Sequence[int | None], layer: str, drop: bool
) -> list[np.ndarray]:
    """[T] loss of one copy of the text for each expert that is muted in it, None for no expert."""
    ids = _fed(prefix.inputs)
    if len(experts) == 1:
        return [_loss(prefix.run(Mute(experts[0], drop, layers=layer)), prefix.inputs)]
    mutes = tuple(
        Mute(expert, drop, layers=layer, tokens=range(i * len(ids), (i + 1) * len(ids)))
        for i, expert in enumerate(experts)
        if expert is not None
    )
    logits = prefix.run(Rule(mutes), len(experts)).logits
    return [_with_last(next_token_loss(rows[:-1], ids[1:])) for rows in logits]


def route_losses(
    model: LoadedModel,
    tokens: Tokens,
    layer: str,
    token: int,
    most: int = MOST_ROUTES,
    stack: str = "decoder",
) -> Iterator[tuple[tuple[int, ...], float]]:
    """(experts, loss of the next token) of routes of equal compute for one token in one layer.

    token: its row in the trace. The model's own route first, then every other set of K experts
    where there are at most `most`, else every exchange of one expert for another, those first that
    the router likes best. Only the text up to the token is run, and what comes before the layer
    once.

    Raises TextError where there is no next token, RuleError where the model's choice is not its
    own (an empty slot).
    """
    row, site = _site(model, layer, stack)
    inputs = model_inputs(model.network, tokens.ids)
    following = _fed(inputs)[token + 1 : token + 2]
    if token < 0 or not len(following):
        raise TextError(f"Token {token} has no next token, so no route can be better or worse.")
    if not model.network.config.is_encoder_decoder:  # whose encoder reads all of the text
        inputs = model_inputs(model.network, tokens.ids[: token + 1])
    prefix = Prefix(model, inputs, site)
    own = prefix.choice.ids[token]
    if (own == EMPTY).any():
        raise RuleError(
            f"Token {token} has an empty slot in layer {layer}, so its route has no equals."
        )
    name = layer_sizes(_stack(model, stack), model.traits)[row][0]
    yield _ids(own), _loss_at(prefix.output, token, following)
    liked = None if prefix.choice.logits is None else prefix.choice.logits[token]
    for experts in _other_routes(_ids(own), model.traits[site.name].experts, liked, most):
        output = prefix.run(Route(experts, layers=name, tokens=token))
        yield experts, _loss_at(output, token, following)


def route_count(experts: int, chosen: int, most: int = MOST_ROUTES) -> int:
    """How many routes `route_losses` gives, the model's own among them."""
    return 1 + len(list(_other_routes(tuple(range(chosen)), experts, None, most)))


def _other_routes(
    own: tuple[int, ...], experts: int, liked: Tensor | None, most: int
) -> list[tuple[int, ...]]:
    """Sets of K experts other than the own one, at most `most`."""
    if comb(experts, len(own)) - 1 <= most:
        return [s for s in combinations(range(experts), len(own)) if s != own]
    others = [e for e in range(experts) if e not in own]
    if liked is not None:
        others.sort(key=lambda e: -float(liked[e]))
    swaps = [tuple(sorted({*own, new} - {old})) for new in others for old in own]
    return swaps[:most]


def _ids(own: Tensor) -> tuple[int, ...]:
    return tuple(sorted(int(e) for e in own))


def _site(model: LoadedModel, layer: str, stack: str):
    """(row of the trace, site) of the routed layer of this name."""
    sites = _stack(model, stack)
    names = layer_names([site.layer for site in sites])
    if str(layer) not in names:
        raise RuleError(
            f"Layer {layer} is not one of the routed layers. Choose one of {', '.join(names)}."
        )
    row = names.index(str(layer))
    return row, sites[row]


def _stack(model: LoadedModel, stack: str) -> list:
    return [site for site in model.sites if site.stack == stack]


def _bare(model: LoadedModel, tokens: Tokens, stack: str) -> Tensor:
    """[T, V] next-token logits of the plain run."""
    inputs = model_inputs(model.network, tokens.ids)
    with running(model, len(tokens)), torch.inference_mode():
        return predicted(model.network(**inputs), _fed(inputs))


def _fed(inputs: dict) -> np.ndarray:
    """Ids of the tokens that the decoder is fed."""
    fed = inputs.get("decoder_input_ids", inputs["input_ids"])
    return fed[0].cpu().numpy()


def _loss(output, inputs: dict) -> np.ndarray:
    ids = _fed(inputs)
    logits = predicted(output, ids)
    if logits is None:
        raise TextError("This model predicts no next token, so there is no loss to compare.")
    return _with_last(next_token_loss(logits[:-1], ids[1:]))


def _with_last(loss: np.ndarray) -> np.ndarray:
    """[T] loss from that of all tokens but the last, which has no next."""
    return np.append(loss, np.float32(np.nan))


def _loss_at(output, row: int, following: np.ndarray) -> float:
    """Nats that the token after one row needs."""
    return float(next_token_loss(output.logits[0, row : row + 1], following)[0])


def _spelled(tokenizer, ids: np.ndarray) -> dict[int, str]:
    """The text of each id: decoded, or the tokenizer's own piece where that says nothing."""
    if tokenizer is None:
        return {int(i): f"id {i}" for i in ids}
    own = pieces(tokenizer, ids)
    texts = {int(i): tokenizer.decode([int(i)]) for i in ids}
    return {i: text if text and "\ufffd" not in text else own[i] for i, text in texts.items()}
