"""A prompt in, tokens out one by one, each with the routing that read it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import cache, cached_property, partial

import numpy as np
import torch
from tokenizers.decoders import DecodeStream
from torch import Tensor
from transformers import LogitsProcessorList, TemperatureLogitsWarper, TopPLogitsWarper

from moeviz.models.enforce import AnyRule, Enforced, in_plain_words
from moeviz.models.inputs import TextError, encode, pieces
from moeviz.models.load import LoadedModel
from moeviz.models.memory import running
from moeviz.models.run import assemble, joined, next_token_loss, routes_of
from moeviz.models.tape import run_once
from moeviz.rules.interventions import Rule, as_rule
from moeviz.trace import RoutingTrace, Tokens

CANDIDATES = 5
"""Likeliest next tokens that every step names."""


@dataclass(frozen=True)
class Candidate:
    """A token that could have come next. probability: the model's, before any warping."""

    id: int
    text: str
    probability: float


@dataclass(frozen=True, eq=False)
class Step:
    """One generated token. number counts from 0; text is what the tokens so far spell.

    probability: what the model gave the token, before temperature and top-p.
    likeliest: the CANDIDATES tokens that it thought likeliest, best first.
    experts, gates: [L, R, K], the routing of the R rows read since the step before, as in a trace:
    the prompt at first, then one token a step, and on the last step the last token as well. The
    steps' rows in turn are the rows of the trace.
    trace: on the last step only, prompt and generated tokens with their routing, prefill and
    decode told apart by `tokens.generated`.
    """

    number: int
    id: int
    text: str
    probability: float
    likeliest: tuple[Candidate, ...] = ()
    finished: bool = False
    trace: RoutingTrace | None = None
    read: Callable[[], tuple[np.ndarray, np.ndarray]] | None = field(default=None, repr=False)

    @cached_property
    def _routes(self) -> tuple[np.ndarray, np.ndarray]:
        """Made when first asked for: whoever only wants the text does not pay for them."""
        return self.read()

    @property
    def experts(self) -> np.ndarray:
        return self._routes[0]

    @property
    def gates(self) -> np.ndarray:
        return self._routes[1]


def generate(
    model: LoadedModel,
    prompt: str,
    max_new_tokens: int = 50,
    temperature: float = 0.0,
    top_p: float = 1.0,
    seed: int = 0,
    logits: bool = True,
    rule: AnyRule = None,
    stop: Callable[[], bool] | None = None,
) -> Iterator[Step]:
    """Steps of a continuation of `prompt`, one a token; the last carries the whole trace.

    temperature: 0 takes the likeliest token. top_p: sample among the likeliest tokens that
    together have this probability. seed: of the sampling. rule: in force in every forward pass, as
    for `trace_text`; one that looks at many tokens at once sees those of one pass. stop: asked
    before each further token; when it says True the step before comes again, finished, with the
    trace of what there is. The model is free for others between steps; close the iterator to stop
    without a trace. The last token is read by one more forward pass, so that it too has a routing.

    Raises TextError for a prompt that is empty or leaves no room, and for settings out of range.
    """
    _check(model, max_new_tokens, temperature, top_p)
    tokens = encode(model.tokenizer, prompt)
    _check_room(model, len(tokens), max_new_tokens)
    choose = _chooser(model.tokenizer, temperature, top_p, seed)
    return _steps(model, tokens, max_new_tokens, choose, logits, as_rule(rule), stop)


def _steps(
    model: LoadedModel,
    prompt: Tokens,
    most: int,
    choose,
    with_logits: bool,
    rule: Rule | None,
    stop,
) -> Iterator[Step]:
    writer = _Writer(model, prompt)
    ends = _stop_ids(model)
    fed, past, heard, loss = writer.ids[:], None, [], []
    told = 0  # forward passes whose rows a step has handed on
    for number in range(most):
        if number and stop is not None and stop():
            number -= 1
            break
        predicted, past, step = _forward(model, fed, past, rule, len(writer.ids) - len(fed))
        token, probability, likeliest = choose(predicted[-1].float())
        heard.append(step)
        loss.append(next_token_loss(predicted, np.array([*fed[1:], token])))
        writer.add(token)
        fed = [token]
        if token in ends or number == most - 1:
            break
        read = partial(routes_of, model, heard[told:], rule)
        told = len(heard)
        yield Step(number, token, writer.text, probability, likeliest, read=read)
    _, _, step = _forward(model, fed, past, rule, len(writer.ids) - 1)
    heard.append(step)
    loss.append(np.array([np.nan], np.float32))
    read = partial(routes_of, model, heard[told:], rule)
    trace = assemble(
        model,
        writer.tokens(),
        joined(heard),
        "decoder",
        with_logits,
        np.concatenate(loss),
        rule=rule,
    )
    yield Step(number, token, writer.text, probability, likeliest, True, trace, read)


