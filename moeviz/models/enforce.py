"""A capacity rule in force: what does not fit is really dropped inside the forward pass.

A dropped assignment gets the weight 0, so its expert contributes nothing; the residual carries the
token on, and shared experts still run. Dropping changes the hidden states of later layers and so
their routes: offline and enforced drops agree exactly at the first routed layer only.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import torch
from torch import Tensor, nn

from moeviz.models.choices import Call, chosen_slots
from moeviz.models.probe import SiteTraits
from moeviz.models.sites import Site, choice_parameters
from moeviz.rules.capacity import CapacityRule, RuleError, dropped_slots
from moeviz.trace import EMPTY


class Enforced:
    """`rule` applied at every site while open; nothing is left behind when it closes.

    Opened before a `Tape`, so that the tape hears what the experts really get. Where nothing is
    dropped no tensor is touched, and the run is bitwise the plain one.

    Raises RuleError where a layer has no weights that could be set to 0.
    """

    def __init__(
        self, sites: Collection[Site], traits: dict[str, SiteTraits], rule: CapacityRule | None
    ):
        self._sites = sites if rule is not None else ()
        self._traits, self._rule = traits, rule
        self._handles: list = []

    def __enter__(self) -> Enforced:
        for site in self._sites:
            if site.kind not in _EDITORS:
                self.__exit__()
                raise RuleError(
                    f"{site.name} weighs its experts where nothing outside can reach it, so a "
                    "capacity cannot be enforced there."
                )
        self._handles = [self._hook(site) for site in self._sites]
        return self

    def __exit__(self, *_: object) -> None:
        for handle in self._handles:
            handle.remove()
        self._handles = []

    def _hook(self, site: Site):
        if site.kind in ("indexed", "one-hot"):
            return site.experts.register_forward_pre_hook(self._before(site), with_kwargs=True)
        return site.router.register_forward_hook(self._after(site))

    def _before(self, site: Site):
        def edit(module: nn.Module, args: tuple, kwargs: dict) -> tuple | None:
            call = Call(args=args, kwargs=kwargs)
            dropped = self._dropped(site, call)
            return None if dropped is None else _EDITORS[site.kind](site, call, dropped)

        return edit

    def _after(self, site: Site):
        def edit(module: nn.Module, args: tuple, output: Any) -> tuple | None:
            call = Call(router_output=output)
            dropped = self._dropped(site, call)
            return None if dropped is None else _EDITORS[site.kind](site, call, dropped)

        return edit

    def _dropped(self, site: Site, call: Call) -> Tensor | None:
        """[T, K] bool in the model's own order of slots; None when all fit."""
        ids, gates = chosen_slots(site, call)
        order = gates.float().argsort(dim=-1, descending=True, stable=True)
        best_first = dropped_slots(
            ids.gather(-1, order).cpu().numpy(),
            gates.gather(-1, order).float().cpu().numpy(),
            self._traits[site.name].experts,
            self._rule,
        )
        if not best_first.any():
            return None
        dropped = torch.zeros_like(ids, dtype=torch.bool)
        return dropped.scatter(-1, order, torch.from_numpy(best_first).to(ids.device))


def _edit_indexed(site: Site, call: Call, dropped: Tensor) -> tuple:
    gates = _argument(site, call, 2)
    return _replaced(site, call, 2, gates.masked_fill(dropped.view(gates.shape), 0))


def _edit_one_hot(site: Site, call: Call, dropped: Tensor) -> tuple:
    """Clears the dispatch mask, and the combine weights where they have a column per expert."""
    ids, _ = chosen_slots(site, call)
    mask, weights = _argument(site, call, 1), _argument(site, call, 2)
    away = torch.zeros(len(ids), mask.shape[-1], dtype=torch.bool, device=ids.device)
    away.scatter_(-1, ids.clamp(min=0), dropped & (ids != EMPTY))
    args, kwargs = _replaced(site, call, 1, mask.masked_fill(away.view(mask.shape), 0))
    if weights.numel() == away.numel():
        call = Call(args=args, kwargs=kwargs)
        return _replaced(site, call, 2, weights.masked_fill(away.view(weights.shape), 0))
    return args, kwargs


def _edit_scored(site: Site, call: Call, dropped: Tensor) -> tuple:
    ids, _ = chosen_slots(site, call)
    gates, *rest = call.router_output
    away = torch.zeros_like(gates, dtype=torch.bool).scatter_(-1, ids, dropped)
    return (gates.masked_fill(away, 0), *rest)


def _edit_sorted(site: Site, call: Call, dropped: Tensor) -> tuple:
    order, rows, gates, *rest = call.router_output
    return (order, rows, gates.masked_fill(dropped.flatten()[order], 0), *rest)


_EDITORS = {
    "indexed": _edit_indexed,
    "one-hot": _edit_one_hot,
    "scored": _edit_scored,
    "sorted": _edit_sorted,
}


def _argument(site: Site, call: Call, place: int) -> Tensor:
    if place < len(call.args):
        return call.args[place]
    return call.kwargs[choice_parameters(site.experts)[place]]


def _replaced(site: Site, call: Call, place: int, value: Tensor) -> tuple[tuple, dict]:
    """The call's arguments with one replaced, positional ones staying positional."""
    if place < len(call.args):
        return (*call.args[:place], value, *call.args[place + 1 :]), call.kwargs
    return call.args, {**call.kwargs, choice_parameters(site.experts)[place]: value}
