"""Evidence that a captured choice is what the model computed, found without our own hooks' word.

A routed block is called again, alone, with the arguments that it got in a real run: once as it
is, and once with something changed whose effect is known beforehand.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from moeviz.models.choices import Choice
from moeviz.models.sites import Site
from moeviz.trace import EMPTY


class Replay:
    """Keeps the arguments each block got while it is open, so that the block can run again."""

    def __init__(self, sites: tuple[Site, ...]):
        self._sites = sites
        self._arguments: dict[Site, tuple[tuple, dict]] = {}
        self._handles: list = []

    def __enter__(self) -> Replay:
        for site in self._sites:
            hook = self._keep(site)
            self._handles.append(site.block.register_forward_pre_hook(hook, with_kwargs=True))
        return self

    def __exit__(self, *_: object) -> None:
        for handle in self._handles:
            handle.remove()

    def _keep(self, site: Site):
        def hook(module: nn.Module, args: tuple, kwargs: dict) -> None:
            self._arguments[site] = (args, kwargs)

        return hook

    def has(self, site: Site) -> bool:
        return site in self._arguments

    @torch.inference_mode()
    def again(self, site: Site) -> Tensor:
        """The block's output [T, H] for the same arguments."""
        args, kwargs = self._arguments[site]
        output = _first_tensor(site.block(*args, **kwargs))
        return output.reshape(-1, output.shape[-1])


def factor_after_experts(site: Site, replay: Replay) -> float:
    """The constant c in: block output = c * (sum of the experts) + rest.

    Found by adding a known tensor to the experts' output and seeing what comes out. 1 where what
    follows is not one constant (a norm, a projection), or where the block cannot run alone.
    """
    if site.kind != "indexed" or not replay.has(site):
        return 1.0
    before = replay.again(site)
    if not torch.equal(before, replay.again(site)):
        return 1.0
    nudge = torch.Generator().manual_seed(0)
    added: list[Tensor] = []

    def push(module: nn.Module, args: tuple, output: Tensor) -> Tensor:
        noise = torch.randn(output.shape, generator=nudge) * before.float().std().cpu()
        added.append(noise.to(output))
        return output + added[0]

    handle = site.experts.register_forward_hook(push)
    try:
        moved = (replay.again(site) - before).float()
    finally:
        handle.remove()
    sent = added[0].float()
    if sent.numel() != moved.numel():
        return 1.0
    sent = sent.reshape(moved.shape)
    factor = float((moved * sent).sum() / (sent * sent).sum())
    proportional = torch.allclose(moved, factor * sent, rtol=0.02, atol=0.02 * float(sent.std()))
    return round(factor, 3) if proportional else 1.0


def answers_wrongly(site: Site, choice: Choice, replay: Replay, most: int) -> list[int]:
    """Experts whose weights, when zeroed, change other rows than those that chose them.

    Tries the `most` first experts that some row chose. Empty where all is well, and where the
    weights cannot be changed (off-loaded, quantised) or the block cannot run alone.
    """
    if not replay.has(site):
        return []
    sent = choice.ids.masked_fill(choice.gates == 0, EMPTY)
    chosen = [int(e) for e in sent.unique() if e != EMPTY]
    before = replay.again(site)
    wrong = []
    for expert in chosen[:most]:
        with zeroed(site, expert) as possible:
            if not possible:
                return []
            changed = (replay.again(site) != before).any(-1)
        if not torch.equal(changed, (sent == expert).any(-1)):
            wrong.append(expert)
    return wrong


@contextmanager
def zeroed(site: Site, expert: int) -> Iterator[bool]:
    """Expert `expert` of `site` with all its weights at zero, put back afterwards.

    Yields whether that was possible.
    """
    parts = _weights_of(site, expert)
    if not parts or any(p.is_meta or not p.is_floating_point() for p in parts):
        yield False
        return
    with torch.inference_mode():
        kept = [part.clone() for part in parts]
        for part in parts:
            part.zero_()
    try:
        yield True
    finally:
        with torch.inference_mode():
            for part, old in zip(parts, kept, strict=True):
                part.copy_(old)


def _weights_of(site: Site, expert: int) -> list[Tensor]:
    experts = site.experts
    if isinstance(experts, nn.ModuleDict):
        return [p.data for p in list(experts.values())[expert].parameters()]
    if isinstance(experts, nn.ModuleList):
        return [p.data for p in experts[expert].parameters()]
    if site.kind == "product-key":
        return [experts.down_embed.weight.data[expert], experts.up_embed.weight.data[expert]]
    holder = site.block if site.kind == "sorted" else experts
    stacked = [p.data for p in holder.parameters() if p.dim() == 3 and p.shape[0] > expert]
    return [tensor[expert] for tensor in stacked]


def _first_tensor(output: Any) -> Tensor:
    return output if isinstance(output, Tensor) else output[0]
