"""Running one routed block again, alone, with the arguments it got in a real run.

Once as it is, and once with something changed whose effect is known beforehand: evidence on what
the model computed that does not take our own record's word for it.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from transformers import Cache

from moeviz.models.choices import Choice
from moeviz.models.sites import Site, expert_children, expert_count
from moeviz.trace import EMPTY


class Replay:
    """Keeps the arguments each block and its experts got while it is open, so that both can run
    again."""

    def __init__(self, sites: tuple[Site, ...]):
        self._modules = {module for site in sites for module in (site.block, site.experts)}
        self._arguments: dict[nn.Module, tuple[tuple, dict]] = {}
        self._ran: list[nn.Module] = []
        self._handles: list = []

    def __enter__(self) -> Replay:
        for module in self._modules:
            handle = module.register_forward_pre_hook(self._keep, with_kwargs=True)
            self._handles.append(handle)
        return self

    def __exit__(self, *_: object) -> None:
        for handle in self._handles:
            handle.remove()

    def _keep(self, module: nn.Module, args: tuple, kwargs: dict) -> None:
        self._ran.append(module)
        if not any(isinstance(value, Cache) for value in (*args, *kwargs.values())):
            self._arguments[module] = (args, kwargs)  # with a cache it would not run the same twice

    def has(self, module: nn.Module) -> bool:
        """Whether the module ran, and would run the same again."""
        return module in self._arguments

    def ran(self, module: nn.Module) -> bool:
        return module in self._ran

    def order(self, site: Site) -> int:
        """Place of the site among those that ran."""
        return min(self._ran.index(m) for m in (site.block, site.experts) if self.ran(m))

    def first_argument(self, module: nn.Module) -> Tensor:
        """Its hidden states."""
        args, kwargs = self._arguments[module]
        return args[0] if args else next(iter(kwargs.values()))

    @torch.inference_mode()
    def again(self, module: nn.Module) -> Tensor:
        """The module's output for the same arguments."""
        args, kwargs = self._arguments[module]
        return _first_tensor(module(*args, **kwargs))


def factor_after_experts(site: Site, replay: Replay) -> float:
    """The constant c in: block output = c * (sum of the experts) + rest.

    Found by adding a known tensor to the experts' output and seeing what comes out. 1 where what
    follows is not one constant (a norm, a projection), or where the block cannot run alone.
    """
    if site.kind != "indexed" or not replay.has(site.block):
        return 1.0
    before = replay.again(site.block)
    if not torch.allclose(before, replay.again(site.block), rtol=1e-2, atol=1e-2):
        return 1.0
    nudge = torch.Generator().manual_seed(0)
    added: list[Tensor] = []

    def push(module: nn.Module, args: tuple, output: Tensor) -> Tensor:
        noise = torch.randn(output.shape, generator=nudge) * before.float().std().cpu()
        added.append(noise.to(output))
        return output + added[0]

    handle = site.experts.register_forward_hook(push)
    try:
        moved = (replay.again(site.block) - before).float()
    finally:
        handle.remove()
    sent = added[0].float()
    if sent.numel() != moved.numel():
        return 1.0
    sent = sent.reshape(moved.shape)
    factor = float((moved * sent).sum() / (sent * sent).sum())
    proportional = torch.allclose(moved, factor * sent, rtol=0.02, atol=0.02 * float(sent.std()))
    return round(factor, 3) if proportional else 1.0


@dataclass(frozen=True)
class Answers:
    """Of the experts that were tried: those that answer for the tokens sent to them, and not."""

    right: tuple[int, ...] = ()
    wrong: tuple[int, ...] = ()


