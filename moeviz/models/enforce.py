"""A rule in force inside the forward pass: routes changed, weights set to 0, nothing left behind.

A router's own logits and choice are changed while it runs (see `deciding`); what comes after the
choice (a capacity, a muted output, an algorithm in its place) is changed in the tensors that the
experts are called with. A dropped assignment gets the weight 0, so its expert contributes nothing;
the residual carries the token on, and shared experts still run. Whatever a rule changes alters the
hidden states of later layers and so their routes: offline and enforced figures agree exactly at the
first routed layer only.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from moeviz.models.choices import Call, CaptureError, chosen_slots, router_logits
from moeviz.models.deciding import Decider
from moeviz.models.errors import first_line
from moeviz.models.memory import ran_out
from moeviz.models.probe import SiteTraits
from moeviz.models.sites import Site, choice_parameters
from moeviz.rules.capacity import CapacityRule, RuleError, dropped_slots
from moeviz.rules.interventions import (
    Assign,
    ChangeK,
    LayerRun,
    Part,
    Rule,
    as_rule,
    check_rule,
)
from moeviz.trace import EMPTY, MoevizError, RouterSpec, layer_names

AnyRule = Rule | Part | CapacityRule | None


class Enforced:
    """`rule` applied at every site while open; nothing is left behind when it closes.

    Opened inside a `Tape`: its hooks are put before the tape's, so that the tape hears what the
    experts really get. Where the rule changes nothing no tensor is touched, and the run is bitwise
    the plain one.

    sites: those of one stack. first: place in the text of the first token that is fed.
    token_ids: of the tokens that are fed, for rules that look at them.

    Raises RuleError for a rule that the layers' E and K do not allow, or where a layer has nothing
    that the rule could take hold of.
    """

    def __init__(
        self,
        sites: Sequence[Site],
        traits: dict[str, SiteTraits],
        rule: AnyRule,
        first: int = 0,
        token_ids: Sequence[int] = (),
    ):
        rule = as_rule(rule)
        self._sites: list[_Governed] = []
        if rule is not None:
            check_rule(rule, layer_sizes(sites, traits))
            names = layer_names([site.layer for site in sites])
            governed = [
                _Governed(site, traits[site.name], name, rule, first, token_ids)
                for site, name in zip(sites, names, strict=True)
            ]
            self._sites = [site for site in governed if site.needed]
        self._handles: list = []

    def __enter__(self) -> Enforced:
        for site in self._sites:
            site.check_reachable()
        for site in self._sites:
            self._handles += site.attach()
        return self

    def __exit__(self, *_: object) -> None:
        for site in self._sites:
            site.decider.stop()
        for handle in self._handles:
            handle.remove()
        self._handles = []


def layer_sizes(
    sites: Sequence[Site], traits: dict[str, SiteTraits]
) -> tuple[tuple[str, int, int], ...]:
    """(name, E, K) of each routed layer, as `check_rule` takes them."""
    names = layer_names([site.layer for site in sites])
    return tuple(
        (name, traits[site.name].experts, traits[site.name].chosen)
        for name, site in zip(names, sites, strict=True)
    )


@contextmanager
def in_plain_words(rule: AnyRule) -> Iterator[None]:
    """What a model's own code raises under a rule that it was not written for, as one sentence."""
    try:
        yield
    except MoevizError:
        raise
    except (RuntimeError, ValueError, IndexError, AssertionError) as error:
        if as_rule(rule) is None or ran_out(error):
            raise
        raise RuleError(
            f"The model cannot run with the rule {rule}: {first_line(error)}"
        ) from error


def spec_under(rule: AnyRule, spec: RouterSpec, widths: Sequence[int]) -> RouterSpec:
    """The facts on a router whose rule may have changed K; widths: slots of each layer [L]."""
    if as_rule(rule) is None:
        return spec
    uneven = tuple(widths) if len(set(widths)) > 1 else ()
    return replace(spec, chosen=max(widths), chosen_per_layer=uneven)


