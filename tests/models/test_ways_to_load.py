"""Devices, progress, adapters, caches: loading as people need it."""

import gc
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import tiny
import torch
from peft import LoraConfig, get_peft_model

import moeviz
from moeviz.models import LoadCancelled, plan_load
from moeviz.models.what_if import ablation_losses
from moeviz.trace import MoevizError

ROOT = Path(__file__).parent.parent.parent
TEXT = "deux experts"


def test_the_plan_says_what_a_load_takes_before_it_begins(folder):
    plan = plan_load(str(folder), device="cpu")
    count = sum(p.numel() for p in tiny.olmoe().parameters())
    assert (plan.parameters, plan.bytes, plan.routed_layers) == (count, 4 * count, 3)
    assert str(plan).startswith(
        f"{folder}: OlmoeForCausalLM, 0.1 million parameters, 3 routed layers. "
        "Its weights need 0.3 MB in float32 on cpu; "
    )
    assert all(p.is_meta for p in plan.skeleton.parameters())


def test_progress_runs_from_nothing_to_all(folder):
    told = []
    moeviz.load_model(str(folder), progress=lambda stage, share: told.append((stage, share)))
    assert {stage for stage, _ in told} == {"Loading weights"}
    shares = [share for _, share in told]
    assert shares == sorted(shares)
    assert (shares[0], shares[-1]) == (0.0, 1.0)


def test_a_load_can_be_cancelled_and_tried_again(folder):
    def stop(stage, share):
        if share > 0.3:
            raise LoadCancelled("enough")

    with pytest.raises(LoadCancelled) as caught:
        moeviz.load_model(str(folder), progress=stop)
    assert str(caught.value) == f"Loading {folder} was cancelled."
    assert moeviz.trace_text(moeviz.load_model(str(folder)), TEXT).shape[0] == 3


def test_a_model_spread_by_accelerate_routes_alike(folder):
    plain = moeviz.trace_text(moeviz.load_model(str(folder)), TEXT)
    spread = moeviz.trace_text(moeviz.load_model(str(folder), device="spread"), TEXT)
    assert (plain.experts == spread.experts).all()
    assert (plain.gates == spread.gates).all()


def test_a_model_partly_on_disk_routes_alike(folder, tmp_path):
    places = {"model.embed_tokens": "cpu", "model.rotary_emb": "cpu", "model.norm": "cpu",
              "lm_head": "cpu", "model.layers.0": "cpu", "model.layers.1": "disk",
              "model.layers.2": "cpu"}  # fmt: skip
    model = moeviz.load_model(
        str(folder), device="spread", device_map=places, offload_folder=str(tmp_path)
    )
    assert model.device == "cpu and disk"
    assert any(p.is_meta for p in model.network.parameters())
    plain = moeviz.trace_text(moeviz.load_model(str(folder)), TEXT)
    assert (moeviz.trace_text(model, TEXT).experts == plain.experts).all()


def test_a_model_that_fits_in_no_memory_works_from_disk_and_leaves_nothing(
    folder, tmp_path, monkeypatch
):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    spread = moeviz.load_model(folder, device="spread", max_memory={"cpu": 150_000})
    assert spread.device == "cpu and disk"
    assert list(tmp_path.iterdir()), "its experts lie on the disk"
    plain = moeviz.load_model(folder)
    mute = moeviz.parse_rule("mute 1:0-3")
    for rule in (None, mute):
        ours, theirs = (moeviz.trace_text(model, TEXT, rule=rule) for model in (spread, plain))
        assert ours.experts.tolist() == theirs.experts.tolist()
        for name in ("gates", "logits", "loss"):
            assert np.array_equal(getattr(ours, name), getattr(theirs, name), equal_nan=True)
    last, other = (list(moeviz.generate(model, TEXT, 4))[-1] for model in (spread, plain))
    assert last.text == other.text
    assert (last.trace.experts == other.trace.experts).all()
    tokens = moeviz.trace_text(plain, TEXT).tokens
    sweeps = ([loss for _, loss in ablation_losses(m, tokens, "1")] for m in (spread, plain))
    for ours, theirs in zip(*sweeps, strict=True):
        assert np.array_equal(ours, theirs, equal_nan=True)
    del spread, last, other  # a step reads its routing from the model when asked
    gc.collect()
    assert not list(tmp_path.iterdir())