def _forward(model: LoadedModel, ids: list[int], past, rule: Rule | None, first: int) -> tuple:
    """(logits [R, V], cache, choices) of one forward pass over `ids` that continues `past`.

    first: place of the first of `ids` in the whole text.

    Without a mask: every token counts, and some models take none that is longer than `ids`.
    """
    device = model.network.get_input_embeddings().weight.device
    inputs = {
        "input_ids": torch.tensor([ids], device=device),
        "use_cache": True,
        "past_key_values": past,
    }
    sites = [site for site in model.sites if site.stack == "decoder"]
    force = Enforced(sites, model.traits, rule, first, ids)
    with running(model, first + len(ids)), in_plain_words(rule):
        output, step = run_once(model.network, model.sites, inputs, model.spied, force)
    return output.logits[0], output.past_key_values, step


def _chooser(tokenizer, temperature: float, top_p: float, seed: int):
    """A function from next-token logits [V] to the token, its probability before any warping, and
    the likeliest candidates.
    """
    warpers = LogitsProcessorList()
    if temperature > 0:
        warpers.append(TemperatureLogitsWarper(float(temperature)))
        if top_p < 1:
            warpers.append(TopPLogitsWarper(float(top_p)))
    random = torch.Generator().manual_seed(seed)
    spell = cache(lambda token: tokenizer.decode([token]))

    def choose(predicted: Tensor) -> tuple[int, float, tuple[Candidate, ...]]:
        predicted = predicted.cpu()
        if temperature == 0:
            token = int(predicted.argmax())
        else:
            odds = warpers(None, predicted[None])[0].softmax(-1)
            token = int(torch.multinomial(odds, 1, generator=random))
        own = predicted.softmax(-1)
        best = own.topk(min(CANDIDATES, len(own)))
        pairs = zip(best.indices.tolist(), best.values.tolist(), strict=True)
        return token, float(own[token]), tuple(Candidate(i, spell(i), p) for i, p in pairs)

    return choose


class _Writer:
    """The text as it grows, and which characters each new token spells."""

    def __init__(self, model: LoadedModel, prompt: Tokens):
        self._prompt, self._model = prompt, model
        self._stream = DecodeStream(ids=[int(i) for i in prompt.ids], skip_special_tokens=False)
        self._spans: list[list[int]] = []
        self.ids = [int(i) for i in prompt.ids]
        self.text = prompt.source

    def add(self, token: int) -> None:
        """Pieces of one character wait for the last of them, then share its span."""
        self.ids.append(token)
        self._spans.append([-1, -1])
        chunk = self._stream.step(self._model.tokenizer.backend_tokenizer, token)
        if not chunk:
            return
        start, self.text = len(self.text), self.text + chunk
        for span in reversed(self._spans):
            if span[0] >= 0:
                break
            span[:] = start, len(self.text)

    def tokens(self) -> Tokens:
        new = len(self._spans)
        ids = np.array(self.ids, np.int32)
        special = np.isin(ids[-new:], self._model.tokenizer.all_special_ids)
        spans = np.array(self._spans, np.int32).reshape(-1, 2)
        return Tokens(
            source=self.text,
            ids=ids,
            spans=np.concatenate([self._prompt.spans, spans]),
            special=np.concatenate([self._prompt.special, special]),
            generated=np.arange(len(ids)) >= len(self._prompt),
            vocabulary=pieces(self._model.tokenizer, ids),
        )


def _stop_ids(model: LoadedModel) -> set[int]:
    configured = getattr(model.network, "generation_config", None)
    found = getattr(configured, "eos_token_id", None)
    found = model.tokenizer.eos_token_id if found is None else found
    return set(found) if isinstance(found, list) else {found} - {None}


def _check(model: LoadedModel, most: int, temperature: float, top_p: float) -> None:
    if model.tokenizer is None or not getattr(model.tokenizer, "is_fast", False):
        raise TextError(f"{model.name} has no fast tokenizer, so MoEViz cannot write with it.")
    continues = model.network.can_generate() and "encoder" not in model.routers
    if not continues or model.network.config.is_encoder_decoder:
        raise TextError(f"{model.name} does not continue a text, so there is nothing to generate.")
    if most < 1:
        raise TextError(f"The number of new tokens must be at least 1, not {most}.")
    if not 0 <= temperature <= 10:
        raise TextError(f"The temperature must lie between 0 and 10, not {temperature}.")
    if not 0 < top_p <= 1:
        raise TextError(f"top-p must be above 0 and at most 1, not {top_p}.")


def _check_room(model: LoadedModel, prompt: int, most: int) -> None:
    if model.max_tokens and prompt + most > model.max_tokens:
        raise TextError(
            f"The prompt has {prompt:,} tokens and {most:,} more were asked for, but {model.name} "
            f"takes at most {model.max_tokens:,} in all."
        )
