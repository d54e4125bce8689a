"""How does a step work, and what happens between steps? The training loop."""

from __future__ import annotations

import json
import time
from contextlib import nullcontext
from pathlib import Path

import torch
from torch import Tensor
from tqdm import tqdm

from moeviz.store.whole import write_whole
from moeviz.training import losses
from moeviz.training.batches import Windows
from moeviz.training.checkpoint import Run, checkpoint_to_resume, load_checkpoint, save_checkpoint
from moeviz.training.data import Shards
from moeviz.training.emergence import Recorder
from moeviz.training.model import (
    RouterWatch,
    build_model,
    compile_layers,
    use_training_experts,
    watch_routers,
)
from moeviz.training.optimizer import Optimizer
from moeviz.training.recipe import Recipe

SAVE_SECONDS = 120


def new_run(recipe: Recipe, shards: Shards, device: torch.device) -> Run:
    """A run at step 0 on `device`."""
    model = build_model(recipe.shape, recipe.dense, recipe.seed).to(device).train()
    if not recipe.dense:
        use_training_experts(model)
    routed = 0 if recipe.dense else recipe.shape.layers
    uniform = torch.full((routed, recipe.shape.experts), 1 / recipe.shape.experts, device=device)
    return Run(
        model=model,
        optimizer=Optimizer(model, recipe.rates),
        windows=Windows(shards, recipe.flatness, recipe.seed),
        load=uniform,
    )


def train(
    recipe: Recipe,
    shards: Shards,
    folder: Path,
    device: torch.device,
    slice_minutes: float | None = None,
    recorder: Recorder | None = None,
    compiled: bool = False,
) -> bool:
    """Trains, or goes on training, the run kept in `folder`; True when the run is finished.

    With `slice_minutes` it stops once that time is over and False comes back: call again to go on.
    """
    run = _opened_run(recipe, shards, folder, device)
    watch = watch_routers(run.model)
    if compiled:
        compile_layers(run.model)
    clock = _Clock(run.seconds, slice_minutes)
    with tqdm(total=100, unit="%", bar_format="{l_bar}{bar}| {elapsed}{postfix}") as bar:
        while (progress := recipe.progress(run.tokens, run.seconds)) < 1:
            if recorder:
                recorder.record_if_due(run, watch, progress)
            row = training_step(run, recipe, watch, progress)
            run.seconds = clock.trained
            _report(row | {"seconds": round(run.seconds, 2)}, folder, bar, progress)
            if clock.slice_over:
                break
            if clock.save_due:
                save_checkpoint(run, folder / "checkpoint")
    finished = recipe.progress(run.tokens, run.seconds) >= 1
    if recorder and finished:
        recorder.record_if_due(run, watch, 1.0)
    save_checkpoint(run, folder / "checkpoint")
    return finished


def _opened_run(recipe: Recipe, shards: Shards, folder: Path, device: torch.device) -> Run:
    """The run kept in `folder` as it was last saved, or a new one.

    Rows logged after the last save belong to steps that will be done again: they are dropped.
    """
    run, saved = new_run(recipe, shards, device), checkpoint_to_resume(folder / "checkpoint")
    if saved:
        load_checkpoint(run, saved)
    log = folder / "log.jsonl"
    if log.exists():
        write_whole(log, "".join(log.read_text().splitlines(keepends=True)[: run.step]))
    return run


class _Clock:
    """Seconds trained over all slices, and what is due by time."""

    def __init__(self, trained_before: float, slice_minutes: float | None):
        self.start = self.saved = time.monotonic()
        self.before, self.slice_minutes = trained_before, slice_minutes

    @property
    def trained(self) -> float:
        return self.before + time.monotonic() - self.start

    @property
    def slice_over(self) -> bool:
        limit = self.slice_minutes
        return limit is not None and time.monotonic() - self.start > 60 * limit

    @property
    def save_due(self) -> bool:
        if time.monotonic() - self.saved < SAVE_SECONDS:
            return False
        self.saved = time.monotonic()
        return True


