"""Models that bring their own code keep their experts in a list and route inside the block."""

import pytest
import tiny
import torch
from torch import nn

from moeviz.models import adopt
from moeviz.models.choices import CaptureError
from moeviz.models.proofs import FAIL, NOT_APPLICABLE, PASS, prove
from moeviz.models.tape import run_once

EXPERTS, CHOSEN, WIDTH = 6, 2, 32


class Expert(nn.Sequential):
    def __init__(self):
        super().__init__(nn.Linear(WIDTH, 16), nn.SiLU(), nn.Linear(16, WIDTH))


class RoutesInside(nn.Module):
    """Scores by a linear layer; chooses, weighs and mixes in one function."""

    def __init__(self):
        super().__init__()
        self.gate = nn.Linear(WIDTH, EXPERTS, bias=False)
        self.experts = nn.ModuleList(Expert() for _ in range(EXPERTS))
        nn.init.normal_(self.gate.weight, std=0.5)

    def forward(self, hidden):
        rows = hidden.view(-1, WIDTH)
        shares = self.gate(rows).softmax(-1)
        weights, chosen = shares.topk(CHOSEN, dim=-1)
        return self.mix(rows, chosen, self.weigh(weights)).view(hidden.shape)

    def weigh(self, weights):
        weights /= weights.sum(-1, keepdim=True)
        return weights

    def mix(self, rows, chosen, weights):
        mixed = torch.zeros_like(rows)
        for number, expert in enumerate(self.experts):
            row, slot = (chosen == number).nonzero(as_tuple=True)
            mixed[row] += expert(rows[row]) * weights[row, slot, None]
        return mixed


class Gate(nn.Module):
    """Gives ids and weights, no logits; chooses with a bias and scales what it gives."""

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.randn(EXPERTS, WIDTH) / 2)
        self.bias = nn.Parameter(torch.linspace(-0.3, 0.3, EXPERTS))

    def forward(self, rows):
        scores = (rows @ self.weight.T).sigmoid()
        chosen = (scores + self.bias).topk(CHOSEN, dim=-1).indices
        weights = scores.gather(-1, chosen)
        return chosen, weights / weights.sum(-1, keepdim=True) * 2.5


class GateApart(RoutesInside):
    def __init__(self):
        super().__init__()
        self.gate = Gate()
        self.shared = Expert()

    def forward(self, hidden):
        rows = hidden.view(-1, WIDTH)
        mixed = self.mix(rows, *self.gate(rows))
        return (mixed + self.shared(rows)).view(hidden.shape)


class WeighsUnheard(RoutesInside):
    """Squares its weights in the very last step, where only the sum shows it."""

    def mix(self, rows, chosen, weights):
        mixed = torch.zeros_like(rows)
        for slot in range(CHOSEN):
            for number, expert in enumerate(self.experts):
                row = (chosen[:, slot] == number).nonzero().flatten()
                mixed[row] += expert(rows[row]) * weights[row, slot, None] ** 2
        return mixed


def network(block: type[nn.Module]) -> nn.Module:
    model = tiny.olmoe()
    for layer in model.model.layers:
        layer.mlp = block()
    return model.eval()


@pytest.mark.parametrize("block", [RoutesInside, GateApart])
def test_its_routing_is_overheard_and_proven(block):
    model = adopt(network(block), tiny.tokenizer())
    assert [site.kind for site in model.sites] == ["listed"] * 3
    assert (model.router.experts, model.router.chosen) == (EXPERTS, CHOSEN)
    verdicts = {proof.name: proof.verdict for proof in prove(model)}
    assert FAIL not in verdicts.values()
    assert (verdicts["received"], verdicts["answered"]) == (PASS, PASS)
    assert verdicts["implemented"] == NOT_APPLICABLE


@torch.inference_mode()
def test_ids_gates_and_logits_are_those_of_the_block():
    model = adopt(network(RoutesInside), None)
    heard = {}
    block = model.network.model.layers[0].mlp
    block.register_forward_pre_hook(lambda module, args: heard.update(rows=args[0]))
    _, step = run_once(model.network, model.sites, {"input_ids": torch.arange(9)[None]})
    rows = heard["rows"].reshape(-1, WIDTH)
    logits = rows @ block.gate.weight.T
    best = logits.softmax(-1).topk(CHOSEN, dim=-1)
    torch.testing.assert_close(step[0].logits, logits)
    assert torch.equal(step[0].ids, best.indices)
    torch.testing.assert_close(step[0].gates, best.values / best.values.sum(-1, keepdim=True))


def test_gates_that_do_not_add_up_are_refused():
    with pytest.raises(CaptureError) as caught:
        adopt(network(WeighsUnheard), None)
    assert str(caught.value) == (
        "model.layers.0.mlp calls its experts itself, and the choices and weights that MoEViz "
        "overheard there do not add up to its output. Its routing cannot be shown."
    )
