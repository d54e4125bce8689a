"""What is the model asked to do? Predict the next token, and keep its experts in balance."""

from __future__ import annotations

import torch
from torch import Tensor


class _ChunkedCrossEntropy(torch.autograd.Function):
    """Cross entropy over a large vocabulary that never holds all logits at once.

    The gradient is worked out in the forward pass, chunk by chunk, while the logits are in cache.
    """

    @staticmethod
    def forward(ctx, hidden: Tensor, head: Tensor, targets: Tensor, dtype: torch.dtype, chunk: int):
        weight = head.to(dtype)
        grad_hidden = torch.empty_like(hidden)
        grad_head = torch.zeros_like(head, dtype=torch.float32)
        total = torch.zeros((), dtype=torch.float32, device=hidden.device)
        for first in range(0, len(targets), chunk):
            span = slice(first, first + chunk)
            inputs, wanted = hidden[span].to(dtype), targets[span, None]
            logits = (inputs @ weight.T).float()
            norm = logits.logsumexp(-1, keepdim=True)
            total += (norm - logits.gather(1, wanted)).sum()
            error = logits.sub_(norm).exp_()
            error.scatter_add_(1, wanted, -torch.ones_like(norm))
            error = error.div_(len(targets)).to(dtype)
            grad_hidden[span] = error @ weight
            grad_head += error.T @ inputs
        ctx.save_for_backward(grad_hidden, grad_head.to(head.dtype))
        return total / len(targets)

    @staticmethod
    def backward(ctx, grad):
        grad_hidden, grad_head = ctx.saved_tensors
        return grad_hidden * grad, grad_head * grad, None, None, None


def next_token_loss(hidden: Tensor, head: Tensor, targets: Tensor, dtype: torch.dtype) -> Tensor:
    """Mean next-token loss in nats. hidden [N, H], head [V, H], targets [N]; matmuls in `dtype`."""
    chunk = 8192 if hidden.is_cuda else 1024  # on a CPU small enough to stay in cache
    return _ChunkedCrossEntropy.apply(hidden, head, targets, dtype, chunk)


def expert_share(chosen: Tensor, experts: int) -> Tensor:
    """Share of the N*K choices each expert got. chosen [N, K] ids; returns [E], sums to 1."""
    counts = torch.bincount(chosen.flatten(), minlength=experts)
    return counts.float() / chosen.numel()


def balance_loss(logits: Tensor, share: Tensor) -> Tensor:
    """E * sum_i f_i P_i of ONE layer: 1 when uniform, E when all goes to one expert.

    logits [N, E]; share [E] is f, P the mean probability. Fedus et al. 2021 (arXiv:2101.03961),
    eq. 4-6, with f over all K choices. Never pool the tokens of several layers into one call:
    layers collapsed on different experts then look perfectly balanced.
    """
    mean_probability = logits.float().softmax(-1).mean(0)
    return len(share) * (share * mean_probability).sum()


def router_z_loss(logits: Tensor) -> Tensor:
    """Mean squared log-sum-exp of the logits [N, E] (ST-MoE, arXiv:2202.08906, eq. 5)."""
    return logits.float().logsumexp(-1).square().mean()


def max_violation(share: Tensor) -> Tensor:
    """Busiest expert over the mean, minus one; share [..., E]. 0 is perfect balance.

    Wang et al. 2024 (arXiv:2408.15664), "MaxVio".
    """
    return share.amax(-1) * share.shape[-1] - 1
