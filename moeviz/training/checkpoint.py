"""Where did the run stop? Weights, optimizer and counters on disk, without pickle."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from moeviz.store.whole import whole_folder
from moeviz.training.batches import Windows
from moeviz.training.optimizer import Optimizer


@dataclass
class Run:
    """Everything that changes while training."""

    model: nn.Module
    optimizer: Optimizer
    windows: Windows
    load: Tensor  # [L, E] share of each expert, averaged over recent batches
    step: int = 0
    tokens: int = 0
    seconds: float = 0.0


def save_checkpoint(run: Run, folder: Path) -> None:
    """Writes `folder` in one move: a cut while writing leaves the previous checkpoint whole."""
    counters = {"step": run.step, "tokens": run.tokens, "seconds": run.seconds}
    counters |= {"updates": run.optimizer.steps, "windows": run.windows.state}
    with whole_folder(folder) as fresh:
        save_file(dict(run.model.named_parameters()), fresh / "model.safetensors")
        save_file(run.optimizer.state | {"load": run.load}, fresh / "optimizer.safetensors")
        (fresh / "counters.json").write_text(json.dumps(counters))


def load_checkpoint(run: Run, folder: Path) -> None:
    """Puts the state kept in `folder` into `run`, so that training goes on as if never cut."""
    device = str(run.load.device)
    weights = load_file(folder / "model.safetensors", device=device)
    state = load_file(folder / "optimizer.safetensors", device=device)
    counters = json.loads((folder / "counters.json").read_text())
    with torch.no_grad():
        for name, parameter in run.model.named_parameters():
            parameter.copy_(weights[name])
    run.load.copy_(state.pop("load"))
    for name, tensor in run.optimizer.state.items():
        tensor.copy_(state[name])
    run.optimizer.steps = counters["updates"]
    run.windows.restore(counters["windows"])
    run.step, run.tokens, run.seconds = counters["step"], counters["tokens"], counters["seconds"]


def checkpoint_to_resume(folder: Path) -> Path | None:
    """The newest whole checkpoint of a run: `folder`, or what a cut rename left behind."""
    candidates = (folder, folder.with_name(folder.name + ".old"))
    return next((c for c in candidates if (c / "counters.json").exists()), None)
