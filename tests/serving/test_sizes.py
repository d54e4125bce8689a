"""How large a served model is, read from its configuration, against what building it says."""

import json

import pytest

from moeviz.corpora.models import known_facts, known_models
from moeviz.serving.sizes import HOW, LARGEST, find_config, sizes_of
from moeviz.serving.wire import ServerError

KNOWN = [model for model in known_models() if model.config["model_type"] != "switch_transformers"]


@pytest.mark.parametrize("model", KNOWN, ids=lambda model: model.name)
def test_the_sizes_are_those_of_the_built_model(model):
    built = known_facts()[model.name]
    found = sizes_of(model.config, model.name)
    assert (found.layers, found.experts, found.chosen, found.model_type) == (
        built["layers"], built["experts"], built["chosen"], model.config["model_type"]
    )  # fmt: skip
    assert found.routed is None or len(found.routed) == built["routed_layers"]


@pytest.mark.parametrize(
    ("config", "routed"),
    [
        ({"first_k_dense_replace": 2}, (2, 3, 4, 5)),
        ({"first_k_dense_replace": 1, "moe_layer_freq": 2}, (2, 4)),
        ({"decoder_sparse_step": 2, "mlp_only_layers": [3]}, (1, 5)),
        ({"mlp_layer_types": ["dense", "sparse"] * 3}, (1, 3, 5)),
        ({"layers_block_type": ["mamba", "moe", "attention"] * 2}, (1, 4)),
        ({"expert_layer_period": 3, "expert_layer_offset": 1}, (1, 4)),
        ({"decoder_sparse_step": 0}, None),
        ({"mlp_layer_types": ["dense"]}, None),
        ({}, None),
    ],
)
def test_the_routed_layers_that_a_configuration_names(config, routed):
    config |= {"num_hidden_layers": 6, "num_experts": 8, "num_experts_per_tok": 2}
    assert sizes_of({"text_config": config}, "a").routed == routed


@pytest.mark.parametrize(
    ("config", "sentence"),
    [
        (
            {"num_hidden_layers": 6, "num_experts": 1},
            "org/small is not a mixture of experts: its configuration names none.",
        ),
        (
            {"num_hidden_layers": 6, "num_experts": 8, "num_experts_per_tok": True},
            "The configuration of org/small does not say in words we know how many layers it has, "
            f"or how many experts a token takes. {HOW}",
        ),
        (
            {"num_hidden_layers": 10**9, "num_experts": 8, "num_experts_per_tok": 2},
            "The configuration of org/small says top-2 of 8 experts in 1000000000 layers, which no "
            "model has.",
        ),
    ],
)
def test_a_configuration_of_no_use(config, sentence):
    with pytest.raises(ServerError) as error:
        sizes_of(config, "org/small")
    assert str(error.value) == sentence


def test_a_configuration_is_found_in_several_places(tmp_path):
    config = {"num_hidden_layers": 6}
    (tmp_path / "config.json").write_text(json.dumps(config))
    assert find_config(config)[0] == config
    assert find_config(tmp_path)[0] == config
    assert find_config(str(tmp_path / "config.json"))[0] == config
    assert find_config("allenai/OLMoE-1B-7B-0924")[0]["model_type"] == "olmoe"
    assert find_config("nobody/nothing")[0] is None  # the tests are offline
    (tmp_path / "config.json").write_text("[" * LARGEST)
    with pytest.raises(ServerError, match="cannot be read as a configuration"):
        find_config(tmp_path)
