"""A capacity in force drops what the offline rule says, where the two can be compared."""

import numpy as np
import pytest
import tiny
import torch

import moeviz
from moeviz.metrics.overflow import overflow
from moeviz.models.run import trace_tokens
from moeviz.models.zoo import tiny_model
from moeviz.rules.capacity import CapacityRule, RuleError
from moeviz.trace import Tokens

TEXT = "the router sends each token to two experts"
TIGHT = CapacityRule(factor=0.5, convention="vmoe")


@pytest.fixture(scope="module")
def model():
    return moeviz.adopt(tiny.olmoe(), tiny.tokenizer(), "tiny")


def sent(ids) -> list[set[int]]:
    """The experts that each token really went to."""
    return [set(row[row >= 0].tolist()) for row in ids]


@pytest.mark.parametrize("priority", ["position", "slot", "score", "gate", "random"])
@pytest.mark.parametrize("convention", ["vmoe", "gshard", "absolute"])
def test_offline_and_enforced_agree_at_the_first_layer(model, convention, priority):
    rule = CapacityRule(factor=0.5, convention=convention, priority=priority, absolute=3, seed=4)
    plain = moeviz.trace_text(model, TEXT)
    enforced = moeviz.trace_text(model, TEXT, rule=rule)
    offline = overflow(plain, rule).dropped
    assert offline[0].any()
    expected = np.where(offline[0], -1, plain.experts[0])
    assert sent(enforced.experts[0]) == sent(expected)
    np.testing.assert_array_equal(enforced.logits[0], plain.logits[0])


def test_later_layers_route_differently_once_tokens_were_dropped(model):
    plain, enforced = (moeviz.trace_text(model, TEXT, rule=rule) for rule in (None, TIGHT))
    assert (plain.logits[1] != enforced.logits[1]).any()
    assert (plain.loss[:-1] != enforced.loss[:-1]).any()


def test_ample_capacity_is_bitwise_the_plain_run(model):
    plain = moeviz.trace_text(model, TEXT)
    ample = moeviz.trace_text(model, TEXT, rule=CapacityRule(factor=100.0))
    for name in ("experts", "gates", "logits", "loss"):
        np.testing.assert_array_equal(getattr(plain, name), getattr(ample, name))
    assert (plain.source.rule, ample.source.rule) == ("", "capacity switch 100 by position")


def test_a_dropped_assignment_contributes_nothing(model):
    """The first layer's block output, worked out from its parts without the dropped experts."""
    site = model.sites[0]
    seen = {}
    handles = [
        site.block.register_forward_hook(lambda m, a, out: seen.update(out=out, hidden=a[0])),
    ]
    try:
        enforced = moeviz.trace_text(model, TEXT, rule=TIGHT)
    finally:
        handles[0].remove()
    hidden = seen["hidden"].reshape(-1, seen["hidden"].shape[-1])
    expected = torch.zeros_like(hidden)
    with torch.inference_mode():
        for token, slot in np.argwhere(enforced.experts[0] >= 0):
            expert = int(enforced.experts[0, token, slot])
            gate, up = (hidden[token] @ site.experts.gate_up_proj[expert].T).chunk(2)
            out = (torch.nn.functional.silu(gate) * up) @ site.experts.down_proj[expert].T
            expected[token] += out * float(enforced.gates[0, token, slot])
    assert (enforced.experts[0] < 0).any()
    torch.testing.assert_close(seen["out"].reshape(expected.shape), expected, atol=1e-5, rtol=1e-4)


def test_nothing_stays_behind(model):
    before = moeviz.trace_text(model, TEXT).key
    there = sum(len(m._forward_pre_hooks) for m in model.network.modules())
    for _ in range(20):
        moeviz.trace_text(model, TEXT, rule=TIGHT)
    assert sum(len(m._forward_pre_hooks) for m in model.network.modules()) == there
    assert moeviz.trace_text(model, TEXT).key == before


def test_a_group_larger_than_the_text_is_one_sentence(model):
    there = sum(len(m._forward_pre_hooks) for m in model.network.modules())
    with pytest.raises(RuleError) as caught:
        moeviz.trace_text(model, "ab", rule=CapacityRule(group=999))
    assert str(caught.value) == "A group of 999 tokens is larger than the text, which has 3."
    assert sum(len(m._forward_pre_hooks) for m in model.network.modules()) == there


TYPES = ["deepseek_v3", "gpt_oss", "granitemoe", "jetmoe", "llama4", "mixtral", "olmoe",
         "phimoe", "qwen2_moe", "qwen3_moe"]  # fmt: skip


@pytest.mark.parametrize("model_type", TYPES)
def test_architectures_of_every_form_drop_what_the_offline_rule_says(model_type):
    model = moeviz.adopt(tiny_model(model_type), None, model_type)
    ids = np.arange(3, 35)
    tokens = Tokens("", ids, np.full((32, 2), -1), np.zeros(32, bool), np.zeros(32, bool))
    plain, enforced = (trace_tokens(model, tokens, rule) for rule in (None, TIGHT))
    offline = overflow(plain, TIGHT).dropped
    assert offline[0].any()
    assert sent(enforced.experts[0]) == sent(np.where(offline[0], -1, plain.experts[0]))
    ample = trace_tokens(model, tokens, CapacityRule(factor=100.0))
    for name in ("experts", "gates", "logits"):
        np.testing.assert_array_equal(getattr(plain, name), getattr(ample, name))


def test_a_layer_out_of_reach_is_refused():
    model = moeviz.adopt(tiny_model("doge"), None, "doge")
    tokens = Tokens("", [3, 4], np.full((2, 2), -1), [False] * 2, [False] * 2)
    with pytest.raises(RuleError) as caught:
        trace_tokens(model, tokens, TIGHT)
    assert str(caught.value) == (
        "model.layers.0.mlp weighs its experts where nothing outside can reach it, so a capacity "
        "cannot be enforced there."
    )
