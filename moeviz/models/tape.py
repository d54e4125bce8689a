"""Listening to a model: hooks that are there for one run and gone after it."""

from __future__ import annotations

from collections.abc import Collection
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import nn
from transformers import PreTrainedModel

from moeviz.models.choices import Call, CaptureError, Choice, read_choice
from moeviz.models.sites import Site, expert_count
from moeviz.models.spies import SelectionSpy, WeightsSpy


class Tape:
    """Records every forward pass of `model` made while the tape is open.

    One step is one outermost call of a transformers model: the whole prompt, then each new token;
    an encoder called alone is a step of its own. `steps[i][j]` is the `Choice` at site j, or None
    where that site did not run. Hooks only look; they never change a tensor.

        with Tape(model, sites) as tape:
            model(**inputs)
        tape.steps[0]

    spied: names of the sites whose selection score is wanted too.
    """

    def __init__(self, model: nn.Module, sites: Collection[Site], spied: Collection[str] = ()):
        self.model = model
        self.steps: list[list[Choice | None]] = []
        self._whole = [part for part in model.modules() if isinstance(part, PreTrainedModel)]
        self._ears = [_Ear(site, site.name in spied) for site in sites]
        self._handles: list = []
        self._depth = 0

    def __enter__(self) -> Tape:
        self._depth = 0
        try:
            for whole in self._whole:
                self._handles += [
                    whole.register_forward_pre_hook(self._open_step),
                    whole.register_forward_hook(self._close_step, always_call=True),
                ]
            for ear in self._ears:
                self._handles += ear.attach()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        for handle in self._handles:
            handle.remove()
        self._handles.clear()
        for ear in self._ears:
            ear.forget()

    @torch.inference_mode()
    def run(self, inputs: dict, rule: AbstractContextManager | None = None) -> tuple:
        """The model's output for `inputs` and the one step (list of `Choice`) that it made.

        rule: what is in force meanwhile, see `Enforced`. The tape is open for as long; it can be
        used again, which is quicker than a new one.
        """
        self.steps.clear()
        with self, rule or nullcontext():
            output = self.model(**inputs)
        if len(self.steps) != 1:
            raise CaptureError(f"One forward pass was recorded as {len(self.steps)} steps.")
        return output, self.steps.pop()

    def _open_step(self, *_: object) -> None:
        if self._depth == 0:
            for ear in self._ears:
                ear.forget()
        self._depth += 1

    def _close_step(self, module: nn.Module, args: tuple, output: Any) -> None:
        self._depth -= 1
        if self._depth == 0 and output is not None:  # None: the call raised
            self.steps.append([ear.choice() for ear in self._ears])


class _Ear:
    """What one site was heard to do in the step that is running."""

    def __init__(self, site: Site, spied: bool):
        self.site = site
        self.calls: list[Call] = []
        self.spy = SelectionSpy() if spied and site.kind != "listed" else None
        self.inside = WeightsSpy(expert_count(site)) if site.kind == "listed" else None

    def attach(self) -> list:
        handles = []
        if self.inside:
            block = self.site.block
            handles.append(block.register_forward_pre_hook(self._start_inside))
            handles.append(block.register_forward_hook(self._hear_inside, always_call=True))
        if self.site.router is not None:
            if self.spy:
                handles.append(self.site.router.register_forward_pre_hook(self._start_spy))
            hear = self.site.router.register_forward_hook(self._hear_router, always_call=True)
            handles.append(hear)
        chooser = self._chooser()
        if chooser is not None:
            hear = chooser.register_forward_pre_hook(self._hear_choice, with_kwargs=True)
            handles.append(hear)
        return handles

    def forget(self) -> None:
        self.calls = []

    def choice(self) -> Choice | None:
        if not self.calls:
            return None
        if len(self.calls) > 1:
            raise CaptureError(
                f"{self.site.name} routed {len(self.calls)} times in one forward pass; "
                "MoEViz shows only models that use each routed layer once."
            )
        return read_choice(self.site, self.calls[0])

    def _chooser(self) -> nn.Module | None:
        if self.site.kind in ("indexed", "one-hot"):
            return self.site.experts
        return self.site.experts.down_embed if self.site.kind == "product-key" else None

    def _start_inside(self, *_: object) -> None:
        self.inside.start()

    def _hear_inside(self, module: nn.Module, args: tuple, output: Any) -> None:
        heard = self.inside.stop()
        if heard is not None and output is not None:
            self._hear_choice(module, (None, *heard), {})

    def _start_spy(self, *_: object) -> None:
        self.spy.start()

    def _hear_router(self, module: nn.Module, args: tuple, output: Any) -> None:
        selection = self.spy.stop() if self.spy else None
        if output is not None:
            self.calls.append(Call(router_output=output, selection=selection))

    def _hear_choice(self, module: nn.Module, args: tuple, kwargs: dict) -> None:
        if not self.calls or self.calls[-1].heard_choice:
            self.calls.append(Call())
        if self.site.kind != "product-key":
            args = (None, *args[1:])  # hidden states, which need no keeping
        self.calls[-1].hear_choice(args, kwargs)


def run_once(
    model: nn.Module,
    sites: Collection[Site],
    inputs: dict,
    spied: Collection[str] = (),
    rule: AbstractContextManager | None = None,
) -> tuple:
    """`Tape.run` on a tape for this one run."""
    return Tape(model, sites, spied).run(inputs, rule)
