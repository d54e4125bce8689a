"""Losses worked out by hand, and the trap of pooling layers."""

import math

import pytest
import torch
from transformers.models.qwen3_moe.modeling_qwen3_moe import load_balancing_loss_func

from moeviz.training import losses


def test_next_token_loss_and_gradients_equal_plain_cross_entropy():
    torch.manual_seed(0)
    hidden, head = torch.randn(1500, 8), torch.randn(40, 8)
    targets = torch.randint(0, 40, (1500,))
    grads = []
    for loss_of in (
        lambda h, w: losses.next_token_loss(h, w, targets, torch.float32),
        lambda h, w: torch.nn.functional.cross_entropy(h @ w.T, targets),
    ):
        h, w = hidden.clone().requires_grad_(), head.clone().requires_grad_()
        loss = loss_of(h, w)
        (3 * loss).backward()
        grads.append((loss.detach(), h.grad, w.grad))
    for ours, plain in zip(*grads, strict=True):
        torch.testing.assert_close(ours, plain)


def test_balance_loss_by_hand():
    # Two tokens, two experts: probabilities (0.8, 0.2) and (0.6, 0.4), both choose expert 0.
    logits = torch.tensor([[0.8, 0.2], [0.6, 0.4]]).log()
    share = losses.expert_share(torch.tensor([[0], [0]]), experts=2)
    assert share.tolist() == [1.0, 0.0]
    assert losses.balance_loss(logits, share).item() == pytest.approx(2 * (1.0 * 0.7))


def test_balance_loss_at_its_ends():
    uniform = torch.full((4,), 0.25)
    assert losses.balance_loss(torch.zeros(6, 4), uniform).item() == pytest.approx(1)
    collapsed = torch.tensor([[50.0, 0, 0, 0]]).expand(6, 4)
    assert losses.balance_loss(collapsed, torch.tensor([1.0, 0, 0, 0])).item() == pytest.approx(4)


def test_pooling_layers_hides_a_collapse():
    """Two layers, each collapsed on its own expert: per layer the worst, pooled the best value."""
    layers = [torch.tensor([[50.0, 0.0]]).expand(6, 2), torch.tensor([[0.0, 50.0]]).expand(6, 2)]
    for logits in layers:
        share = losses.expert_share(logits.argmax(-1, keepdim=True), experts=2)
        assert losses.balance_loss(logits, share).item() == pytest.approx(2)
    pooled = load_balancing_loss_func(tuple(layers), num_experts=2, top_k=1)
    assert float(pooled) == pytest.approx(1)


def test_router_z_loss_by_hand():
    logits = torch.tensor([[0.0, 0.0], [1.0, 1.0]])
    expected = (math.log(2) ** 2 + (1 + math.log(2)) ** 2) / 2
    assert losses.router_z_loss(logits).item() == pytest.approx(expected)


def test_max_violation_by_hand():
    share = torch.tensor([[0.25, 0.25, 0.25, 0.25], [0.5, 0.5, 0.0, 0.0]])
    assert losses.max_violation(share).tolist() == [0.0, 1.0]
