"""The work of one text up to one routed layer, done once and used again for many runs."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from moeviz.models.enforce import AnyRule, Enforced, in_plain_words
from moeviz.models.load import LoadedModel
from moeviz.models.memory import running
from moeviz.models.sites import Site
from moeviz.models.tape import run_once


class Prefix:
    """One plain run of a model, which later runs share up to a layer.

    output: of the plain run; choice: what `site` chose in it; inputs: what the model was fed.
    Every module beside the path to the layer that ran once, and before it, hands back in later
    runs what it returned in the first (earlier layers, this layer's attention): they would compute
    the same from the same inputs. Nothing stays in the model between runs.
    """

    def __init__(self, model: LoadedModel, inputs: dict, site: Site):
        self.model, self.inputs, self.site = model, inputs, site
        self._kept: dict[nn.Module, Any] = {}
        with running(model), torch.inference_mode():
            self.output, step = self._first_run()
        self.choice = step[0]

    def run(self, rule: AnyRule, copies: int = 1) -> Any:
        """The model's output under a rule that changes nothing before the layer.

        copies: of the text, one behind the other in the places that the rule names; only where
        `takes_copies` says so.
        """
        model, site = self.model, self.site
        sites = [s for s in model.sites if s.stack == site.stack]
        force = Enforced(sites, model.traits, rule)
        inputs = _copied(self.inputs, copies)
        plainly = in_plain_words(rule)
        with running(model), torch.inference_mode(), plainly, self._skipping(copies), force:
            return model.network(**inputs)

    @property
    def takes_copies(self) -> bool:
        """Whether all that is kept has a row for each text, so that it can stand for several."""
        return all(_has_a_row(value) for value in self._kept.values())

    @property
    def shared(self) -> int:
        """How many modules later runs do not compute again."""
        return len(self._kept)

    def _first_run(self) -> tuple:
        beside = _beside_the_path(self.model.network, self.site.name)
        calls = dict.fromkeys(beside, 0)
        begun = False

        def begin(*_: object) -> None:
            nonlocal begun
            begun = True

        def keep(module: nn.Module, args: tuple, output: Any) -> None:
            calls[module] += 1
            if calls[module] > 1 or begun:
                self._kept.pop(module, None)
            else:
                self._kept[module] = output

        handles = [module.register_forward_hook(keep) for module in beside]
        for module in (self.site.block, self.site.router, self.site.experts):
            if module is not None:
                handles.append(module.register_forward_pre_hook(begin))
        try:
            return run_once(self.model.network, [self.site], self.inputs)
        finally:
            for handle in handles:
                handle.remove()

    @contextmanager
    def _skipping(self, copies: int) -> Iterator[None]:
        """While open, what is kept is handed back instead of computed, fresh copies each time."""
        former = [(module, module.__dict__.get("forward")) for module in self._kept]
        for module, output in self._kept.items():
            module.forward = lambda *_, _kept=output, **__: _copied(_kept, copies)
        try:
            yield
        finally:
            for module, own in former:
                del module.forward
                if own is not None:
                    module.forward = own


def _beside_the_path(network: nn.Module, name: str) -> list[nn.Module]:
    """Modules next to those that lead to the module `name`; of a list, its members."""
    found, here = [], network
    for part in name.split("."):
        found += [child for n, child in here.named_children() if n != part]
        here = getattr(here, part)
    members = [
        child
        for module in found
        for child in (module if isinstance(module, nn.ModuleList) else [module])
    ]
    return list(dict.fromkeys(members))


def _copied(value: Any, copies: int) -> Any:
    """The same with its tensors copied, since a model may write into what it got."""
    if isinstance(value, Tensor):
        return value.clone() if copies == 1 else value.repeat(copies, *[1] * (value.dim() - 1))
    if isinstance(value, tuple | list):
        parts = [_copied(part, copies) for part in value]
        return type(value)(*parts) if hasattr(value, "_fields") else type(value)(parts)
    if isinstance(value, dict):
        return type(value)({name: _copied(part, copies) for name, part in value.items()})
    return value


def _has_a_row(value: Any) -> bool:
    """Whether the first axis of its tensors is that of the one text."""
    if isinstance(value, dict):
        value = tuple(value.values())
    if isinstance(value, tuple | list):
        return all(map(_has_a_row, value))
    return not isinstance(value, Tensor) or (value.dim() > 1 and len(value) == 1)
