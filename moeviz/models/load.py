"""Models by name: the demo model, a local folder, or an id of the Hugging Face hub."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import huggingface_hub.errors as hub_errors
import torch
import transformers
from torch import nn
from transformers import AutoConfig, AutoTokenizer, PreTrainedTokenizerBase

from moeviz.models.probe import SiteTraits, probe
from moeviz.models.sites import Site, find_sites
from moeviz.trace import MoevizError, RouterSpec

DEMO = "demo"
DEMO_FOLDER = Path(__file__).parent.parent / "demo_model"
SMALL_ENOUGH_FOR_FP32 = 4e9
"""Bytes in float32 up to which a CPU runs a model in float32: exact routes, and faster there."""


class ModelError(MoevizError):
    """The model could not be found, read or run; the sentence says why and what to try."""


@dataclass(frozen=True, eq=False)
class LoadedModel:
    """A model that was tried on a short text and whose routing can be believed.

    name, revision: what was asked for and the commit it resolved to. sites: its routed layers;
    traits: what each is, by site name; routers: their facts by stack ("decoder", "encoder").
    spied: sites whose selection score is recorded. max_tokens: the longest text it takes, 0 if it
    states none. warnings: sentences the user must see. lock: held by whoever runs the model.
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
    lock: threading.RLock = field(default_factory=threading.RLock)

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
) -> LoadedModel:
    """The model `name`, loaded, set to evaluate and tried on a short text.

    name: "demo", a local folder, or a hub id. device: "auto" takes CUDA, then MPS, then CPU.
    dtype: "auto" is the checkpoint's own, but float32 for models small enough on a CPU.
    revision: a branch, tag or commit of the hub. allow_code: run Python code that ships with the
    model; only for a source that you trust.

    Raises ModelError or NotRouted with one sentence that says what to do. Whether the model
    is an MoE at all is decided from its configuration, before any weights are fetched.
    """
    where = _place(name)
    options = {"revision": revision, "trust_remote_code": allow_code}
    with _plain_errors(name):
        config = AutoConfig.from_pretrained(where, **options)
    skeleton = _skeleton(config, name, allow_code)
    find_sites(skeleton)
    device = _device(device)
    kind = _dtype(dtype, device, config, skeleton)
    _check_memory(name, skeleton, kind, device)
    with _plain_errors(name):
        tokenizer = AutoTokenizer.from_pretrained(where, **options)
        network = type(skeleton).from_pretrained(
            where, config=config, dtype=kind, **_weights_options(config), **options
        )
    return adopt(network.to(device), tokenizer, name, revision=_commit(config))


def adopt(
    network: nn.Module,
    tokenizer: PreTrainedTokenizerBase | None,
    name: str = "",
    revision: str = "",
) -> LoadedModel:
    """A transformers model that is already in memory, tried and ready to trace.

    For notebooks: your own model, a model with adapters, one spread over several devices.
    Raises NotRouted or CaptureError when its routing cannot be read.
    """
    network.eval()
    found = probe(network, tokenizer, find_sites(network))
    config = network.config.get_text_config()
    some = next(network.parameters())
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
        device=str(some.device),
        dtype=str(some.dtype).removeprefix("torch."),
        warnings=found.warnings,
    )


def _place(name: str) -> str:
    """Folder or hub id that transformers understands."""
    name = name.strip()
    if not name:
        raise ModelError('No model was named. Try "demo", a folder, or an id such as org/model.')
    if name == DEMO:
        return str(DEMO_FOLDER)
    if Path(name).expanduser().is_dir():
        return str(Path(name).expanduser())
    if name.startswith((".", "/", "~")) or name.count("/") > 1:
        raise ModelError(f"There is no folder {name}. Check the path, or give a hub id.")
    return name


@contextmanager
def _plain_errors(name: str) -> Iterator[None]:
    """Turns what transformers and the hub raise while fetching `name` into one plain sentence."""
    try:
        yield
    except MoevizError:
        raise
    except Exception as error:  # every library below raises its own kinds
        raise ModelError(_sentence(name, error)) from error


def _sentence(name: str, error: Exception) -> str:
    chain = _chain(error)
    if any(isinstance(e, hub_errors.GatedRepoError) for e in chain):
        return (
            f"{name} is gated: accept its licence on the hub, then set HF_TOKEN in the environment."
        )
    if any(
        isinstance(e, hub_errors.RepositoryNotFoundError | hub_errors.HFValidationError)
        for e in chain
    ):
        return f"The hub has no model {name}. Check the spelling: ids look like org/model."
    if any(isinstance(e, hub_errors.RevisionNotFoundError) for e in chain):
        return f"{name} has no such revision on the hub."
    if any(
        isinstance(
            e,
            hub_errors.LocalEntryNotFoundError | hub_errors.OfflineModeIsEnabled | ConnectionError,
        )
        or "connect" in f"{type(e).__name__} {e}".lower()
        for e in chain
    ):
        return (
            f"{name} is not on this machine and the hub cannot be reached. "
            "Check the network, or use a model you already have, such as demo."
        )
    if isinstance(error, MemoryError | torch.OutOfMemoryError):
        return f"There was not enough memory to load {name}."
    if "trust_remote_code" in str(error):
        return f"{name} ships its own code, which MoEViz runs only when you allow it."
    first = str(error).strip().split("\n")[0] or type(error).__name__
    return f"{name} could not be loaded: {first}"


