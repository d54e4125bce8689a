"""Ways to run one loaded model on one text, all of which should route it alike."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from moeviz.models.choices import Choice
from moeviz.models.load import LoadedModel
from moeviz.models.sites import Site
from moeviz.models.tape import Tape, run_once

DECODED = 4
"""Tokens fed one at a time behind a prompt."""


def route(model: LoadedModel, inputs: dict[str, Any]) -> list[Choice]:
    """What each site chose in one pass."""
    torch.manual_seed(0)  # a model may start from noise
    _, step = run_once(model.network, model.sites, inputs)
    return step


def output_of(network: nn.Module, inputs: dict[str, Any]) -> Tensor:
    """What the model predicts in one pass, or its last hidden states."""
    torch.manual_seed(0)
    output = network(**inputs)
    return output[0] if output.get("logits") is None else output.logits


def decode(model: LoadedModel, inputs: dict[str, Any]) -> list[list[Choice | None]]:
    """The steps of reading all but the last `DECODED` tokens, then those one at a time.

    No mask: every token counts, and some models cannot take one that is longer than what is fed.
    """
    name, steps, fixed = "input_ids", [], {}
    if "decoder_input_ids" in inputs:
        name = "decoder_input_ids"
        with Tape(model.network, model.sites) as tape:
            encoder = model.network.get_encoder()
            fixed["encoder_outputs"] = encoder(inputs["input_ids"], inputs["attention_mask"])
        steps += tape.steps
    ids, cache, start = inputs[name], None, 0
    for end in range(ids.shape[1] - DECODED, ids.shape[1] + 1):
        fed = {**fixed, name: ids[:, start:end], "past_key_values": cache, "use_cache": True}
        output, step = run_once(model.network, model.sites, fed)
        cache, start = output.past_key_values, end
        steps.append(step)
    return steps


@contextmanager
def experts_run_by(model: LoadedModel, name: str) -> Iterator[bool]:
    """Experts run by the implementation `name` while open; yields whether all layers allow it."""
    parts = [m for m in model.network.modules() if isinstance(m, PreTrainedModel)]
    former = [(part.config, part.config._experts_implementation) for part in parts]
    for part in parts:
        with suppress(ValueError, RuntimeError):  # this part refuses; another may hold the experts
            part.set_experts_implementation(name)
    try:
        yield all(_run_by(site) == name for site in model.sites)
    finally:
        for config, implementation in former:
            config._experts_implementation_internal = implementation


def _run_by(site: Site) -> str | None:
    """The implementation that runs the experts of `site`; None where there is no choice of one."""
    if not hasattr(type(site.experts).forward, "__wrapped__"):
        return None
    return site.experts.config._experts_implementation


@contextmanager
def capacity_lifted(model: LoadedModel) -> Iterator[None]:
    """Routers that drop tokens over a capacity drop none while open.

    What they drop depends on what else is in the pass, so only then are two passes comparable.
    """
    routers = [site.router for site in model.sites]
    routers = [r for r in routers if isinstance(getattr(r, "expert_capacity", None), int)]
    former = [router.expert_capacity for router in routers]
    for router in routers:
        router.expert_capacity = 10**6
    try:
        yield
    finally:
        for router, capacity in zip(routers, former, strict=True):
            router.expert_capacity = capacity


def own_logits(network: nn.Module, inputs: dict[str, Any]) -> list[Tensor]:
    """The router tensors that the model itself hands out in one pass; none where it has none."""
    torch.manual_seed(0)
    output = network(**inputs, output_router_logits=True)
    names = [name for name in output if "router_logits" in name or "router_probs" in name]
    return [t for name in names for t in _flat(output[name])]


def _flat(value: Any) -> list[Tensor]:
    """The float tensors inside, each an output of one router."""
    if isinstance(value, Tensor):
        return [value] if value.is_floating_point() and value.dim() > 1 else []
    return [t for part in value for t in _flat(part)] if isinstance(value, tuple | list) else []
