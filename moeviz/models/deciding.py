"""A rule inside a router: its logits changed, its choice overruled, by its own arithmetic.

Nothing here computes a gate. The functions by which a router multiplies and chooses are overheard
as it runs, what they hand back is exchanged, and the model's own code goes on from there: so
scoring, bias, groups and renormalisation stay the model's own, whatever they are.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

from moeviz.rules.capacity import RuleError
from moeviz.rules.interventions import (
    MARGIN,
    ChangeK,
    Noise,
    Part,
    RandomExperts,
    Rule,
    Steer,
    Swap,
    Temperature,
)


class Decider(TorchFunctionMode):
    """Applies the parts of `rule` that concern logits and choice to one router while it is open.

    layer: the router's layer by name. experts, chosen: its E and K. columns: how wide its logits
    may be (some hold shared experts behind the E routed ones). k_inside: whether the model's own
    code follows when its top-k hands back another number of experts. A choice that is the same
    under the rule keeps its tensors, so that a rule without effect is bitwise the plain run.
    """

    def __init__(
        self,
        rule: Rule,
        layer: str,
        experts: int,
        chosen: int,
        columns: tuple[int, ...],
        k_inside: bool,
    ):
        super().__init__()
        self.layer, self.experts, self.chosen = layer, experts, chosen
        self.open = False
        self._columns = columns
        self._rule = rule
        self._on_logits = rule.here(layer, Temperature, Noise, Steer)
        self._random = rule.here(layer, RandomExperts)[-1:]
        self._swaps = rule.here(layer, Swap)
        parts = rule.here(layer, ChangeK) if k_inside else ()
        self._k = [part.k for part in parts if part.tokens is None][-1:]
        wishes = rule.wishes(layer, _FIRST, experts)
        self._choosing = bool(self._random) or wishes is not None
        only_mutes = wishes is not None and not self._random and not (wishes > 0).any()
        self._banned = None  # [E] bool, where all that the rule wishes is the same experts away
        if only_mutes and rule.same_for_all(layer, drop=False):
            self._banned = torch.from_numpy(wishes[0] < 0)

    @property
    def needed(self) -> bool:
        """Whether the rule has anything to say in this router."""
        return bool(self._on_logits or self._choosing or self._k)

    def start(self, first: int) -> None:
        """From here on, for rows that are the tokens from place `first` on."""
        self._first, self._logits_seen, self.choice_seen, self._checked = first, False, False, False
        self.open = True
        self.__enter__()

    def stop(self) -> None:
        if self.open:
            self.open = False
            self.__exit__(None, None, None)

    def check_reached(self, name: str) -> None:
        """Raises RuleError when the site `name` decided by other functions than are known here."""
        if self._on_logits and not self._logits_seen:
            raise RuleError(f"{name} makes its router logits where no rule can reach them.")
        if self._choosing and not self.choice_seen:
            raise RuleError(
                f"{name} does not choose experts by their scores (it may look them up by token), "
                "so a rule cannot change its choice."
            )

    def __torch_function__(self, func, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        name = getattr(func, "__name__", "")
        if name in _PRODUCTS:
            return self._product(func(*args, **kwargs))
        if name in _CHOICES and self._is_choice(args):
            return _CHOICES[name](self, func, args, kwargs)
        return func(*args, **kwargs)

    def _product(self, output: Any) -> Any:
        """The logits under the rule; any other product as it is."""
        if not self._on_logits or self._logits_seen or output.shape[-1] not in self._columns:
            return output
        self._logits_seen = True
        rows = output.reshape(-1, output.shape[-1])
        routed = rows[:, : self.experts]
        positions = self._positions(len(rows))
        for part in self._on_logits:
            changed = _ON_LOGITS[type(part)](part, routed, self.layer, positions)
            here = torch.from_numpy(part.here(positions)).to(rows.device)
            routed = changed if part.tokens is None else torch.where(here, changed, routed)
        return torch.cat([routed, rows[:, self.experts :]], -1).view(output.shape)

    def _is_choice(self, args: tuple) -> bool:
        return (
            (self._choosing or bool(self._k))
            and isinstance(args[0], Tensor)
            and args[0].dim() > 1
            and args[0].shape[-1] == self.experts
        )

    def _positions(self, rows: int) -> np.ndarray:
        return np.arange(self._first, self._first + rows)

    def _overruled(self, scores: Tensor, one_by_one: bool) -> Tensor:
        """Scores [..., E] whose largest are the experts that the rule wants, in their order.

        one_by_one: the router asks for one expert at a time and sets those it has to -inf.
        """
        rows = scores.reshape(-1, self.experts)
        positions = self._positions(len(rows))
        if not self._checked:
            self._check_swaps(rows)
        for part in self._random:
            drawn = torch.from_numpy(part.scores(self.layer, positions, self.experts)).to(rows)
            if one_by_one:
                drawn = drawn.masked_fill(rows == -torch.inf, -torch.inf)
            rows = drawn if part.tokens is None else torch.where(
                torch.from_numpy(part.here(positions)).to(rows.device), drawn, rows
            )  # fmt: skip
        wishes = self._rule.wishes(self.layer, positions, self.experts)
        if wishes is not None:
            rows = _wished(rows, torch.from_numpy(wishes).to(rows.device), one_by_one)
        return rows.view(scores.shape)

    def _check_swaps(self, rows: Tensor) -> None:
        """Every swap must fit what the router would have chosen by itself."""
        self._checked = True
        for swap in self._swaps:
            row = swap.tokens[0] - self._first
            if 0 <= row < len(rows):
                swap.check_route(torch.topk(rows[row], self.chosen).indices.tolist())

    def top(self, func: Callable, args: tuple, kwargs: dict) -> Any:
        """A router's top-k; a group's best two, where there is one group, pass through here too."""
        self.choice_seen = True
        scores, *rest = args
        k = rest[0] if rest else kwargs["k"]
        if self._k and k == self.chosen:
            rest, kwargs = ([self._k[0], *rest[1:]], kwargs) if rest else (
                rest, {**kwargs, "k": self._k[0]}
            )  # fmt: skip
        if not self._choosing:
            return func(scores, *rest, **kwargs)
        own = func(scores, *rest, **kwargs)
        if self._banned is not None:
            ids = self._without_banned(func, scores, own.indices, rest, kwargs)
            if ids is own.indices:
                return own
            if ids is not None:
                return torch.return_types.topk((scores.gather(-1, ids), ids))
        wanted = _unheard(func, self._overruled(scores, False), *rest, **kwargs).indices
        ids = torch.where(_same_set(wanted, own.indices, self.experts), own.indices, wanted)
        return torch.return_types.topk((scores.gather(-1, ids), ids))

    def _without_banned(
        self, func: Callable, scores: Tensor, own: Tensor, rest: list, kwargs: dict
    ) -> Tensor | None:
        """The own choice, the next best in the place of muted experts; itself where it has none.

        None where too few scores are open to tell what is next best.
        """
        banned = self._banned = self._banned.to(scores.device)
        hit = banned[own].any(-1, keepdim=True)
        if not hit.any():
            return own
        best = _unheard(func, scores.masked_fill(banned, -torch.inf), *rest, **kwargs)
        if (best.values == -torch.inf).any():
            return None
        return torch.where(hit, best.indices, own)

    def largest(self, func: Callable, args: tuple, kwargs: dict) -> Any:
        """A router's maximum along the experts: top-1 with its value."""
        dim = kwargs.get("dim", args[1] if len(args) > 1 else None)
        if not self._choosing or dim not in (-1, args[0].dim() - 1):
            return func(*args, **kwargs)
        self.choice_seen = True
        scores, *rest = args
        ids = func(self._overruled(scores, True), *rest, **kwargs).indices
        kept = kwargs.get("keepdim", len(rest) > 1 and rest[1])
        values = scores.gather(-1, ids if kept else ids.unsqueeze(-1))
        return torch.return_types.max((values if kept else values.squeeze(-1), ids))

    def place_of_largest(self, func: Callable, args: tuple, kwargs: dict) -> Any:
        """A router's argmax."""
        if not self._choosing:
            return func(*args, **kwargs)
        self.choice_seen = True
        return func(self._overruled(args[0], True), *args[1:], **kwargs)


