"""The network and its optimizer."""

import pytest
import torch

from moeviz.training.model import (
    SIZES,
    build_model,
    training_experts,
    use_training_experts,
    watch_routers,
)
from moeviz.training.optimizer import Optimizer, Rates, newton_schulz


def parameters(model):
    return sum(p.numel() for p in model.parameters())


def test_sizes_keep_their_promise():
    assert parameters(build_model(SIZES["small"], False, 0)) <= 5.6e6
    with torch.device("meta"):
        assert 18e6 <= parameters(build_model(SIZES["base"], False, 0)) <= 20e6


def test_dense_twin_is_as_wide_as_the_chosen_experts():
    size = SIZES["small"]
    mlp = build_model(size, True, 0).model.layers[0].mlp
    assert mlp.down_proj.weight.shape == (size.hidden, size.chosen * size.expert_width)


def test_training_experts_equal_the_shipped_ones():
    experts = build_model(SIZES["tiny"], False, 0).model.layers[0].mlp.experts
    torch.manual_seed(0)
    hidden, gates = torch.randn(10, 32, requires_grad=True), torch.rand(10, 2)
    chosen = torch.stack([torch.randperm(4)[:2] for _ in range(10)])  # expert 3 may stay idle
    experts.config._experts_implementation = "eager"
    results = []
    for run in (experts, lambda *call: training_experts(experts, *call)):
        out = run(hidden, chosen, gates)
        results.append(
            (out, *torch.autograd.grad(out.square().sum(), (hidden, *experts.parameters())))
        )
    for shipped, ours in zip(*results, strict=True):
        torch.testing.assert_close(shipped, ours)


def test_watch_sees_every_layer_once_and_changes_nothing():
    model = build_model(SIZES["tiny"], False, 0)
    ids = torch.arange(12).view(1, 12)
    before = model(ids).logits
    use_training_experts(model)
    watch = watch_routers(model)
    torch.testing.assert_close(model(ids).logits, before)
    assert [tuple(c.shape) for c in watch.chosen] == [(12, 2), (12, 2)]
    assert torch.equal(watch.logits[0].topk(2).indices, watch.chosen[0])


def test_newton_schulz_presses_singular_values_towards_one():
    torch.manual_seed(0)
    for shape in ((3, 16, 48), (3, 48, 16)):
        values = torch.linalg.svdvals(newton_schulz(torch.randn(shape)).float())
        assert values.min() > 0.5 and values.max() < 1.4


def test_muon_takes_matrices_and_leaves_routers_and_embeddings():
    optimizer = Optimizer(build_model(SIZES["tiny"], False, 0), Rates())
    left = {name for name in optimizer.parameters if name not in optimizer.by_muon}
    assert "model.embed_tokens.weight" in left
    assert "model.layers.0.mlp.gate.weight" in left
    assert "model.layers.0.mlp.experts.gate_up_proj" in optimizer.by_muon
    assert "model.layers.0.self_attn.q_proj.weight" in optimizer.by_muon


def test_adam_step_equals_torch():
    torch.manual_seed(0)
    rates = Rates(matrices_by_muon=False)
    ours, theirs = torch.nn.Linear(5, 3), torch.nn.Linear(5, 3)
    theirs.load_state_dict(ours.state_dict())
    optimizer = Optimizer(ours, rates)
    torch_adam = torch.optim.AdamW(
        [
            {"params": [theirs.weight], "weight_decay": rates.weight_decay},
            {"params": [theirs.bias], "weight_decay": 0.0},
        ],
        lr=rates.adam,
        betas=(rates.beta1, rates.beta2),
    )
    for _ in range(3):
        inputs = torch.randn(7, 5)
        for layer in (ours, theirs):
            layer(inputs).square().sum().backward()
        optimizer.step(1.0)
        torch_adam.step()
        torch_adam.zero_grad()
    torch.testing.assert_close(ours.weight, theirs.weight)
    torch.testing.assert_close(ours.bias, theirs.bias)


def test_gate_and_up_are_moved_apart():
    """A huge gradient in one half of gate_up must not shrink the step of the other half."""
    steps = []
    for factor in (1.0, 1000.0):
        model = build_model(SIZES["tiny"], False, 0)
        weight = model.model.layers[0].mlp.experts.gate_up_proj
        before = weight.detach().clone()
        for parameter in model.parameters():
            torch.manual_seed(1)
            parameter.grad = torch.randn_like(parameter)
        weight.grad[:, SIZES["tiny"].expert_width :] *= factor
        Optimizer(model, Rates()).step(1.0)
        steps.append((weight.detach() - before)[:, : SIZES["tiny"].expert_width])
    torch.testing.assert_close(steps[0], steps[1])


@pytest.mark.parametrize("dense", [False, True])
def test_same_seed_same_model(dense):
    one, other = (build_model(SIZES["tiny"], dense, 3) for _ in range(2))
    for a, b in zip(one.parameters(), other.parameters(), strict=True):
        assert torch.equal(a, b)
