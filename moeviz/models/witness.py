"""A second listener that shares nothing with the first, to check it against.

It stands in for the modules' `forward` instead of hooking them, copies what passes at once, and
keeps one dense table of weights, token by expert, so that slots and their order play no part.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from moeviz.models.choices import Choice
from moeviz.models.sites import Site
from moeviz.trace import EMPTY


class Witness:
    """While open, `tables` fills with [T, E] weights by site name, as the experts got them.

    widths: E by site name. Experts that their block calls one by one are not witnessed.
    """

    def __init__(self, sites: tuple[Site, ...], widths: dict[str, int]):
        self.tables: dict[str, Tensor] = {}
        self._sites, self._widths = sites, widths
        self._replaced: list[tuple[nn.Module, Callable | None]] = []

    def __enter__(self) -> Witness:
        for site in self._sites:
            if site.kind in _TABLES:
                self._stand_in(site.router if site.kind == "scored" else site.experts, site)
        return self

    def __exit__(self, *_: object) -> None:
        for module, former in self._replaced:
            del module.forward
            if former is not None:
                module.forward = former
        self._replaced.clear()

    def _stand_in(self, module: nn.Module, site: Site) -> None:
        own, read = module.forward, _TABLES[site.kind]

        def forward(*args, **kwargs):
            arguments = [value.clone() for value in (*args, *kwargs.values()) if _is_tensor(value)]
            output = own(*args, **kwargs)
            self.tables[site.name] = read(site, arguments, output, self._widths[site.name])
            return output

        self._replaced.append((module, module.__dict__.get("forward")))
        module.forward = forward


def dense(choice: Choice, width: int) -> Tensor:
    """The recorded choice as the same kind of table: [T, E] weights, 0 where nothing was sent."""
    table = torch.zeros(len(choice.ids), width, dtype=choice.gates.dtype, device=choice.ids.device)
    gates = choice.gates.masked_fill(choice.ids == EMPTY, 0)
    return table.scatter_add(1, choice.ids.clamp(min=0).long(), gates)


def _is_tensor(value: object) -> bool:
    return isinstance(value, Tensor)


def _from_ids(site: Site, arguments: list[Tensor], output, width: int) -> Tensor:
    _, ids, weights = arguments[:3]
    table = weights.new_zeros(len(ids), width)
    for slot in range(ids.shape[1]):
        table[torch.arange(len(ids)), ids[:, slot]] += weights[:, slot]
    return table


def _from_mask(site: Site, arguments: list[Tensor], output, width: int) -> Tensor:
    _, mask, weights = arguments[:3]
    mask = mask.reshape(-1, width)
    weights = weights.reshape(len(mask), -1)
    return weights if weights.shape == mask.shape else mask * weights


def _from_scores(site: Site, arguments: list[Tensor], output, width: int) -> Tensor:
    return output[0].clone()


def _from_segments(site: Site, arguments: list[Tensor], output, width: int) -> Tensor:
    """Expert after expert, each with its stretch of the sorted rows."""
    _, rows, gates, counts, logits = output
    table, start = gates.new_zeros(len(logits), width), 0
    for expert, count in enumerate(counts):
        stretch = slice(start, start + int(count))
        table[rows[stretch], expert] = gates[stretch]
        start += int(count)
    return table


def _from_every_pair(site: Site, arguments: list[Tensor], output, width: int) -> Tensor:
    """Product keys, the long way: every pair of half keys is scored, then the best are kept."""
    hidden, layer = arguments[0], site.experts
    halves = nn.functional.linear(hidden, layer.router_gate.weight).view(2, -1, layer.num_keys)
    pairs = torch.stack([halves[0][:, i] + halves[1][:, j] for i, j in _pairs(layer.num_keys)], -1)
    best = pairs.topk(layer.top_k, dim=-1)
    weights = torch.softmax(best.values, dim=-1)
    return torch.zeros_like(pairs).scatter(1, best.indices, weights)


def _pairs(count: int) -> list[tuple[int, int]]:
    return [(i, j) for i in range(count) for j in range(count)]


_TABLES: dict[str, Callable[..., Tensor]] = {
    "indexed": _from_ids,
    "one-hot": _from_mask,
    "scored": _from_scores,
    "sorted": _from_segments,
    "product-key": _from_every_pair,
}
