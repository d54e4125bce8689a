"""A text to a server and its routing back: over a real socket, from the demo model."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from served import engine, serving

import moeviz
from moeviz.cli import main
from moeviz.serving.ask import ask_server

HERE = Path(__file__).parent
ROOT = HERE.parent.parent
TEXT = "Les experts 路由器 👍 ok\n\tdef x(): «é» 👩‍👩‍👧 naïve"
KINDS = ["vllm", "vllm-0.21", "sglang"]


@pytest.fixture(scope="module")
def demo():
    return moeviz.load_model("demo")


@pytest.mark.parametrize("kind", KINDS)
def test_the_trace_has_the_choices_of_the_model_behind_the_server(kind, demo):
    own = moeviz.trace_text(demo, TEXT)
    with serving(engine(kind, demo)) as (address, _):
        found = moeviz.ask_server(address, TEXT)
    np.testing.assert_array_equal(found.experts, own.experts)
    for name in ("ids", "spans", "special", "generated"):
        np.testing.assert_array_equal(getattr(found.tokens, name), getattr(own.tokens, name), name)
    assert found.tokens.texts[1:] == own.tokens.texts[1:]
    assert (found.tokens.source, found.layers) == (TEXT, own.layers)
    np.testing.assert_allclose(found.loss, own.loss, atol=1e-4)
    assert found.gates is None and found.logits is None
    assert (found.router.experts, found.router.chosen) == (16, 2)
    assert (found.source.model, found.source.model_type) == ("demo", "qwen3_moe")


@pytest.mark.parametrize("kind", KINDS)
def test_what_the_server_writes_is_marked_and_its_last_token_left_out(kind, demo):
    *_, last = moeviz.generate(demo, "The experts", max_new_tokens=4, temperature=0)
    own = last.trace
    with serving(engine(kind, demo)) as (address, _):
        found = ask_server(f"{address}/v1/", "The experts", max_tokens=5)
    np.testing.assert_array_equal(found.tokens.ids, own.tokens.ids)
    np.testing.assert_array_equal(found.tokens.generated, own.tokens.generated)
    np.testing.assert_array_equal(found.experts, own.experts)
    assert found.tokens.source == own.tokens.source


def test_a_trace_from_a_server_saves_and_opens(demo, tmp_path):
    with serving(engine("vllm", demo)) as (address, _):
        found = ask_server(address, "deux experts")
    assert moeviz.open_trace(found.save(tmp_path / "a.moetrace")).key == found.key


@pytest.mark.parametrize("kind", ["vllm", "sglang"])
def test_a_documented_exchange(kind):
    told = json.loads((HERE / "exchanges" / f"{kind}.json").read_text("utf-8"))
    asked, answered = told["request"], told["response"]
    text = asked.get("prompt") or asked["text"]
    new = asked.get("max_tokens") or asked["sampling_params"]["max_new_tokens"]
    path = "/v1/completions" if kind == "vllm" else "/generate"
    answers = {"/v1/models": told["models"], path: answered}
    with serving(lambda handler, _: answers[handler.path]) as (address, log):
        found = ask_server(address, text, max_tokens=new, config=told["config"])
    assert log.body(path) == asked
    np.testing.assert_array_equal(found.experts, told["experts"])
    assert found.layers == (1, 2, 3)
    count = len(found.tokens)
    assert "".join(found.tokens.texts) == found.tokens.source
    assert found.tokens.generated.sum() == new - 1
    scores = (
        answered["choices"][0]["logprobs"]["token_logprobs"]
        if kind == "vllm"
        else [token[0] for place in ("input", "output")
              for token in answered["meta_info"][f"{place}_token_logprobs"]]
    )  # fmt: skip
    np.testing.assert_allclose(found.loss, [*(-s for s in scores[1:count]), np.nan])
    assert "Layers without a router are left out: 0." in found.source.notes


def test_the_command_line_asks_a_server(demo, tmp_path, capsys):
    out = tmp_path / "a.moetrace"
    with serving(engine("sglang", demo)) as (address, _):
        wish = ["trace", "--endpoint", address, "--kind", "sglang", "--model", "demo"]
        assert main([*wish, "--text", "deux experts", "--out", str(out)]) == 0
        assert main([*wish, "--text", "deux experts", "--new-tokens", "2", "--json"]) == 0
        own = ask_server(address, "deux experts")
        longer = ask_server(address, "deux experts", max_tokens=3)
    printed, line = capsys.readouterr().out.rsplit("\n", 2)[:2]
    assert moeviz.open_trace(out).key == own.key
    assert f"demo: {len(own.tokens)} tokens, 6 routed layers, top-2 of 16 experts" in printed
    assert (json.loads(line)["key"], json.loads(line)["tokens"]) == (longer.key, len(longer.tokens))


def test_asking_needs_neither_torch_nor_the_app(demo):
    with serving(engine("vllm", demo)) as (address, _):
        code = (
            f"import sys; from moeviz.cli import main; "
            f"main(['trace', '--endpoint', {address!r}, '--text', 'deux experts', '--json']); "
            "print([m for m in ('torch', 'transformers', 'streamlit') if m in sys.modules])"
        )
        done = subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=True
        )
    facts, loaded = done.stdout.strip().split("\n")
    assert (json.loads(facts)["model"], loaded) == ("demo", "[]")