def answers(site: Site, choice: Choice, replay: Replay, most: int) -> Answers:
    """Whether zeroing an expert's weights changes exactly the rows that chose it.

    Tries the `most` first experts that some row chose and that have weights; none where the
    weights cannot be changed (off-loaded, quantised) or the experts cannot run alone.
    """
    runner = _runner(site, replay)
    if runner is None:
        return Answers()
    sent = choice.ids.masked_fill(choice.gates == 0, EMPTY)
    chosen = [int(e) for e in sent.unique() if 0 <= e < (expert_count(site) or len(sent))]
    before, again = (replay.again(runner).reshape(len(sent), -1) for _ in range(2))
    noise = 4 * float((again - before).abs().max())  # 0 wherever sums are always taken in one order
    right, wrong = [], []
    for expert in chosen[:most]:
        with zeroed(site, expert) as possible:
            if not possible:
                return Answers()
            after = replay.again(runner).reshape(len(sent), -1)
        changed = ((after - before).abs() > noise).any(-1)
        (right if _fits(changed, (sent == expert).any(-1), noise) else wrong).append(expert)
    return Answers(tuple(right), tuple(wrong))


def _fits(changed: Tensor, wanted: Tensor, noise: float) -> bool:
    """Whether exactly the wanted rows changed; where noise may hide a small gate, some of them."""
    if noise == 0:
        return torch.equal(changed, wanted)
    return bool(changed.any()) and not bool((changed & ~wanted).any())


@torch.inference_mode()
def adds_up(site: Site, choice: Choice, replay: Replay) -> bool:
    """Whether the block's output is gate times expert, summed as `choice` says, and what is left
    of it when the experts in the list hold nothing. True where that cannot be tried."""
    if not replay.has(site.block) or not all(_writable(site, e) for e in range(_count(site))):
        return True
    hidden = replay.first_argument(site.block)
    hidden = hidden.reshape(-1, hidden.shape[-1])
    whole = replay.again(site.block).reshape(hidden.shape)
    with ExitStack() as stack:
        for expert in range(_count(site)):
            stack.enter_context(zeroed(site, expert))
        rest = replay.again(site.block).reshape(hidden.shape)
    routed = torch.zeros_like(whole)
    for expert, module in enumerate(expert_children(site.experts)):
        weight = (choice.gates * (choice.ids == expert)).sum(-1, keepdim=True)
        routed += weight.to(whole.dtype) * module(hidden)
    near = 1e-4 if whole.dtype == torch.float32 else 3e-2
    return bool(torch.allclose(whole - rest, routed, rtol=near, atol=near * float(whole.std())))


def _count(site: Site) -> int:
    return expert_count(site) or 0


def _runner(site: Site, replay: Replay) -> nn.Module | None:
    """The smallest module that holds the site's experts and can run again."""
    choices = [site.experts, site.block] if site.kind in ("indexed", "one-hot") else [site.block]
    return next((module for module in choices if replay.has(module)), None)


@contextmanager
def zeroed(site: Site, expert: int) -> Iterator[bool]:
    """Expert `expert` of `site` with all its weights at zero, put back afterwards.

    Yields whether that was possible.
    """
    if not _writable(site, expert):
        yield False
        return
    parts = _weights_of(site, expert)
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


def _writable(site: Site, expert: int) -> bool:
    parts = _weights_of(site, expert)
    return bool(parts) and not any(p.is_meta or not p.is_floating_point() for p in parts)


def _weights_of(site: Site, expert: int) -> list[Tensor]:
    """Every weight that belongs to that expert alone, as views that can be written to."""
    experts = site.experts
    if isinstance(experts, nn.ModuleDict | nn.ModuleList):
        return [p.data for p in expert_children(experts)[expert].parameters()]
    if site.kind == "product-key":
        return [experts.down_embed.weight.data[expert], experts.up_embed.weight.data[expert]]
    if site.kind == "sorted":
        stacks = [p.data for p in site.block.parameters() if p.dim() == 3]
        return [stack[expert] for stack in stacks]
    return _slices([p.data for p in experts.parameters()], expert_count(site) or 0, expert)


def _slices(tensors: list[Tensor], count: int, expert: int) -> list[Tensor]:
    """That expert's part of each tensor: stacked [E, ...], or matrices on top of each other."""
    found = []
    for tensor in tensors:
        if tensor.dim() > 2 or (tensor.dim() == 2 and len(tensor) == count):
            found.append(tensor[expert])
        elif tensor.dim() == 2 and count and len(tensor) % count == 0:
            found.append(tensor.view(count, -1, tensor.shape[-1])[expert])
    return found


def _first_tensor(output: Any) -> Tensor:
    return output if isinstance(output, Tensor) else output[0]
