"""Capture beside its peers, in a process of its own since nnsight changes the one it is in."""

import json
import math
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent.parent
RUN = """
import dataclasses, json
import torch
from moeviz.bench import capture
from moeviz.bench.peer import nnsight_pass, twin
from moeviz.models.inputs import model_inputs
from moeviz.models.load import adopt

model = adopt(capture.random_olmoe(capture.SIZES["tiny"], "cpu"), None)
inputs = model_inputs(model.network, list(range(20)))
copied = twin(model.network)
alike = all(a is b for a, b in zip(copied.parameters(), model.network.parameters()))
apart = not set(copied.modules()) & set(model.network.modules())
with torch.inference_mode():
    saved = nnsight_pass(model, inputs)()
    own = model.network(**inputs, output_router_logits=True).router_logits
same = [torch.equal(theirs[0], logits) for theirs, logits in zip(saved, own, strict=True)]
untouched = not any("forward" in vars(module) for module in model.network.modules())
rows = [dataclasses.asdict(row) for row in capture.capture_speed("tiny")]
print(json.dumps([alike, apart, same, untouched, rows]))
"""


def test_nnsight_saves_the_models_own_logits_and_leaves_the_timed_model_alone():
    done = subprocess.run(
        [sys.executable, "-c", RUN], cwd=ROOT, capture_output=True, text=True, check=True
    )
    alike, apart, same, untouched, rows = json.loads(done.stdout)
    assert alike and apart and untouched
    assert same == [True, True]
    name = "capture of a random OLMoE, 2 layers, 64 tokens"
    assert [(row["what"], row["against"]) for row in rows] == [
        (name, "plain forward"),
        (name, "output_router_logits"),
        (name, "nnsight"),
        ("output_router_logits", "plain forward"),
        ("nnsight", "plain forward"),
    ]
    assert all(0 < row["low"] <= row["ratio"] <= row["high"] < math.inf for row in rows)


def test_a_size_or_device_that_does_not_exist_is_refused(capsys):
    from moeviz.cli import main

    assert main(["bench", "capture", "--size", "huge"]) == 1
    assert main(["bench", "capture", "--device", "abacus"]) == 1
    assert main(["bench", "balance", "--size", "tiny"]) == 1
    assert main(["bench", "balance", "--out", "no/such/folder/speed.md"]) == 1
    assert capsys.readouterr().err.splitlines() == [
        "moeviz: There is no size 'huge'; choose tiny, small, olmoe.",
        "moeviz: This machine has no device 'abacus'. Try \"auto\".",
        "moeviz: --size and --device are for the part capture.",
        "moeviz: There is no folder no/such/folder to write to.",
    ]


def test_without_nnsight_the_rest_is_measured_and_one_line_says_so(monkeypatch, capsys):
    from moeviz.bench import capture

    monkeypatch.setitem(sys.modules, "nnsight", None)  # as Python does where an import must fail
    rows = capture.capture_speed("tiny")
    assert [row.against for row in rows] == [
        "plain forward", "output_router_logits", "plain forward",
    ]  # fmt: skip
    assert capsys.readouterr().err == (
        "moeviz: nnsight is not installed, so nothing is set against it; "
        'try pip install "moeviz[bench]".\n'
    )


def test_the_large_size_is_that_of_olmoe():
    from moeviz.bench.capture import SIZES, random_olmoe

    size = SIZES["olmoe"]
    network = random_olmoe(size, "meta")
    parts = {name: weights.numel() for name, weights in network.named_parameters()}
    unused = sum(parts[name] for name in parts if ".experts." in name) * (1 - size.chosen / 64)
    assert round(sum(parts.values()) / 1e9, 1) == 6.9, "as published, arXiv:2409.02060"
    assert round((sum(parts.values()) - unused) / 1e9, 1) == 1.3
    assert str(network.dtype) == "torch.bfloat16" and size.tokens == 4096
