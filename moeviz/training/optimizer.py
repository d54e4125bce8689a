"""How are the weights moved? Muon for matrices inside the layers, AdamW for the rest.

Written out here rather than taken from torch, so that its whole state is a dictionary of named
tensors that safetensors can keep, and all experts of one shape are orthogonalised in one call.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass

import torch
from torch import Tensor, nn


@dataclass(frozen=True)
class Rates:
    """Peak learning rates and the constants of both rules."""

    muon: float = 1e-2
    adam: float = 5e-3
    momentum: float = 0.95
    beta1: float = 0.9
    beta2: float = 0.95
    weight_decay: float = 0.1
    matrices_by_muon: bool = True


class Optimizer:
    """Muon and AdamW over the parameters of one model; `step(scale)` scales both rates."""

    def __init__(self, model: nn.Module, rates: Rates):
        self.rates = rates
        self.steps = 0
        self.parameters = {n: p for n, p in model.named_parameters() if p.requires_grad}
        self.by_muon = {
            n for n, p in self.parameters.items() if rates.matrices_by_muon and is_matrix(n, p)
        }
        self.state = {f"{n}.first": torch.zeros_like(p) for n, p in self.parameters.items()}
        self.state |= {
            f"{n}.second": torch.zeros_like(p)
            for n, p in self.parameters.items()
            if n not in self.by_muon
        }

    @torch.no_grad()
    def step(self, scale: float) -> None:
        """Moves every parameter that has a gradient and clears the gradients."""
        self.steps += 1
        self._step_muon(scale * self.rates.muon)
        for name, parameter in self.parameters.items():
            if name not in self.by_muon and parameter.grad is not None:
                self._step_adam(name, parameter, scale * self.rates.adam)
        for parameter in self.parameters.values():
            parameter.grad = None

    def _step_adam(self, name: str, parameter: Tensor, rate: float) -> None:
        """AdamW (Loshchilov and Hutter 2019, arXiv:1711.05101), decay on matrices only."""
        first, second = self.state[f"{name}.first"], self.state[f"{name}.second"]
        first.lerp_(parameter.grad, 1 - self.rates.beta1)
        second.mul_(self.rates.beta2).addcmul_(
            parameter.grad, parameter.grad, value=1 - self.rates.beta2
        )
        size = (second / (1 - self.rates.beta2**self.steps)).sqrt_().add_(1e-10)
        if parameter.ndim > 1:
            parameter.mul_(1 - rate * self.rates.weight_decay)
        parameter.addcdiv_(first, size, value=-rate / (1 - self.rates.beta1**self.steps))

    def _step_muon(self, rate: float) -> None:
        """Muon with Nesterov momentum; step size of Liu et al. 2025 (arXiv:2502.16982, eq. 4)."""
        directions = {}
        for name in sorted(self.by_muon):
            parameter, first = self.parameters[name], self.state[f"{name}.first"]
            first.lerp_(parameter.grad, 1 - self.rates.momentum)
            directions[name] = parameter.grad.lerp(first, self.rates.momentum)
        for name, direction in _orthogonalised(directions).items():
            parameter = self.parameters[name]
            length = 0.2 * max(direction.shape[-2:]) ** 0.5
            parameter.mul_(1 - rate * self.rates.weight_decay)
            parameter.add_(direction.view_as(parameter), alpha=-rate * length)


def is_matrix(name: str, parameter: Tensor) -> bool:
    """Is this a weight matrix inside a layer? Routers and embeddings are left to AdamW."""
    return parameter.ndim > 1 and "embed" not in name and not name.endswith("mlp.gate.weight")


def _as_matrices(name: str, update: Tensor) -> Tensor:
    """update as a stack of matrices [M, rows, columns]; gate and up are two matrices, not one."""
    rows, columns = update.shape[-2:]
    return update.reshape(-1, rows // 2 if "gate_up" in name else rows, columns)


def _orthogonalised(updates: dict[str, Tensor]) -> dict[str, Tensor]:
    """Each update with its singular values pressed towards 1, one batch per matrix shape."""
    stacks = {name: _as_matrices(name, update) for name, update in updates.items()}
    by_shape = defaultdict(list)
    for name, stack in stacks.items():
        by_shape[stack.shape[-2:]].append(name)
    done = {}
    for names in by_shape.values():
        together = newton_schulz(torch.cat([stacks[name] for name in names]))
        parts = together.split([len(stacks[name]) for name in names])
        done |= dict(zip(names, parts, strict=True))
    return done


def newton_schulz(matrices: Tensor, steps: int = 5) -> Tensor:
    """Roughly U V^T of each matrix U S V^T in the batch [M, rows, columns].

    The quintic iteration of Jordan et al. 2024 (Muon, kellerjordan.github.io/posts/muon).
    """
    wide = matrices.shape[-2] <= matrices.shape[-1]
    x = (matrices if wide else matrices.mT).bfloat16()
    x = x / (x.norm(dim=(-2, -1), keepdim=True) + 1e-7)
    for _ in range(steps):
        gram = x @ x.mT
        x = 3.4445 * x + (-4.7750 * gram + 2.0315 * gram @ gram) @ x
    return (x if wide else x.mT).to(matrices.dtype)
