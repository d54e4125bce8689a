"""What loading a model will take, known from its configuration before any weights are fetched."""

from __future__ import annotations

import json
import os
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import torch
import transformers
from huggingface_hub import constants, get_session
from torch import nn
from torch.nn.modules.module import register_module_module_registration_hook
from transformers import AutoConfig
from transformers.utils import cached_file

from moeviz.models.errors import NO_SAFETENSORS, ModelError, first_line, plain_errors
from moeviz.models.sites import find_sites

DEMO = "demo"
DEMO_FOLDER = Path(__file__).parent.parent / "demo_model"
SMALL_ENOUGH_FOR_FP32 = 4e9
"""Bytes in float32 up to which a CPU runs a model in float32: exact routes, and faster there."""

MOST_MODULES = 500_000
"""Of a model that is built from a configuration; those known have up to 200,000."""

PATIENCE = 5.0
"""Seconds that the hub has to answer at all; then only what is on this machine is looked at."""

SPREAD = "spread"
DTYPES = {"float32": torch.float32, "float16": torch.float16, "bfloat16": torch.bfloat16}


@dataclass(frozen=True, eq=False)
class LoadPlan:
    """How a model will be loaded, and what that needs.

    where: folder or hub id; commit: what its revision resolved to. offline: only the hub's cache is
    looked at. adapter: folder or hub id of a peft adapter on top, "" for none. skeleton: the model
    without weights. parameters: how many it has; bytes: what its weights take in `dtype`. device:
    "spread" is all of them; free: bytes free there, None if unknown. quantised: how the checkpoint
    is compressed, "" if not; then `bytes` is an upper bound.
    """

    name: str
    where: str
    commit: str
    offline: bool
    adapter: str
    config: transformers.PretrainedConfig
    skeleton: nn.Module
    routed_layers: int
    parameters: int
    bytes: float
    dtype: torch.dtype
    device: str
    free: float | None
    quantised: str

    @property
    def fits(self) -> bool:
        """Whether the weights fit in what is free, as far as that is known."""
        if self.free is None or self.quantised or self.device == SPREAD:
            return True
        return self.bytes <= self.free

    def __str__(self) -> str:
        most = "at most " if self.quantised else ""
        free = "" if self.free is None else f"; {size(self.free)} are free"
        return (
            f"{self.name}: {type(self.skeleton).__name__}, {self.parameters / 1e6:,.1f} million "
            f"parameters, {self.routed_layers} routed layers. Its weights need {most}"
            f"{size(self.bytes)} in {short(self.dtype)} on {self.device}{free}."
        )


def plan_load(
    name: str = DEMO,
    device: str = "auto",
    dtype: str = "auto",
    revision: str | None = None,
    allow_code: bool = False,
) -> LoadPlan:
    """What `load_model` with the same arguments will do.

    Reads the configuration only, so it answers in a second or two. Raises ModelError where the
    name leads nowhere, NotRouted for a model that is not an MoE.
    """
    where, adapter = _place(name), ""
    offline = not _is_folder(where) and not _hub_answers()
    options = {
        "revision": revision, "trust_remote_code": allow_code, "local_files_only": offline
    }  # fmt: skip
    with plain_errors(name):
        base = _adapter_base(where, revision, offline)
        if base:
            where, adapter, options["revision"] = base, where, None
        config = AutoConfig.from_pretrained(where, **options)
    skeleton = skeleton_of(config, name, allow_code)
    sites = find_sites(skeleton)
    device = existing_device(device)
    kind = _dtype(dtype, device, config, skeleton)
    parameters = sum(p.numel() for p in skeleton.parameters())
    return LoadPlan(
        name=name,
        where=where,
        commit=_commit(where, options["revision"], offline),
        offline=offline,
        adapter=adapter,
        config=config,
        skeleton=skeleton,
        routed_layers=len(sites),
        parameters=parameters,
        bytes=parameters * kind.itemsize,
        dtype=kind,
        device=device,
        free=free_memory(device),
        quantised=_quantised(config),
    )


def check_memory(plan: LoadPlan) -> None:
    """Raises ModelError when the weights of `plan` do not fit."""
    if not plan.fits:
        raise ModelError(
            f"{plan.name} needs {size(plan.bytes)} for its weights in {short(plan.dtype)}, but "
            f"{plan.device} has {size(plan.free)} free. Try a smaller dtype or another device."
        )


def check_adapter(plan: LoadPlan) -> None:
    """Raises ModelError for an adapter whose weights are no safetensors: peft would unpickle it."""
    if _file(plan.adapter, "adapter_model.safetensors", None, plan.offline) is None:
        raise ModelError(NO_SAFETENSORS.format(name=plan.adapter))


def size(count: float) -> str:
    """Bytes in words: 12 MB, 3.4 GB."""
    return f"{count / 1e9:.1f} GB" if count >= 1e9 else f"{count / 1e6:.1f} MB"


def free_memory(device: str) -> float | None:
    """Bytes free on `device`; None where the system does not tell."""
    if device.startswith("cuda"):
        return float(torch.cuda.mem_get_info(device)[0])
    known = [free for free in (_machine_free(), _container_free(), _process_free())
             if free is not None]  # fmt: skip
    return max(0.0, min(known)) if known else None


