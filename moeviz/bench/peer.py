"""What others do with the same model: its routers read by nnsight, the general tool for that."""

from __future__ import annotations

import copy
import sys
from collections.abc import Callable

from torch import nn

from moeviz.models.load import LoadedModel

NNSIGHT = "nnsight"


def nnsight_pass(model: LoadedModel, inputs: dict) -> Callable[[], list] | None:
    """A forward pass that hands back what each router put out, saved by nnsight.

    None, said in one line, where nnsight is not installed. It is given a twin of the network,
    since it leaves a forward of its own in every module that it has seen.
    """
    try:
        import nnsight
    except ImportError:
        say_missing(NNSIGHT)
        return None
    names = {module: name for name, module in model.network.named_modules()}
    peer = nnsight.NNsight(twin(model.network))
    routers = [peer.get(names[site.router]) for site in model.sites]

    def run() -> list:
        with peer.trace(**inputs):
            saved = nnsight.save([router.output for router in routers])
        return saved

    return run


def say_missing(library: str) -> None:
    """One line on standard error."""
    how = 'try pip install "moeviz[bench]"'
    print(f"moeviz: {library} is not installed, so nothing is set against it; {how}.",
          file=sys.stderr)  # fmt: skip


def twin(network: nn.Module) -> nn.Module:
    """The same weights in modules of their own."""
    shared = {id(held): held for held in (*network.parameters(), *network.buffers())}
    return copy.deepcopy(network, shared)