def training_step(run: Run, recipe: Recipe, watch: RouterWatch, progress: float) -> dict:
    """One update of the weights; comes back as the row for the log."""
    length = min(recipe.window(progress), recipe.shape.longest)
    batch = torch.from_numpy(run.windows.draw(recipe.batch_tokens // length, length))
    batch = batch.to(run.load.device)
    loss = prediction_loss(run.model, batch, watch)
    balance, z_loss, worst = routing_losses(watch, run.load, recipe.load_memory)
    (loss + recipe.balance * balance.sum() + recipe.z_loss * z_loss).backward()
    norm = torch.nn.utils.clip_grad_norm_(run.model.parameters(), recipe.clip)
    run.optimizer.step(recipe.rate_scale(progress))
    run.step, run.tokens = run.step + 1, run.tokens + batch[:, 1:].numel()
    return {
        "step": run.step, "tokens": run.tokens, "window": length,
        "loss": round(loss.item(), 4), "gradient": round(norm.item(), 3),
        "balance": _rounded(balance), "max_violation": _rounded(worst),
        "max_violation_recent": _rounded(losses.max_violation(run.load)) if len(run.load) else 0,
    }  # fmt: skip


def prediction_loss(model: torch.nn.Module, batch: Tensor, watch: RouterWatch) -> Tensor:
    """Mean next-token loss in nats of windows [windows, length + 1]; fills the watch."""
    watch.clear()
    with mixed_precision(batch.device):
        hidden = model.model(batch[:, :-1], use_cache=False).last_hidden_state
    head, targets = model.lm_head.weight, batch[:, 1:].reshape(-1)
    return losses.next_token_loss(hidden.flatten(0, 1), head, targets, low_precision(batch.device))


def routing_losses(
    watch: RouterWatch, load: Tensor, memory: float
) -> tuple[Tensor, Tensor, Tensor]:
    """(balance loss [L], z-loss averaged over layers, MaxVio of this batch [L]).

    `load` [L, E] is moved towards this batch and then used as f: balance is asked of the mixture
    of languages over the last 1 / (1 - memory) batches, so one batch may well lean to a few
    experts (Qiu et al. 2025, arXiv:2501.11873, on balancing globally). Layers stay apart.
    """
    if not watch.logits:
        zero = load.new_zeros(())
        return zero, zero, zero
    experts = load.shape[1]
    share = torch.stack([losses.expert_share(chosen, experts) for chosen in watch.chosen])
    load.lerp_(share, 1 - memory)
    balance = torch.stack(
        [
            losses.balance_loss(logits, layer_load.clone())
            for logits, layer_load in zip(watch.logits, load, strict=True)
        ]
    )
    z_loss = torch.stack([losses.router_z_loss(logits) for logits in watch.logits]).mean()
    return balance, z_loss, losses.max_violation(share)


def low_precision(device: torch.device) -> torch.dtype:
    """bfloat16 where matrix units know it (CUDA, CPUs with AMX or AVX512-BF16), else float32."""
    fast = device.type == "cuda" or torch.cpu._is_avx512_bf16_supported()
    return torch.bfloat16 if fast else torch.float32


def mixed_precision(device: torch.device) -> torch.autocast | nullcontext:
    """Autocast to `low_precision`, or nothing where that is float32."""
    dtype = low_precision(device)
    return nullcontext() if dtype == torch.float32 else torch.autocast(device.type, dtype)


def _rounded(values: Tensor) -> list[float] | float:
    rounded = values.detach().double().round(decimals=4)
    return rounded.tolist()


def _report(row: dict, folder: Path, bar: tqdm, progress: float) -> None:
    with open(folder / "log.jsonl", "a") as log:
        log.write(json.dumps(row) + "\n")
    bar.update(round(100 * progress, 1) - bar.n)
    bar.set_postfix_str(f"loss {row['loss']:.3f}, {row['tokens'] / 1e6:.2f} M tokens")