_PRODUCTS = frozenset(("linear", "matmul", "mm", "addmm", "bmm", "einsum", "__matmul__"))
_CHOICES = {"topk": Decider.top, "max": Decider.largest, "argmax": Decider.place_of_largest}
_FIRST = np.zeros(1, int)


def _unheard(func: Callable, *args: Any, **kwargs: Any) -> Any:
    """`func` of these, not noted by the spies: what they are after is the router's own choice."""
    with torch._C.DisableTorchFunction():
        return func(*args, **kwargs)


def _wished(rows: Tensor, wishes: Tensor, one_by_one: bool) -> Tensor:
    """Scores with the unwanted below all others and the wanted above, in the scores' own order."""
    finite = torch.isfinite(rows)
    high = rows.masked_fill(~finite, -torch.inf).amax(-1, keepdim=True)
    low = rows.masked_fill(~finite, torch.inf).amin(-1, keepdim=True)
    base = rows if one_by_one else torch.where(finite, rows, low - 1)  # outside the open groups
    raised = base + (high - low + 2)
    return torch.where(wishes > 0, raised, base).masked_fill(wishes < 0, -torch.inf)


def _same_set(one: Tensor, other: Tensor, experts: int) -> Tensor:
    """[..., 1] bool: whether both name the same experts, in whatever order."""
    shape = (*one.shape[:-1], experts)
    marks = [torch.zeros(shape, dtype=torch.bool, device=one.device) for _ in range(2)]
    first, second = (m.scatter(-1, ids, True) for m, ids in zip(marks, (one, other), strict=True))
    return (first == second).all(-1, keepdim=True)


def _tempered(part: Temperature, logits: Tensor, layer: str, positions: np.ndarray) -> Tensor:
    return logits / part.value


def _shaken(part: Noise, logits: Tensor, layer: str, positions: np.ndarray) -> Tensor:
    return logits + torch.from_numpy(part.drawn(layer, positions, logits.shape[-1])).to(logits)


def _steered(part: Steer, logits: Tensor, layer: str, positions: np.ndarray) -> Tensor:
    changed = logits.clone()
    changed[:, list(part.up)] = logits.amax(-1, keepdim=True) + MARGIN
    changed[:, list(part.down)] = logits.amin(-1, keepdim=True) - MARGIN
    return changed


_ON_LOGITS: dict[type[Part], Callable[..., Tensor]] = {
    Temperature: _tempered,
    Noise: _shaken,
    Steer: _steered,
}
