"""What is on this machine is told from files alone: cached mixtures of experts, and no others."""

import json
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest
from huggingface_hub import constants

from moeviz.ui.at_hand import at_hand, cached_models, download_size
from moeviz.ui.shelf import how, named

ROOT = Path(__file__).parent.parent.parent
MOE = {"model_type": "olmoe", "num_experts": 8, "num_experts_per_tok": 2}


def put_in_cache(root: Path, name: str, config: dict, weights: str = "model.safetensors") -> None:
    """A model in the hub's cache as huggingface_hub lays it out: blobs, snapshots, refs."""
    repo = root / f"models--{name.replace('/', '--')}"
    snapshot = repo / "snapshots" / ("a" * 40)
    snapshot.mkdir(parents=True)
    (repo / "blobs").mkdir()
    (repo / "refs").mkdir()
    (repo / "refs" / "main").write_text("a" * 40)
    files = {"config.json": json.dumps(config).encode()}
    if weights:
        files[weights] = b"\0" * 1000
    for number, (file, content) in enumerate(files.items()):
        blob = repo / "blobs" / f"{number}"
        blob.write_bytes(content)
        (snapshot / file).symlink_to(blob)


@pytest.fixture
def cache(tmp_path, monkeypatch):
    root = tmp_path / "hub"
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(root))
    cached_models.clear()
    yield root
    cached_models.clear()


def test_mixtures_of_experts_with_safetensors_are_listed_with_their_size(cache):
    put_in_cache(cache, "org/moe", MOE)
    put_in_cache(cache, "Aorg/nested", {"text_config": {"moe_num_experts": 4}})
    put_in_cache(cache, "org/sharded", MOE, "model-00001-of-00002.safetensors")
    put_in_cache(cache, "org/dense", {"model_type": "llama", "num_experts": 1})
    put_in_cache(cache, "org/flag", {"use_experts": True})
    put_in_cache(cache, "org/pickled", MOE, "pytorch_model.bin")
    put_in_cache(cache, "org/only-config", MOE, "")
    sizes = {model.name: model.bytes for model in cached_models()}
    assert list(sizes) == ["Aorg/nested", "org/moe", "org/sharded"]
    assert sizes["org/moe"] == 1000 + len(json.dumps(MOE))


def test_a_broken_configuration_or_no_cache_is_no_trouble(cache):
    assert cached_models() == ()
    cached_models.clear()
    put_in_cache(cache, "org/moe", MOE)
    blob = cache / "models--org--moe" / "blobs" / "0"
    blob.write_bytes(b"{" * 100_000)
    assert cached_models() == ()


def test_a_model_is_at_hand_when_its_weights_are(cache, folder):
    put_in_cache(cache, "org/moe", MOE)
    put_in_cache(cache, "org/only-config", MOE, "")
    names = ["demo", folder, f"{folder}@bfloat16", "org/moe", "org/moe@float16,cpu"]
    assert [at_hand(name) for name in names] == [True] * 5
    absent = ["org/only-config", "org/other", "/no/such", "a b!", "", "by hand"]
    assert [at_hand(name) for name in absent] == [False] * 6


@pytest.mark.parametrize(
    ("name", "parts"),
    [
        ("org/model", ("org/model", "auto", "auto")),
        ("org/model@bfloat16", ("org/model", "bfloat16", "auto")),
        ("org/model@auto,cuda:1", ("org/model", "auto", "cuda:1")),
        ("/a@b/c@float32,cpu", ("/a@b/c", "float32", "cpu")),
        ("/a@b/c", ("/a@b/c", "auto", "auto")),
        ("org/model@int4", ("org/model@int4", "auto", "auto")),
    ],
)
def test_a_name_can_say_how_to_load(name, parts):
    assert tuple(how(name).values()) == parts
    assert named(*parts) == name


class Hub(BaseHTTPRequestHandler):
    """A hub that knows the file sizes of one model, as the real one answers."""

    def do_GET(self):
        known = self.path.startswith("/api/models/org/model")
        files = [
            {"rfilename": "model-1.safetensors", "size": 3_000_000_000},
            {"rfilename": "model-2.safetensors", "size": 1_500_000_000},
            {"rfilename": "pytorch_model.bin", "size": 9_000_000_000},
        ]
        body = json.dumps({"id": "org/model", "siblings": files}).encode() if known else b""
        self.send_response(200 if known else 404)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


def test_the_size_of_a_download_is_asked_of_the_hub():
    server = HTTPServer(("127.0.0.1", 0), Hub)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    code = (
        "from moeviz.ui.at_hand import download_size as d; import sys;"
        "print(d('org/model'), d('org/model@bfloat16'), d('org/other'), 'torch' in sys.modules)"
    )
    env = {"HF_ENDPOINT": f"http://127.0.0.1:{server.server_port}", "PATH": ""}
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, env=env
    )
    server.shutdown()
    assert done.stdout.strip() == "4500000000 4500000000 None False", done.stderr


def test_without_a_network_the_size_is_not_known():
    assert download_size("org/model") is None