class _Governed:
    """One site under the rule."""

    def __init__(
        self,
        site: Site,
        traits: SiteTraits,
        layer: str,
        rule: Rule,
        first: int,
        token_ids: Sequence[int],
    ):
        self.site, self.traits, self.layer, self.rule = site, traits, layer, rule
        self._first, self._token_ids = first, token_ids
        columns = (traits.experts, traits.experts + _shared_columns(site))
        k_inside = site.kind in ("indexed", "scored")  # others unfold slots by a K of their own
        self.decider = Decider(rule, layer, traits.experts, traits.chosen, columns, k_inside)
        self._algorithm = [part.algorithm for part in rule.here(layer, Assign)][-1:]
        self._k = rule.here(layer, ChangeK)[-1:]
        self._router_output: Any = None
        muted = rule.muted(layer, np.zeros(1, int), traits.experts)
        self._mutes = muted is not None
        self._after_choice = bool(rule.capacity or self._algorithm or self._k) or self._mutes
        alike = self._mutes and rule.same_for_all(layer, drop=True)
        self._muted_always = torch.from_numpy(muted[0]) if alike else None  # [E] bool

    @property
    def needed(self) -> bool:
        return self.decider.needed or self._after_choice

    def check_reachable(self) -> None:
        """Raises RuleError where a module calls its experts so that no rule can reach them."""
        site = self.site
        if site.kind not in _EDITORS:
            only = isinstance(self.rule.parts[0], CapacityRule) and len(self.rule.parts) == 1
            what = "a capacity" if only else "this rule"
            raise RuleError(
                f"{site.name} weighs its experts where nothing outside can reach it, so {what} "
                "cannot be enforced there."
            )
        if self.decider.needed and site.router is None:
            raise RuleError(f"{site.name} shows no router that a rule could change.")
        if self._algorithm and site.kind not in ("indexed", "scored"):
            raise RuleError(
                f"{site.name} takes its experts in a form ({site.kind}) that an algorithm cannot "
                "be put in front of."
            )

    def attach(self) -> list:
        handles, site = [], self.site
        at_experts = site.kind in ("indexed", "one-hot")
        if self.decider.needed:
            handles.append(site.router.register_forward_pre_hook(self._start))
        if self.decider.needed or self._algorithm or not at_experts:
            handles.append(
                site.router.register_forward_hook(self._router_done, prepend=True, always_call=True)
            )
        if at_experts:
            handles.append(
                site.experts.register_forward_pre_hook(
                    self._before_experts, prepend=True, with_kwargs=True
                )
            )
        return handles

    def _start(self, *_: object) -> None:
        self.decider.start(self._first)

    def _router_done(self, module: nn.Module, args: tuple, output: Any) -> Any:
        """A router that has chosen is done; another leaves the choice to the block behind it."""
        if output is None:  # it raised
            self.decider.stop()
            return None
        self._router_output = output
        if self.site.kind in ("indexed", "one-hot"):
            if self.decider.open and self.decider.choice_seen:
                self.decider.stop()
            return None
        self.decider.stop()
        return self._edited(Call(router_output=output))

    def _before_experts(self, module: nn.Module, args: tuple, kwargs: dict) -> tuple | None:
        self.decider.stop()
        return self._edited(Call(router_output=self._router_output, args=args, kwargs=kwargs))

    def _edited(self, call: Call) -> Any:
        """What the experts get in the place of `call`; None where that is the same."""
        if self.decider.needed:
            self.decider.check_reached(self.site.name)
        if not self._after_choice:
            return None
        ids, gates = self._chosen(call)
        if self._algorithm:
            ids, gates = self._assigned(call, ids, gates)
            call = _with_slots(self.site, call, ids, gates)
        left = self._left(ids, gates)
        if left is not None:
            return _EDITORS[self.site.kind](self.site, call, ids, left)
        if not self._algorithm:
            return None
        return (call.args, call.kwargs) if self.site.kind == "indexed" else call.router_output

    def _chosen(self, call: Call) -> tuple[Tensor, Tensor]:
        try:
            return chosen_slots(self.site, call)
        except CaptureError as error:
            if not self._k:
                raise
            raise RuleError(
                f"{self.site.name} cuts its weights by a K of its own, so K cannot be changed "
                "there."
            ) from error

    def _left(self, ids: Tensor, gates: Tensor) -> Tensor | None:
        """[T, K] weights once what the rule takes away is 0; None when it takes nothing."""
        positions = np.arange(self._first, self._first + len(ids))
        lost = self._beyond_k(ids, gates, positions)
        if self.traits.renormalised and lost.any():
            kept = gates.masked_fill(lost, 0)
            gates = kept * (gates.sum(-1, keepdim=True) / kept.sum(-1, keepdim=True))
        if self._mutes:
            lost |= self._muted(ids, positions) & (ids != EMPTY)
        if self.rule.capacity is not None:
            lost |= self._overflow(ids.masked_fill(lost, EMPTY), gates.masked_fill(lost, 0))
        return gates.masked_fill(lost, 0) if lost.any() else None

    def _muted(self, ids: Tensor, positions: np.ndarray) -> Tensor:
        """[T, K] bool: slots whose expert is muted for the token; empty slots may be either."""
        places = ids.clamp(min=0).long()
        if self._muted_always is not None:
            self._muted_always = self._muted_always.to(ids.device)
            return self._muted_always[places]
        table = self.rule.muted(self.layer, positions, self.traits.experts)
        return torch.from_numpy(table).to(ids.device).gather(-1, places)

    def _beyond_k(self, ids: Tensor, gates: Tensor, positions: np.ndarray) -> Tensor:
        """[T, K] bool: slots after the K best, where the router did not see to it itself."""
        lost = torch.zeros_like(ids, dtype=torch.bool)
        for part in self._k:
            width = ids.shape[-1]
            if part.k > width:
                raise RuleError(f"{self.site.name} chooses in a way in which K cannot be raised.")
            if part.k < width:
                worst = gates.argsort(dim=-1, descending=True, stable=True)[:, part.k :]
                here = torch.from_numpy(part.here(positions)).to(ids.device)
                lost |= torch.zeros_like(lost).scatter(-1, worst, True) & here
        return lost

    def _overflow(self, ids: Tensor, gates: Tensor) -> Tensor:
        """[T, K] bool, what finds its expert full, in the model's own order of slots."""
        weight = gates.float().masked_fill(ids == EMPTY, -torch.inf)
        order = weight.argsort(dim=-1, descending=True, stable=True)
        best_first = dropped_slots(
            ids.gather(-1, order).cpu().numpy(),
            gates.gather(-1, order).float().cpu().numpy(),
            self.traits.experts,
            self.rule.capacity,
        )
        lost = torch.from_numpy(best_first).to(ids.device)
        return torch.zeros_like(lost).scatter(-1, order, lost)

    def _assigned(self, call: Call, ids: Tensor, gates: Tensor) -> tuple[Tensor, Tensor]:
        """What the algorithm sends where, from what the router said."""
        logits = router_logits(self.site, call, len(ids), gates)
        if logits is not None:
            logits = logits.float().log() if self.traits.probabilities else logits.float()
        run = LayerRun(
            layer=self.layer,
            experts=self.traits.experts,
            chosen=self.traits.chosen,
            logits=None if logits is None else logits.cpu().numpy(),
            ids=ids.cpu().numpy(),
            gates=(gates.float() * self.traits.after).cpu().numpy(),
            token_ids=np.asarray(self._token_ids),
        )
        new_ids, new_gates = self._algorithm[0].assign(run)
        new_ids = torch.as_tensor(np.ascontiguousarray(new_ids), device=ids.device).to(ids.dtype)
        new_gates = torch.as_tensor(np.ascontiguousarray(new_gates), device=gates.device)
        new_gates = (new_gates / self.traits.after).to(gates.dtype)
        return new_ids, new_gates.masked_fill(new_ids == EMPTY, 0)


