"""Models by name: the demo model, a local folder, or an id of the Hugging Face hub."""

from __future__ import annotations

import shutil
import tempfile
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import transformers
from torch import nn
from transformers import AutoTokenizer, PreTrainedTokenizerBase

from moeviz.models.errors import ModelError, plain_errors
from moeviz.models.memory import enough_memory_to_load
from moeviz.models.plan import DEMO, SPREAD, LoadPlan, check_adapter, check_memory, plan_load
from moeviz.models.probe import SiteTraits, probe
from moeviz.models.progress import Progress, reported
from moeviz.models.sites import Site, find_sites, text_part
from moeviz.models.turns import Turns
from moeviz.trace import RouterSpec


@dataclass(frozen=True, eq=False)
class LoadedModel:
    """A model that was tried on a short text and whose routing can be believed.

    name, revision: what was asked for and the commit it resolved to. sites: its routed layers;
    traits: what each is, by site name; routers: their facts by stack ("decoder", "encoder").
    spied: sites whose selection score is recorded. max_tokens: the longest text it takes, 0 if it
    states none. warnings: sentences the user must see. lock: held by whoever runs the model,
    in fair turns.
    """

    name: str
    revision: str
    network: nn.Module
    tokenizer: PreTrainedTokenizerBase | None
    sites: tuple[Site, ...]
    traits: dict[str, SiteTraits]
    routers: dict[str, RouterSpec]
    spied: frozenset[str]
    max_tokens: int
    parameters: int
    device: str
    dtype: str
    warnings: tuple[str, ...] = ()
    lock: Turns = field(default_factory=Turns, repr=False)

    @property
    def model_type(self) -> str:
        return self.network.config.model_type

    @property
    def router(self) -> RouterSpec:
        """Facts of the stack that reads the text first."""
        return self.routers.get("encoder") or self.routers["decoder"]

    def __repr__(self) -> str:
        return (
            f"LoadedModel({self.name!r}: {self.model_type}, {len(self.sites)} routed layers, "
            f"top-{self.router.chosen} of {self.router.experts} experts, "
            f"{self.device} {self.dtype})"
        )


def load_model(
    name: str = DEMO,
    device: str = "auto",
    dtype: str = "auto",
    revision: str | None = None,
    allow_code: bool = False,
    progress: Progress | None = None,
    **options: Any,
) -> LoadedModel:
    """The model `name`, loaded, set to evaluate and tried on a short text.

    name: "demo", a local folder, a hub id, or a peft adapter on an MoE. device: "auto" takes CUDA,
    then MPS, then CPU; "spread" lays a large model over all devices, then memory, then disk.
    dtype: "auto" is the checkpoint's own, but float32 for models small enough on a CPU.
    revision: a branch, tag or commit of the hub. allow_code: run Python code that ships with the
    model; only for a source that you trust. progress: told how far the load has come; it may raise
    LoadCancelled. options: passed on to `from_pretrained`, such as a quantization_config.

    Raises ModelError or NotRouted with one sentence that says what to do. Whether the model
    is an MoE at all, and whether it fits, is decided before any weights are fetched.
    """
    plan = plan_load(name, device, dtype, revision, allow_code)
    if "quantization_config" not in options:
        check_memory(plan)
    common = {
        "revision": None if plan.adapter else revision,
        "trust_remote_code": allow_code,
        "local_files_only": plan.offline,
    }
    with plain_errors(name), enough_memory_to_load(plan):
        tokenizer = AutoTokenizer.from_pretrained(plan.where, **common)
        return adopt(_network(plan, progress, common | options), tokenizer, name, plan.commit)


def _network(plan: LoadPlan, progress: Progress | None, options: dict) -> nn.Module:
    """The model with its weights where they are to be."""
    with reported(progress) as reporting, _room_on_disk(plan, options) as room:
        network = type(plan.skeleton).from_pretrained(
            plan.where,
            config=plan.config,
            dtype=plan.dtype,
            **{**_by_default(plan), **room, **reporting, **options, "use_safetensors": True},
        )
        if room:
            weakref.finalize(network, shutil.rmtree, room["offload_folder"], ignore_errors=True)
    if plan.adapter:
        check_adapter(plan)
        network.load_adapter(plan.adapter, local_files_only=plan.offline)
    if plan.device != SPREAD and not getattr(network, "is_quantized", False):
        network = network.to(plan.device)
    return network


def adopt(
    network: nn.Module,
    tokenizer: PreTrainedTokenizerBase | None,
    name: str = "",
    revision: str = "",
) -> LoadedModel:
    """A transformers model that is already in memory, tried and ready to trace.

    For notebooks: your own model, a model with adapters, one spread over several devices.
    Raises NotRouted or CaptureError when its routing cannot be read, ModelError for a compiled one.
    """
    if hasattr(network, "_orig_mod"):
        raise ModelError(
            "A compiled model hides its routing from MoEViz. Give the model before torch.compile."
        )
    network = text_part(network).eval()
    found = probe(network, tokenizer, find_sites(network))
    config = network.config.get_text_config()
    return LoadedModel(
        name=name or type(network).__name__,
        revision=revision,
        network=network,
        tokenizer=tokenizer,
        sites=found.sites,
        traits=found.traits,
        routers=found.routers,
        spied=found.spied,
        max_tokens=int(getattr(config, "max_position_embeddings", 0) or 0),
        parameters=sum(p.numel() for p in network.parameters()),
        device=_devices(network),
        dtype=str(network.dtype).removeprefix("torch."),
        warnings=found.warnings,
    )


@contextmanager
def _room_on_disk(plan: LoadPlan, options: dict) -> Iterator[dict]:
    """A folder for weights that fit in no memory, deleted when the load fails.

    transformers writes fused experts anew there, since the files hold them one by one.
    """
    if plan.device != SPREAD or "offload_folder" in options:
        yield {}
        return
    folder = tempfile.mkdtemp(prefix="moeviz-weights-")
    try:
        yield {"offload_folder": folder}
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise


def _by_default(plan: LoadPlan) -> dict:
    """gpt-oss in mxfp4 runs in fused kernels that show no choices: ask for plain weights."""
    found: dict[str, Any] = {"device_map": "auto"} if plan.device == SPREAD else {}
    if plan.quantised == "mxfp4":
        found["quantization_config"] = transformers.Mxfp4Config(dequantize=True)
    return found


def _devices(network: nn.Module) -> str:
    """Where the weights are: "cuda:0", or "cpu and disk" for a model that is spread."""
    spread = getattr(network, "hf_device_map", None)
    if spread and len(set(spread.values())) > 1:
        return " and ".join(sorted({str(place) for place in spread.values()}))
    return str(next(network.parameters()).device)
