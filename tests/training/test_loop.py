"""Training lowers the loss, and a cut leaves no trace in the weights."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM, AutoTokenizer

from moeviz.training.emergence import MOMENTS, Passages, Recorder, read_emergence
from moeviz.training.export import export_model
from moeviz.training.loop import new_run, routing_losses, train
from moeviz.training.model import RouterWatch
from moeviz.training.recipe import Recipe, same_recipe

CPU = torch.device("cpu")
RECIPE = Recipe(size="tiny", tokens=24 * 256, batch_tokens=256, short_window=32, long_window=64)


def weights(folder):
    return load_file(folder / "checkpoint" / "model.safetensors")


def log(folder):
    return [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]


@pytest.fixture(scope="module")
def trained(shards, tmp_path_factory):
    """A whole run of the tiny model, with its routing recorded."""
    folder = tmp_path_factory.mktemp("run")
    passages = Passages(np.arange(40, dtype=np.uint16).reshape(2, 20), ("en", "de"), ("a", "b"))
    recorder = Recorder(passages, folder / "emergence.safetensors")
    assert train(RECIPE, shards, folder, CPU, recorder=recorder)
    return folder


def test_a_few_steps_lower_the_loss(trained):
    rows = log(trained)
    assert [row["step"] for row in rows] == list(range(1, 25))
    assert np.mean([row["loss"] for row in rows[-3:]]) < rows[0]["loss"] - 1
    assert {row["window"] for row in rows} == {32, 64}


def test_a_cut_run_ends_with_the_same_weights(shards, trained, tmp_path):
    calls = 1
    while not train(RECIPE, shards, tmp_path, CPU, slice_minutes=0):  # one step a call
        calls += 1
    assert calls == 24
    assert [row["loss"] for row in log(tmp_path)] == [row["loss"] for row in log(trained)]
    for name, weight in weights(trained).items():
        assert torch.equal(weight, weights(tmp_path)[name]), name


def test_balance_is_asked_of_recent_batches_layer_by_layer():
    # One layer, two experts; this batch goes to expert 0 only, recent ones were even.
    watch = RouterWatch([torch.tensor([[0.8, 0.2]]).log()], [torch.tensor([[0]])])
    load = torch.tensor([[0.5, 0.5]])
    balance, _, worst = routing_losses(watch, load, memory=0.9)
    torch.testing.assert_close(load, torch.tensor([[0.55, 0.45]]))
    torch.testing.assert_close(balance, torch.tensor([2 * (0.55 * 0.8 + 0.45 * 0.2)]))
    torch.testing.assert_close(worst, torch.tensor([1.0]))


@pytest.mark.parametrize("term", ["balance", "z_loss"])
def test_router_terms_reach_the_routers(shards, tmp_path, term):
    routers = []
    for weight in (0.0, 1.0):
        folder = tmp_path / str(weight)
        folder.mkdir()
        train(replace(RECIPE, **{term: weight}), shards, folder, CPU, slice_minutes=0)
        routers.append(weights(folder)["model.layers.0.mlp.gate.weight"])
    assert not torch.equal(*routers)


def test_steps_lost_in_a_crash_are_logged_once(shards, tmp_path):
    train(RECIPE, shards, tmp_path, CPU, slice_minutes=0)
    with open(tmp_path / "log.jsonl", "a") as file:
        file.write(json.dumps({"step": 2, "loss": -1}) + "\n")  # crashed before the next save
    train(RECIPE, shards, tmp_path, CPU, slice_minutes=0)
    assert [row["step"] for row in log(tmp_path)] == [1, 2]
    assert log(tmp_path)[1]["loss"] > 0


def test_dense_twin_trains(shards, tmp_path):
    recipe = Recipe(size="tiny", dense=True, tokens=1024, batch_tokens=256, short_window=32)
    assert train(recipe, shards, tmp_path, CPU)
    assert log(tmp_path)[-1]["max_violation"] == 0


def test_routing_is_recorded_at_every_moment(trained):
    arrays, passages = read_emergence(trained / "emergence.safetensors")
    moments = len(arrays["seen"])
    assert moments >= len(MOMENTS) - 3  # the first ones fall into one step of so short a run
    assert arrays["experts"].shape == (moments, 2, 2, 20, 2)
    assert arrays["seen"][0] == 0 and arrays["seen"][-1] == RECIPE.tokens
    assert passages.languages == ("en", "de")


def test_exported_folder_opens_and_predicts_the_same(shards, corpus, trained, tmp_path):
    (tmp_path / "shards").mkdir()
    shards.tokenizer.save(str(tmp_path / "shards" / "tokenizer.json"))
    export_model(trained / "checkpoint", RECIPE, tmp_path / "shards", tmp_path / "model")
    model = AutoModelForCausalLM.from_pretrained(tmp_path / "model", dtype=torch.float32)
    tokenizer = AutoTokenizer.from_pretrained(tmp_path / "model")
    ids = tokenizer("the cat sat", return_tensors="pt").input_ids
    assert ids[0, 0] == 0
    own = new_run(RECIPE, shards, CPU).model
    own.load_state_dict(weights(trained), strict=False)
    torch.testing.assert_close(model(ids).logits, own(ids).logits, atol=0.05, rtol=0.05)
    assert not any("training" in path.read_text() for path in (tmp_path / "model").glob("*.json"))


def test_a_run_needs_exactly_one_length():
    wording = "Give either --minutes or --tokens: one of them says when training ends."
    for lengths in ({}, {"minutes": 1, "tokens": 1}):
        with pytest.raises(ValueError, match=wording):
            Recipe(**lengths)


def test_rate_rises_then_falls_to_zero():
    recipe = Recipe(tokens=100)
    scales = [recipe.rate_scale(p) for p in (0.0, 0.03, 0.5, 1.0)]
    assert scales[0] < 0.05 and scales[1] == 1.0 and scales[3] == 0.0
    assert scales[2] == pytest.approx(0.5 / 0.97)


def test_another_recipe_is_refused(tmp_path):
    kept = tmp_path / "recipe.json"
    same_recipe(Recipe(tokens=100), kept)
    same_recipe(Recipe(tokens=100), kept)
    with pytest.raises(SystemExit, match=r"was begun with another recipe \(tokens, seed differ\)"):
        same_recipe(Recipe(tokens=200, seed=1), kept)
