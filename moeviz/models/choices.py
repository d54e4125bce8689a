"""What a router decided, read from the tensors that its experts were really called with."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from moeviz.models.sites import Site, choice_parameters, expert_count
from moeviz.trace import EMPTY, MoevizError


class CaptureError(MoevizError):
    """The model ran, but its routing could not be read without doubt."""


@dataclass
class Call:
    """The tensors of one call of one routed layer: arguments of the experts, router's output."""

    router_output: Any = None
    selection: Tensor | None = None
    args: tuple = ()
    kwargs: dict = field(default_factory=dict)
    heard_choice: bool = False

    def hear_choice(self, args: tuple, kwargs: dict) -> None:
        self.args, self.kwargs, self.heard_choice = args, kwargs, True


@dataclass(frozen=True, eq=False)
class Choice:
    """T rows of one routed layer. ids [T, K] (-1 empty), gates [T, K], logits and scores [T, E].

    Slots are in the model's own order; logits as the router gave them.
    """

    ids: Tensor
    gates: Tensor
    logits: Tensor | None
    scores: Tensor | None


def read_choice(site: Site, call: Call) -> Choice:
    """The `Choice` in `call`; raises CaptureError when the tensors do not have the form known."""
    ids, gates = chosen_slots(site, call)
    logits = router_logits(site, call, rows=len(ids), gates=gates)
    if logits is not None:
        ids = _without_skips(site, ids, gates, logits.shape[-1])
    return Choice(ids, gates, logits, _scores(call.selection, ids, logits))


def _scores(selection: Tensor | None, ids: Tensor, logits: Tensor | None) -> Tensor | None:
    """[T, E] what the top-K was taken of, where that has a column per expert."""
    if selection is None or selection.numel() % len(ids):
        return None
    scores = selection.reshape(len(ids), -1)
    width = logits.shape[-1] if logits is not None else selection.shape[-1]
    return scores if scores.shape[-1] == width > ids.shape[-1] else None


def chosen_slots(site: Site, call: Call) -> tuple[Tensor, Tensor]:
    """(ids [T, K], gates [T, K]) of a call, slots in the model's own order."""
    return _READERS[site.kind](site, call)


def _indexed(site: Site, call: Call) -> tuple[Tensor, Tensor]:
    ids, gates = _argument(site, call, 1), _argument(site, call, 2)
    if ids.is_floating_point() or ids.shape != gates.shape:
        raise CaptureError(
            f"{site.name}: expected expert ids and weights of one shape, got {ids.dtype} "
            f"{tuple(ids.shape)} and {tuple(gates.shape)}."
        )
    return ids.reshape(-1, ids.shape[-1]), gates.reshape(-1, gates.shape[-1])


def _one_hot(site: Site, call: Call) -> tuple[Tensor, Tensor]:
    """From a dispatch mask. Top-1 comes as mask [T, 1, E] and weight [T, 1]; top-2 as the
    combine weights [T, E] themselves, which are zero wherever nothing is sent."""
    mask, weights = _argument(site, call, 1), _argument(site, call, 2)
    mask = mask.reshape(-1, mask.shape[-1])
    weights = weights.reshape(len(mask), -1)
    combine = weights if weights.shape == mask.shape else mask * weights
    slots = 2 if weights.shape == mask.shape else 1
    gates, ids = combine.topk(min(slots, combine.shape[-1]), dim=-1)
    return ids.masked_fill(gates == 0, EMPTY), gates


def _scored(site: Site, call: Call) -> tuple[Tensor, Tensor]:
    table = call.router_output[0]
    used = int((table != 0).sum(-1).max())  # a rule may have raised K
    gates, ids = table.topk(max(site.router.top_k, used), dim=-1)
    return ids, gates


def _sorted(site: Site, call: Call) -> tuple[Tensor, Tensor]:
    order, _, sorted_gates, counts, logits = call.router_output
    experts = torch.arange(len(counts), device=order.device)
    sorted_ids = experts.repeat_interleave(torch.tensor(counts, device=order.device))
    ids, gates = torch.empty_like(sorted_ids), torch.empty_like(sorted_gates)
    ids[order], gates[order] = sorted_ids, sorted_gates
    return ids.view(len(logits), -1), gates.view(len(logits), -1)


def _product_key(site: Site, call: Call) -> tuple[Tensor, Tensor]:
    ids = call.args[0]
    scores = _product_scores(site, call, len(ids)).gather(-1, ids)
    return ids, torch.softmax(scores, dim=-1)


def _product_scores(site: Site, call: Call, rows: int) -> Tensor:
    """[T, E] score of expert i * n + j: half key i plus half key j, as the block adds them."""
    first, second = call.router_output.view(2, rows, -1)
    return (first.unsqueeze(-1) + second.unsqueeze(-2)).flatten(1)


_READERS = {
    "indexed": _indexed,
    "listed": _indexed,
    "one-hot": _one_hot,
    "scored": _scored,
    "sorted": _sorted,
    "product-key": _product_key,
}


def _argument(site: Site, call: Call, place: int) -> Tensor:
    if place < len(call.args):
        return call.args[place]
    name = choice_parameters(site.experts)[place]
    if name not in call.kwargs:
        raise CaptureError(f"{site.name}: its experts were called without {name!r}.")
    return call.kwargs[name]


def router_logits(site: Site, call: Call, rows: int, gates: Tensor) -> Tensor | None:
    """[T, E] router logits: of the router's output the tensor that has a column per expert.

    Chosen by shape, since its place in the tuple differs between architectures and releases: the
    narrowest that is wide enough (a router may have classes that are no experts).
    """
    if site.kind == "product-key":
        return _product_scores(site, call, rows)
    passed_on = [id(value) for value in (*call.args, *call.kwargs.values())]
    tensors = [tensor for tensor in _tensors(call.router_output) if id(tensor) not in passed_on]
    if site.kind == "scored":
        tensors = tensors[1:]  # the first holds the gates, as wide as the logits
    least = expert_count(site) or gates.shape[-1] + 1
    wide = [
        tensor.reshape(rows, -1)
        for tensor in tensors
        if tensor.is_floating_point()
        and tensor.shape[-1] >= least
        and tensor.numel() == rows * tensor.shape[-1]
    ]
    return min(wide, key=lambda tensor: tensor.shape[-1], default=None)


def _tensors(value: Any) -> list[Tensor]:
    if isinstance(value, Tensor):
        return [value]
    if isinstance(value, tuple | list):
        return [tensor for part in value for tensor in _tensors(part)]
    return []


def _without_skips(site: Site, ids: Tensor, gates: Tensor, classes: int) -> Tensor:
    """Ids with skipped slots emptied: a router with more classes than experts sends a skipped
    token to expert 0 with weight 0."""
    count = expert_count(site)
    if site.kind != "indexed" or count is None or classes <= count:
        return ids
    return ids.masked_fill(gates == 0, EMPTY)
