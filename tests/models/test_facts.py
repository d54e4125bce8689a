"""What a model is made of, against published figures and against what models really do."""

import json

import pytest
import torch
from transformers import LlamaConfig

from moeviz.charts.facts import published_sentence, router_sentence
from moeviz.corpora.models import known_facts, known_models
from moeviz.models import adopt
from moeviz.models.errors import ModelError
from moeviz.models.facts import chosen_count, config_facts, config_file_facts, facts_of, model_facts
from moeviz.models.sites import NotRouted
from moeviz.models.zoo import tiny_model
from moeviz.rules.facts import from_json

PUBLISHED = {
    # name: (total, active, the active count leaves the input embedding out)
    "Mixtral 8x7B": (46.7, 12.9, False),
    "Mixtral 8x22B": (141, 39, False),
    "OLMoE-1B-7B": (6.92, 1.28, False),
    "Qwen1.5-MoE-A2.7B": (14.3, 2.7, False),
    "Qwen3-30B-A3B": (30.5, 3.3, False),
    "Qwen3-235B-A22B": (235, 22, False),
    "DeepSeek-V2": (236, 21, True),
    "DeepSeek-V3": (671, 37, True),
    "gpt-oss-20b": (20.9, 3.6, True),
    "gpt-oss-120b": (116.8, 5.1, True),
    "Phi-3.5-MoE": (41.9, 6.6, False),
    "Jamba v0.1": (52, 12, False),
}
"""Billions, as their authors publish them; sources in known_models.json."""


def as_published(count: float, published: float) -> bool:
    """Within 1 %, or the same once rounded or cut to the digits that were published."""
    digits = len(str(published).partition(".")[2])
    cut = int(count * 10**digits) / 10**digits
    return abs(count / published - 1) <= 0.01 or published in (round(count, digits), cut)


@pytest.fixture(scope="module")
def counted():
    """The facts of every known model, from its configuration."""
    return {model.name: config_facts(model.config, model.name) for model in known_models()}


@pytest.mark.parametrize("name", PUBLISHED)
def test_counts_are_those_published(counted, name):
    total, active, without_lookup = PUBLISHED[name]
    facts = counted[name]
    used = facts.active_without_lookup if without_lookup else facts.active
    assert as_published(facts.total / 1e9, total)
    assert as_published(used / 1e9, active)


def test_the_facts_that_ship_are_those_counted(counted):
    assert {name: from_json(values) for name, values in known_facts().items()} == counted


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("DBRX", 40 * 2 * 8 * 128),  # one projection for queries, keys and values
        ("Switch-Base-8", 12 * 2 * 768),  # of the decoder's own attention, not the encoder's
        ("DeepSeek-V3", 61 * (512 + 64)),  # latents
        ("Mixtral 8x7B", 32 * 2 * 8 * 128),
    ],
)
def test_keys_and_values_by_hand(counted, name, values):
    assert counted[name].kv_values == values


@pytest.mark.parametrize("model_type", ["jetmoe", "mixtral", "qwen3_moe", "dbrx"])
def test_keys_and_values_are_those_that_a_cache_really_keeps(model_type):
    network = tiny_model(model_type).eval()
    with torch.inference_mode():
        cache = network(input_ids=torch.tensor([[1, 2, 3, 4, 5]]), use_cache=True).past_key_values
    kept = sum(layer.keys.numel() + layer.values.numel() for layer in cache.layers)
    assert facts_of(network, model_type, model_type).kv_values == kept // 5


def test_the_demo_models_parts_by_hand():
    """6 layers of width 192; 16 experts of three 192 x 56 matrices; 8,192 words, tied."""
    facts = model_facts("demo")
    assert facts.parts["embeddings"] == 8192 * 192
    assert facts.parts["output head"] == 0
    assert facts.parts["routed experts"] == 6 * 16 * 3 * 192 * 56
    assert facts.parts["router"] == 6 * 16 * 192
    assert facts.parts["attention"] == 6 * 2 * 192 * (192 + 64)
    assert facts.active_experts == 6 * 2 * 3 * 192 * 56
    assert facts.kv_values == 6 * 2 * 64
    assert facts.lookups == 0, "the output reads the same matrix whole"


