"""Where a model routes: every place in it that has a router and experts, found by structure.

No table of architecture names: what counts is how a module is called and what it holds.
Five forms exist among the architectures of transformers 5.x, and an older one in models that
bring their own code:

    indexed      experts(hidden, ids [T, K], weights [T, K])           nearly all
    one-hot      experts(hidden, mask [T, 1, E] or [T, E], weights)    Switch, NLLB-MoE
    scored       router -> (gates [T, E], logits); dense experts       Llama 4
    sorted       gating -> (order, rows, gates, counts, logits)        JetMoE
    product-key  two half keys give E = n * n; experts are embeddings  Doge
    listed       the block calls each expert in a list itself          older code
"""

from __future__ import annotations

import inspect
import re
from dataclasses import dataclass
from functools import cached_property

from torch import nn

from moeviz.trace import MoevizError


class NotRouted(MoevizError):
    """The model has no router whose choices could be shown."""


@dataclass(frozen=True, eq=False)
class Site:
    """One routed layer of one model.

    name: module path of the block that holds router and experts. layer: its place in the stack.
    stack: "decoder" or "encoder". kind: one of the forms above.
    experts: the module that runs the experts; router: the one that gives the logits, if any.
    """

    name: str
    layer: int
    stack: str
    kind: str
    block: nn.Module
    experts: nn.Module
    router: nn.Module | None

    @cached_property
    def count(self) -> int | None:
        """See `expert_count`; counted once, as every forward pass asks for it."""
        if isinstance(self.experts, nn.ModuleDict | nn.ModuleList):
            return len(expert_children(self.experts))
        if self.kind == "product-key":
            return self.experts.down_embed.num_embeddings
        if self.kind == "sorted":
            return self.experts.num_experts
        stacked = [p.shape[0] for p in self.experts.parameters() if p.dim() == 3]
        return min(stacked, default=None) or getattr(self.experts, "num_experts", None)


def find_sites(model: nn.Module) -> tuple[Site, ...]:
    """Every routed layer of `model`, in the order of its modules.

    Raises NotRouted when there is none.
    """
    modules = dict(model.named_modules())
    sites = []
    for name, module in modules.items():
        block_name = name.rpartition(".")[0]
        kind = _kind(module, modules[block_name])
        if kind == "product-key":
            sites.append(_site(name, kind, module, module, module.router_gate))
        elif kind == "sorted":
            sites.append(_site(block_name, kind, modules[block_name], module, module))
        elif kind:
            block = modules[block_name]
            sites.append(_site(block_name, kind, block, module, _router_beside(module, block)))
    if not sites:
        raise NotRouted(
            f"{type(model).__name__} has no Mixture-of-Experts layers: MoEViz found no router "
            "beside experts in it. Choose an MoE model, for example allenai/OLMoE-1B-7B-0924."
        )
    return tuple(sites)


def text_part(model: nn.Module) -> nn.Module:
    """`model`, or the part of it that can be called, where it is only a shell around its parts
    (one that listens, thinks and talks, for example): the first that reads tokens."""
    if type(model).forward is not nn.Module.forward:
        return model
    for part in model.children():
        if type(part).forward is not nn.Module.forward and hasattr(part, "get_input_embeddings"):
            return part
    raise NotRouted(f"{type(model).__name__} has no part that MoEViz could give a text to.")


def choice_parameters(experts: nn.Module) -> tuple[str, ...]:
    """Names of the arguments that `experts` is called with: hidden states, choice, weights."""
    return tuple(inspect.signature(type(experts).forward).parameters)[1:]


def expert_count(site: Site) -> int | None:
    """How many experts of `site` hold weights; None where the module does not show it."""
    return site.count


def expert_parameters(site: Site) -> int | None:
    """Parameters of one expert of `site`; None where experts do not hold weights of their own."""
    if site.kind in ("sorted", "product-key") or not site.count:
        return None
    return sum(weight.numel() for weight in site.experts.parameters()) // site.count


def expert_children(experts: nn.Module) -> list[nn.Module]:
    """The children that are experts: those with weights (a dropout may sit among them)."""
    return [child for child in experts.children() if any(True for _ in child.parameters())]


def _kind(module: nn.Module, parent: nn.Module) -> str:
    """Which of the five forms `module` has, or "" for a module that routes nothing."""
    names = choice_parameters(module) if type(module).forward is not nn.Module.forward else ()
    if _takes_choices(names) and _holds_weights(module):
        one_hot = isinstance(module, nn.ModuleDict) or "mask" in names[1]
        return "one-hot" if one_hot else "indexed"
    if all(hasattr(module, part) for part in ("router_gate", "down_embed", "up_embed")):
        return "product-key"
    if _is_sorting_gate(module):
        return "sorted"
    if len(names) == 1 and _stacked(module) >= 2 and _router_beside(module, parent) is not None:
        return "scored"
    if isinstance(module, nn.ModuleList) and not names and _chosen_from(module, parent):
        return "listed"
    return ""


def _chosen_from(experts: nn.ModuleList, block: nn.Module) -> bool:
    """Whether a sibling has as many outputs as the list has experts, all of one make."""
    children, router = list(experts), _router_beside(experts, block)
    if router is None or len(children) < 2 or len({type(child) for child in children}) > 1:
        return False
    widths = {p.shape[0] for p in router.parameters() if p.dim() == 2}
    return len(children) in widths and len(expert_children(experts)) == len(children)


def _takes_choices(names: tuple[str, ...]) -> bool:
    """Whether arguments of these names are hidden states, chosen experts and their weights."""
    return (
        len(names) >= 3
        and re.search(r"index|indices|selected|mask", names[1]) is not None
        and re.search(r"weight|prob|score", names[2]) is not None
    )


def _is_sorting_gate(module: nn.Module) -> bool:
    return (
        type(module).__name__.endswith("Gating")
        and isinstance(getattr(module, "layer", None), nn.Linear)
        and all(hasattr(module, part) for part in ("top_k", "num_experts"))
    )


def _holds_weights(module: nn.Module) -> bool:
    return any(True for _ in module.parameters()) or any(True for _ in module.buffers())


def _stacked(module: nn.Module) -> int:
    held = [*module.parameters(recurse=False), *module.buffers(recurse=False)]
    return sum(tensor.dim() >= 3 for tensor in held)


def _router_beside(experts: nn.Module, block: nn.Module) -> nn.Module | None:
    """The child of `block` that scores the experts: by class name first, then by its own name."""
    children = [(n, m) for n, m in block.named_children() if m is not experts]
    for _, child in children:
        if re.search(r"(Router|Gate|Gating)$", type(child).__name__):
            return child
    for name, child in children:
        if name in ("router", "gate", "wg"):
            return child
    return None


def _site(name: str, kind: str, block: nn.Module, experts: nn.Module, router) -> Site:
    parts = name.split(".")
    numbers = [int(part) for part in parts if part.isdigit()]
    stack = "encoder" if "encoder" in parts else "decoder"
    return Site(name, numbers[0] if numbers else 0, stack, kind, block, experts, router)