def _shared_columns(site: Site) -> int:
    """How many shared experts the router of `site` scores behind the routed ones."""
    return int(getattr(site.router, "n_shared_experts", 0) or 0)


def _with_slots(site: Site, call: Call, ids: Tensor, gates: Tensor) -> Call:
    """The call with other experts and weights: any number of slots."""
    sent = ids.masked_fill(ids == EMPTY, 0)
    if site.kind == "scored":
        table, *rest = call.router_output
        table = torch.zeros_like(table).scatter_add(-1, sent, gates.to(table.dtype))
        return Call(router_output=(table, *rest))
    args, kwargs = _replaced(site, call, 1, sent)
    args, kwargs = _replaced(site, Call(args=args, kwargs=kwargs), 2, gates)
    return Call(router_output=call.router_output, args=args, kwargs=kwargs)


def _edit_indexed(site: Site, call: Call, ids: Tensor, gates: Tensor) -> tuple:
    return _replaced(site, call, 2, gates.view(_argument(site, call, 2).shape))


def _edit_one_hot(site: Site, call: Call, ids: Tensor, gates: Tensor) -> tuple:
    """Clears the dispatch mask, and the combine weights where they have a column per expert."""
    mask, weights = _argument(site, call, 1), _argument(site, call, 2)
    away = torch.zeros(len(ids), mask.shape[-1], dtype=torch.bool, device=ids.device)
    away.scatter_(-1, ids.clamp(min=0), (gates == 0) & (ids != EMPTY))
    args, kwargs = _replaced(site, call, 1, mask.masked_fill(away.view(mask.shape), 0))
    if weights.numel() == away.numel():
        call = Call(args=args, kwargs=kwargs)
        return _replaced(site, call, 2, weights.masked_fill(away.view(weights.shape), 0))
    return args, kwargs


def _edit_scored(site: Site, call: Call, ids: Tensor, gates: Tensor) -> tuple:
    table, *rest = call.router_output
    return (table.scatter(-1, ids.clamp(min=0), gates), *rest)


def _edit_sorted(site: Site, call: Call, ids: Tensor, gates: Tensor) -> tuple:
    order, rows, _, *rest = call.router_output
    return (order, rows, gates.flatten()[order], *rest)


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