@pytest.mark.parametrize(
    "model_type",
    ["olmoe", "gemma4", "jetmoe", "llama4", "doge", "nllb-moe", "switch_transformers", "dbrx"],
)
def test_the_number_chosen_is_what_the_model_does(model_type):
    """One type for each way that K is found, and each form of router."""
    model = adopt(tiny_model(model_type), None, name=model_type)
    does = {router.chosen for router in model.routers.values()}
    assert {chosen_count(site, model_type) for site in model.sites} == does


@pytest.mark.parametrize("model_type", ["olmoe", "jetmoe", "doge", "granitemoeshared"])
def test_every_parameter_is_counted_once(model_type):
    network = tiny_model(model_type)
    facts = facts_of(network, model_type, model_type)
    assert facts.total == sum(p.numel() for p in network.parameters())
    assert 0 < facts.active_experts < facts.parts["routed experts"]
    assert (facts.parts["shared experts"] > 0) == (model_type == "granitemoeshared")


@pytest.mark.parametrize(
    ("name", "scoring"),
    [
        ("Switch-Base-8", "softmax"),  # arXiv:2101.03961, equation 1
        ("Mixtral 8x7B", "softmax"),  # arXiv:2401.04088, section 2.1
        ("DeepSeek-V2", "softmax"),  # arXiv:2405.04434, equation 22
        ("DeepSeek-V3", "sigmoid"),  # arXiv:2412.19437, equation 15
        ("GLM-4.5-Air", "sigmoid"),  # arXiv:2508.06471, section 2.1
        ("Llama 4 Scout (text part)", "sigmoid"),
        ("Phi-3.5-MoE", "other"),  # SparseMixer, arXiv:2310.00811
    ],
)
def test_scoring_is_that_of_the_papers(counted, name, scoring):
    assert counted[name].scoring == scoring


def test_what_cannot_be_tried_has_no_scoring(monkeypatch):
    def refused(*_, **__):
        raise ValueError("this type cannot be made small")

    monkeypatch.setattr("moeviz.models.zoo.tiny_model", refused)
    facts = model_facts("demo")
    assert facts.scoring == ""
    assert (
        router_sentence(facts) == "How its router turns scores into gates could not be tried here."
    )


def test_a_published_figure_that_is_no_nearer_than_one_percent_is_told(counted):
    """Qwen3-30B-A3B: 3.353 billion counted against 3.3; DeepSeek-V3: 36.6 against 37."""
    for name, active, gap in [("Qwen3-30B-A3B", 3.3e9, "1.6 % above"),
                              ("DeepSeek-V3", 37e9, "1.0 % below")]:  # fmt: skip
        assert f"The nearer one is {gap} the published figure" in published_sentence(
            counted[name], None, active
        )
    assert "nearer" not in published_sentence(counted["Mixtral 8x7B"], 46.7e9, 12.9e9)


def test_groups_are_read(counted):
    assert counted["DeepSeek-V3"].groups == 8
    assert counted["Mixtral 8x7B"].groups == 0


@pytest.mark.parametrize(
    ("data", "sentence"),
    [
        (b"not json", "This file is not JSON: Expecting value: line 1 column 1 (char 0)"),
        (b"[1]", "A config.json holds one JSON object with the model's settings."),
        (
            b'{"model_type": "nonesuch"}',
            "model_type 'nonesuch' is not known to the installed transformers; a config.json must "
            'name one that is, for example "olmoe".',
        ),
    ],
)
def test_a_file_that_is_no_configuration(data, sentence):
    with pytest.raises(ModelError) as error:
        config_file_facts(data)
    assert str(error.value) == sentence


def test_a_value_that_makes_no_sense_is_one_sentence():
    with pytest.raises(ModelError) as error:
        config_facts({"model_type": "olmoe", "num_hidden_layers": "many"})
    assert "olmoe" in str(error.value)
    assert "\n" not in str(error.value)


def test_a_dense_model_is_refused():
    with pytest.raises(NotRouted):
        config_file_facts(json.dumps(LlamaConfig().to_diff_dict()).encode())
