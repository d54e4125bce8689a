"""Every way to name a model either loads it or says in one sentence what to do."""

import os
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest
import tiny
from transformers import LlamaConfig, LlamaForCausalLM

import moeviz
from moeviz.models.errors import ModelError
from moeviz.trace import MoevizError

ROOT = Path(__file__).parent.parent.parent


def message(name, **options) -> str:
    with pytest.raises(MoevizError) as caught:
        moeviz.load_model(str(name), **options)
    return str(caught.value)


def test_a_local_folder_loads_and_routes_as_the_model_in_memory(folder):
    loaded = moeviz.load_model(str(folder))
    in_memory = moeviz.adopt(tiny.olmoe(), tiny.tokenizer())
    text = "deux experts"
    first, second = (moeviz.trace_text(model, text) for model in (loaded, in_memory))
    assert (first.experts == second.experts).all()
    assert (first.gates == second.gates).all()
    assert (loaded.device, loaded.dtype, loaded.max_tokens) == ("cpu", "float32", 64)


def test_a_model_in_bfloat16_runs_as_asked(folder):
    loaded = moeviz.load_model(str(folder), dtype="bfloat16")
    assert loaded.dtype == "bfloat16"
    assert loaded.router.scoring == "softmax"


def test_a_dense_model_is_refused_before_its_weights_are_read(tmp_path):
    config = LlamaConfig(
        vocab_size=50, hidden_size=16, intermediate_size=16, num_hidden_layers=1,
        num_attention_heads=2, architectures=["LlamaForCausalLM"],
    )  # fmt: skip
    config.save_pretrained(tmp_path)  # no weights in the folder at all
    assert LlamaForCausalLM.__name__ in message(tmp_path)
    assert message(tmp_path) == (
        "LlamaForCausalLM has no Mixture-of-Experts layers: MoEViz found no router beside "
        "experts in it. Choose an MoE model, for example allenai/OLMoE-1B-7B-0924."
    )


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("", 'No model was named. Try "demo", a folder, or an id such as org/model.'),
        ("./nowhere", "There is no folder ./nowhere. Check the path, or give a hub id."),
        (
            "/no/such/folder",
            "There is no folder /no/such/folder. Check the path, or give a hub id.",
        ),
        ("a b!", "The hub has no model a b!. Check the spelling: ids look like org/model."),
        (
            "org/model",
            "org/model is not on this machine and the hub cannot be reached. Check the network, "
            "or use a model you already have, such as demo.",
        ),
    ],
)
def test_names_that_lead_nowhere(name, sentence):
    assert message(name) == sentence


def test_unknown_device_and_dtype(folder):
    assert message(folder, device="cuda:9") == "This machine has no device 'cuda:9'. Try \"auto\"."
    assert message(folder, dtype="int4") == (
        "dtype 'int4' is not one of auto, float32, float16, bfloat16."
    )


def test_a_folder_without_a_model_is_refused(tmp_path):
    assert message(tmp_path).startswith(f"{tmp_path} could not be loaded: ")


def test_a_model_larger_than_memory_is_refused_before_it_loads(folder, monkeypatch):
    monkeypatch.setattr("moeviz.models.plan.free_memory", lambda device: 1000.0)
    assert message(folder) == (
        f"{folder} needs 0.3 MB for its weights in float32, but cpu has 0.0 MB free. "
        "Try a smaller dtype or another device."
    )


class _NotFound(BaseHTTPRequestHandler):
    """A hub that knows no model, as the real one answers."""

    def do_GET(self):
        self.send_response(401 if self.path.startswith("/gated") else 404)
        code = "GatedRepo" if self.path.startswith("/gated") else "RepoNotFound"
        self.send_header("X-Error-Code", code)
        self.send_header("Content-Length", "0")
        self.end_headers()

    do_HEAD = do_GET

    def log_message(self, *_):
        pass


@pytest.fixture
def hub():
    server = HTTPServer(("127.0.0.1", 0), _NotFound)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()


def said_with(endpoint: str, *names: str) -> list[str]:
    """What loading each name says when the hub is at `endpoint`, in a process of its own."""
    code = f"""import moeviz
for name in {names!r}:
    try: moeviz.load_model(name)
    except moeviz.MoevizError as error: print(error)"""
    environment = {**os.environ, "HF_ENDPOINT": endpoint, "HF_HUB_OFFLINE": "0"}
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, env=environment
    )
    return done.stdout.splitlines()


def test_a_hub_that_has_no_such_model_or_guards_it(hub):
    assert said_with(hub, "org/unknown", "gated/model") == [
        "The hub has no model org/unknown. Check the spelling: ids look like org/model.",
        "gated/model is gated: accept its licence on the hub, then set HF_TOKEN in the "
        "environment.",
    ]


def test_no_network():
    assert said_with("http://127.0.0.1:9", "org/model") == [
        "org/model is not on this machine and the hub cannot be reached. Check the network, or "
        "use a model you already have, such as demo."
    ]


def test_adopting_a_dense_model_is_refused():
    config = LlamaConfig(
        vocab_size=50, hidden_size=16, intermediate_size=16, num_hidden_layers=1,
        num_attention_heads=2,
    )  # fmt: skip
    with pytest.raises(MoevizError, match="has no Mixture-of-Experts layers"):
        moeviz.adopt(LlamaForCausalLM(config), None)


def test_model_errors_are_errors_for_the_screen():
    assert issubclass(ModelError, MoevizError)