def _chain(error: BaseException | None) -> list[BaseException]:
    found: list[BaseException] = []
    while error is not None and error not in found:
        found.append(error)
        error = error.__cause__ or error.__context__
    return found


def _skeleton(config, name: str, allow_code: bool) -> nn.Module:
    """The model without weights, from its configuration alone: on the meta device, in a second."""
    chosen = _model_class(config)
    try:
        with torch.device("meta"):
            if isinstance(chosen, type) and hasattr(chosen, "_from_config"):
                return chosen._from_config(config)
            return chosen.from_config(config, trust_remote_code=allow_code)
    except MoevizError:
        raise
    except Exception as error:  # any config of any architecture may fail to build in its own way
        first = str(error).strip().split("\n")[0]
        raise ModelError(f"{name} could not be built from its configuration: {first}") from error


def _model_class(config):
    """The class the checkpoint names, else the one transformers maps its type to."""
    for named in getattr(config, "architectures", None) or []:
        if hasattr(transformers, named):
            return getattr(transformers, named)
    for auto in (
        transformers.AutoModelForCausalLM,
        transformers.AutoModelForSeq2SeqLM,
        transformers.AutoModelForImageTextToText,
        transformers.AutoModel,
    ):
        if type(config) in auto._model_mapping:
            return auto._model_mapping[type(config)]
    return transformers.AutoModelForCausalLM


def _weights_options(config) -> dict:
    """gpt-oss in mxfp4 runs in fused kernels that show no choices: ask for plain weights."""
    quantised = getattr(config, "quantization_config", None) or {}
    method = quantised.get("quant_method") if isinstance(quantised, dict) else None
    if method == "mxfp4":
        return {"quantization_config": transformers.Mxfp4Config(dequantize=True)}
    return {}


def _device(asked: str) -> str:
    if asked != "auto":
        try:
            torch.empty(0, device=asked)
        except (RuntimeError, AssertionError) as error:
            raise ModelError(f'This machine has no device {asked!r}. Try "auto".') from error
        return asked
    if torch.cuda.is_available():
        return "cuda"
    return "mps" if torch.backends.mps.is_available() else "cpu"


def _dtype(asked: str, device: str, config, skeleton: nn.Module) -> torch.dtype:
    known = {"float32": torch.float32, "float16": torch.float16, "bfloat16": torch.bfloat16}
    if asked in known:
        return known[asked]
    if asked != "auto":
        raise ModelError(f"dtype {asked!r} is not one of auto, {', '.join(known)}.")
    if device == "cpu" and _bytes(skeleton, torch.float32) <= SMALL_ENOUGH_FOR_FP32:
        return torch.float32
    stored = getattr(config, "dtype", None) or getattr(config.get_text_config(), "dtype", None)
    return stored if isinstance(stored, torch.dtype) else torch.float32


def _bytes(skeleton: nn.Module, dtype: torch.dtype) -> float:
    return sum(p.numel() for p in skeleton.parameters()) * dtype.itemsize


def _check_memory(name: str, skeleton: nn.Module, dtype: torch.dtype, device: str) -> None:
    need, free = _bytes(skeleton, dtype), free_memory(device)
    if free is not None and need > free:
        raise ModelError(
            f"{name} needs {need / 1e9:.1f} GB for its weights in "
            f"{str(dtype).removeprefix('torch.')}, but {device} has {free / 1e9:.1f} GB free. "
            "Try a smaller dtype or another device."
        )


def free_memory(device: str) -> float | None:
    """Bytes free on `device`; None where the system does not tell."""
    if device.startswith("cuda"):
        return float(torch.cuda.mem_get_info(device)[0])
    meminfo = Path("/proc/meminfo")
    if meminfo.exists():
        facts = dict(line.split(":") for line in meminfo.read_text().splitlines())
        return float(facts["MemAvailable"].split()[0]) * 1024
    if hasattr(os, "sysconf") and "SC_PHYS_PAGES" in os.sysconf_names:
        return float(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"))
    return None


def _commit(config) -> str:
    return str(getattr(config, "_commit_hash", None) or "")