def test_a_quantised_model_without_its_package_says_which(folder, tmp_path):
    shutil.copytree(folder, tmp_path, dirs_exist_ok=True)
    config = json.loads((tmp_path / "config.json").read_text())
    config["quantization_config"] = {"quant_method": "bitsandbytes", "load_in_4bit": True}
    (tmp_path / "config.json").write_text(json.dumps(config))
    code = """import sys, moeviz
sys.modules["bitsandbytes"] = None  # as where it is not installed
try: moeviz.load_model(sys.argv[1])
except moeviz.MoevizError as error: print(error)"""
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True, cwd=ROOT
    )
    said = done.stdout.splitlines()
    assert len(said) == 1, done.stderr
    assert said[0].startswith(f"{tmp_path} needs a package that is not installed: ")
    assert "bitsandbytes" in said[0]


@pytest.mark.parametrize("broken", ["model.safetensors", "config.json", "tokenizer.json"])
def test_a_file_of_the_cache_that_was_cut_off_is_one_sentence(folder, tmp_path, broken):
    shutil.copytree(folder, tmp_path, dirs_exist_ok=True)
    file = tmp_path / broken
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])
    with pytest.raises(MoevizError) as caught:
        moeviz.load_model(str(tmp_path))
    said = str(caught.value)
    assert said.startswith(f"A file of {tmp_path} is damaged or was cut off: ")
    assert said.endswith(
        ". Delete it, for a model of the hub with its folder in the cache, and load it again."
    )
    assert "\n" not in said


def test_an_adapter_loads_with_its_base_and_changes_the_routing(folder, tmp_path):
    torch.manual_seed(1)
    base = tiny.olmoe()
    base.config._name_or_path = base.name_or_path = str(folder)
    tuned = get_peft_model(
        base,
        LoraConfig(r=4, target_modules=["q_proj", "v_proj"], init_lora_weights=False),
    )
    tuned.save_pretrained(tmp_path)
    loaded = moeviz.trace_text(moeviz.load_model(str(tmp_path)), TEXT)
    in_memory = moeviz.trace_text(moeviz.adopt(tuned, tiny.tokenizer()), TEXT)
    plain = moeviz.trace_text(moeviz.load_model(str(folder)), TEXT)
    assert loaded.shape == plain.shape
    assert abs(loaded.logits - in_memory.logits).max() < 1e-4
    assert abs(loaded.logits - plain.logits).max() > 1e-3


@pytest.mark.parametrize("why", [{"HF_HUB_OFFLINE": "1"}, {"HF_ENDPOINT": "http://127.0.0.1:9"}])
def test_a_model_in_the_hubs_cache_loads_offline_by_id_and_revision(folder, tmp_path, why):
    commit = "a" * 40
    home = tmp_path / "hub" / "models--org--tiny"
    (home / "refs").mkdir(parents=True)
    (home / "refs" / "main").write_text(commit)
    (home / "snapshots").mkdir()
    (home / "snapshots" / commit).symlink_to(folder)
    code = f"""import moeviz
for revision in (None, {commit!r}, "v9"):
    try: print(moeviz.load_model("org/tiny", revision=revision).revision)
    except moeviz.MoevizError as error: print(error)"""
    environment = {**os.environ, "HF_HOME": str(tmp_path), **why}
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, env=environment
    )
    assert "Retrying" not in done.stderr
    assert done.stdout.splitlines() == [
        commit,
        commit,
        "org/tiny is not on this machine and the hub cannot be reached. Check the network, or "
        "use a model you already have, such as demo.",
    ]


def test_a_compiled_model_is_refused():
    with pytest.raises(MoevizError) as caught:
        moeviz.adopt(torch.compile(tiny.olmoe()), tiny.tokenizer())
    assert str(caught.value) == (
        "A compiled model hides its routing from MoEViz. Give the model before torch.compile."
    )