def _machine_free() -> float | None:
    meminfo = Path("/proc/meminfo")
    if meminfo.exists():
        facts = dict(line.split(":") for line in meminfo.read_text().splitlines())
        return float(facts["MemAvailable"].split()[0]) * 1024
    if hasattr(os, "sysconf") and "SC_PHYS_PAGES" in os.sysconf_names:
        return float(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"))
    return None


def _container_free(control: Path = Path("/sys/fs/cgroup")) -> float | None:
    """What a container's own limit leaves (cgroup version 2); files that were read do not count."""
    try:
        most = (control / "memory.max").read_text().strip()
        used = int((control / "memory.current").read_text())
        stat = dict(line.split() for line in (control / "memory.stat").read_text().splitlines())
        return None if most == "max" else float(int(most) - used + int(stat["inactive_file"]))
    except (OSError, ValueError, KeyError):
        return None


def _process_free() -> float | None:
    """What is left of the address space that this process may have (`ulimit -v`)."""
    try:
        import resource  # not on Windows
    except ImportError:
        return None
    most, _ = resource.getrlimit(resource.RLIMIT_AS)
    here = Path("/proc/self/statm")
    if most == resource.RLIM_INFINITY or not here.exists():
        return None
    return float(most - int(here.read_text().split()[0]) * resource.getpagesize())


def devices() -> tuple[str, ...]:
    """Devices that a model can be asked to go to on this machine; the CPU is always one."""
    gpus = tuple(f"cuda:{i}" for i in range(torch.cuda.device_count()))
    apple = ("mps",) if torch.backends.mps.is_available() else ()
    return (*gpus, *apple, "cpu", *((SPREAD,) if gpus else ()))


def _place(name: str) -> str:
    """Folder or hub id that transformers understands."""
    name = name.strip()
    if not name:
        raise ModelError('No model was named. Try "demo", a folder, or an id such as org/model.')
    if name == DEMO:
        return str(DEMO_FOLDER)
    if _is_folder(name):
        return str(Path(name).expanduser())
    if name.startswith((".", "/", "~")) or name.count("/") > 1:
        raise ModelError(f"There is no folder {name}. Check the path, or give a hub id.")
    return name


def _is_folder(name: str) -> bool:
    try:
        return Path(name).expanduser().is_dir()
    except (OSError, RuntimeError, ValueError):  # too long for a path; nobody's home
        return False


def _hub_answers() -> bool:
    """Whether the hub can be reached, asked once: its own client tries each file for 20 seconds."""
    if constants.HF_HUB_OFFLINE:
        return False
    try:
        get_session().head(constants.ENDPOINT, timeout=PATIENCE)
    except Exception:  # of whichever client the hub's library uses
        return False
    return True


def _adapter_base(where: str, revision: str | None, offline: bool) -> str:
    """The model that the peft adapter `where` sits on; "" where it is no adapter."""
    if _is_folder(where) and (Path(where) / "config.json").exists():
        return ""
    found = _file(where, "adapter_config.json", revision, offline)
    return json.loads(found.read_text())["base_model_name_or_path"] if found else ""


def _commit(where: str, revision: str | None, offline: bool) -> str:
    """The commit that a hub id resolved to, read from where its files lie; "" for a folder."""
    found = None if _is_folder(where) else _file(where, "config.json", revision, offline)
    parts = found.parts if found else ()
    return next((part for part in parts if re.fullmatch("[0-9a-f]{40}", part)), "")


def _file(where: str, name: str, revision: str | None, offline: bool) -> Path | None:
    found = cached_file(
        where,
        name,
        revision=revision,
        local_files_only=offline,
        _raise_exceptions_for_gated_repo=False,
        _raise_exceptions_for_missing_entries=False,
        _raise_exceptions_for_connection_errors=False,
    )
    return Path(found) if found else None


def skeleton_of(config, name: str, allow_code: bool) -> nn.Module:
    """The model without weights, from its configuration alone: on the meta device, in a second."""
    chosen = _model_class(config)
    try:
        with torch.device("meta"), _bounded(name):
            if hasattr(chosen, "_from_config"):
                return chosen._from_config(config)
            return chosen.from_config(config, trust_remote_code=allow_code)
    except ModelError:
        raise
    except Exception as error:  # any config of any architecture may fail to build in its own way
        raise ModelError(
            f"{name} could not be built from its configuration: {first_line(error)}"
        ) from error


@contextmanager
def _bounded(name: str) -> Iterator[None]:
    """While open, this thread builds at most MOST_MODULES modules; raises ModelError beyond."""
    here, built = threading.get_ident(), 0

    def count(*_) -> None:
        nonlocal built
        built += threading.get_ident() == here
        if built > MOST_MODULES:
            raise ModelError(f"{name} has more than {MOST_MODULES:,} parts, which no model has.")

    handle = register_module_module_registration_hook(count)
    try:
        yield
    finally:
        handle.remove()


def _model_class(config) -> type:
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


def _quantised(config) -> str:
    stored = getattr(config, "quantization_config", None) or {}
    return str(stored.get("quant_method", "") if isinstance(stored, dict) else stored.quant_method)


def existing_device(asked: str) -> str:
    """The device meant by `asked`, such as the best one by "auto"; raises ModelError for none."""
    if asked == SPREAD:
        return SPREAD
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
    if asked in DTYPES:
        return DTYPES[asked]
    if asked != "auto":
        raise ModelError(f"dtype {asked!r} is not one of auto, {', '.join(DTYPES)}.")
    in_fp32 = sum(p.numel() for p in skeleton.parameters()) * torch.float32.itemsize
    if device == "cpu" and in_fp32 <= SMALL_ENOUGH_FOR_FP32:
        return torch.float32
    stored = getattr(config, "dtype", None) or getattr(config.get_text_config(), "dtype", None)
    return stored if isinstance(stored, torch.dtype) else torch.float32


def short(dtype: torch.dtype) -> str:
    """The name of a number format as people write it."""
    return str(dtype).removeprefix("torch.")
