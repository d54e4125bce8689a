"""The zoo's own rules, and odd models of it by hand."""

import pytest
import tiny
import torch
from torch import nn
from transformers import (
    LlavaConfig,
    LlavaForConditionalGeneration,
    MixtralForSequenceClassification,
    OlmoeConfig,
    Qwen3OmniMoeConfig,
    Qwen3OmniMoeForConditionalGeneration,
)

import moeviz
from moeviz.models import zoo
from moeviz.models.proofs import PASS, prove
from moeviz.models.sites import NotRouted, text_part


def test_a_tiny_model_is_the_same_every_time_and_another_with_another_seed():
    first, again, other = (zoo.tiny_model("olmoe", seed) for seed in (0, 0, 1))
    weights = [network.state_dict()["model.layers.0.mlp.gate.weight"] for network in (first, again)]
    assert torch.equal(*weights)
    assert not torch.equal(weights[0], other.state_dict()["model.layers.0.mlp.gate.weight"])


def test_small_fields_keep_every_kind_of_layer_and_what_is_equal():
    small = zoo._shrunk(
        {
            "num_hidden_layers": 6,
            "layer_types": ["sliding", "sliding", "full", "sliding", "sliding", "full"],
            "mlp_layer_types": ["dense", *["sparse"] * 5],
            "hidden_size": 4096,
            "head_dim": 64,
            "qk_rope_head_dim": 64,
            "num_attention_heads": 32,
            "num_key_value_heads": 8,
            "num_experts": None,
            "n_group": None,
            "image_token_id": 151655,
            "pad_token_id": 0,
            "routed_scaling_factor": 1.0,
            "enable_moe_block": False,
        }
    )
    assert small == {
        "num_hidden_layers": 3,
        "layer_types": ["sliding", "sliding", "full"],
        "mlp_layer_types": ["dense", "sparse", "sparse"],
        "hidden_size": 32,
        "head_dim": 8,
        "qk_rope_head_dim": 8,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "num_experts": 8,
        "n_group": None,
        "image_token_id": zoo.FIRST_MARKER,
        "pad_token_id": 0,
        "routed_scaling_factor": 1.5,
        "enable_moe_block": True,
    }


def test_a_model_that_is_a_shell_is_traced_through_the_part_that_reads_text():
    thinker = zoo.tiny_config("qwen3_omni_moe_thinker").to_dict()
    config = Qwen3OmniMoeConfig(thinker_config=thinker, enable_audio_output=False)
    shell = Qwen3OmniMoeForConditionalGeneration._from_config(config)
    zoo.stir(shell, torch.Generator().manual_seed(0))
    model = moeviz.adopt(shell, tiny.tokenizer())
    assert model.network is shell.thinker
    assert moeviz.trace_text(model, "the router").shape[0] == len(model.sites) == 4


def test_a_shell_without_such_a_part_is_refused():
    with pytest.raises(NotRouted) as caught:
        text_part(nn.Module())
    assert str(caught.value) == "Module has no part that MoEViz could give a text to."


def test_layers_that_differ_in_experts_and_choices_keep_their_own_numbers():
    network = tiny.olmoe()
    few = OlmoeConfig(hidden_size=32, intermediate_size=16, num_experts=4, num_experts_per_tok=1)
    network.model.layers[1].mlp = type(network.model.layers[1].mlp)(few)
    zoo.stir(network, torch.Generator().manual_seed(0))
    model = moeviz.adopt(network, tiny.tokenizer())
    trace = moeviz.trace_text(model, "the router sends each token")
    assert (trace.router.experts, trace.router.chosen) == (8, 2)
    assert trace.router.experts_per_layer == (8, 4, 8)
    assert trace.router.chosen_per_layer == (2, 1, 2)
    assert (trace.experts[1, :, 0] < 4).all()
    assert (trace.experts[1, :, 1] == -1).all()
    assert (trace.logits[1, :, 4:] == -torch.inf).all()
    verdicts = {p.name: p.verdict for p in prove(model)}
    assert {n for n, v in verdicts.items() if v != PASS} <= {"implemented", "told"}


def test_a_text_model_inside_another_is_found_and_proven():
    text, image = zoo.tiny_config("mixtral"), {"hidden_size": 32, "num_attention_heads": 4}
    config = LlavaConfig(text_config=text, vision_config={"num_hidden_layers": 1, **image})
    network = LlavaForConditionalGeneration._from_config(config)
    zoo.stir(network, torch.Generator().manual_seed(0))
    verdicts = {p.name: p.verdict for p in prove(moeviz.adopt(network, tiny.tokenizer()))}
    assert {n for n, v in verdicts.items() if v != PASS} == {"told"}


def test_a_classifier_on_an_moe_body_is_proven_too():
    config = zoo.tiny_config("mixtral")
    config.pad_token_id = 0
    network = MixtralForSequenceClassification._from_config(config)
    zoo.stir(network, torch.Generator().manual_seed(0))
    verdicts = {p.name: p.verdict for p in prove(moeviz.adopt(network, tiny.tokenizer()))}
    assert {n for n, v in verdicts.items() if v != PASS} == {"continued", "told"}


def test_two_kinds_of_experts_in_one_layer_are_told_apart_and_run_in_order():
    model = moeviz.adopt(zoo.tiny_model("jetmoe"), tiny.tokenizer())
    trace = moeviz.trace_text(model, "the router sends")
    assert trace.layers == (0, 0, 1, 1, 2, 2, 3, 3)
    assert trace.router.sites[:2] == ("model.layers.0.self_attention.experts", "model.layers.0.mlp")


def test_skipped_tokens_leave_an_empty_slot():
    network = zoo.tiny_model("zaya")
    for layer in network.model.layers:
        layer.mlp.gate.balancing_biases[-1] = 1.0  # everyone skips
    trace = moeviz.trace_text(moeviz.adopt(network, tiny.tokenizer()), "the router")
    assert (trace.experts == -1).all()
    assert (trace.gates == 0).all()


def test_what_a_capacity_drops_leaves_an_empty_slot():
    model = moeviz.adopt(zoo.tiny_model("switch_transformers"), tiny.tokenizer())
    text = "the router sends each token to two experts " * 3
    trace = moeviz.trace_text(model, text)
    kept = [(trace.experts[0] == expert).sum() for expert in range(8)]
    assert max(kept) == trace.router.capacity == 4
    assert (trace.experts[0] == -1).any()
