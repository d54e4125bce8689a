"""The model that ships: small, complete, balanced, and its experts know their languages."""

import time
from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, Qwen3MoeForCausalLM

import moeviz
from moeviz.training.emergence import MOMENTS, read_emergence, routing_of, saturation
from moeviz.training.model import watch_routers

FOLDER = Path(moeviz.__file__).parent / "demo_model"


@pytest.fixture(scope="module")
def model():
    return AutoModelForCausalLM.from_pretrained(FOLDER, dtype=torch.float32)


@pytest.fixture(scope="module")
def emergence():
    return read_emergence(FOLDER / "emergence.safetensors")


def test_folder_is_small_and_complete():
    sizes = {path.name: path.stat().st_size for path in FOLDER.iterdir()}
    assert sum(sizes.values()) < 12 * 2**20
    assert sizes["emergence.safetensors"] < 2**20
    needed = {"MODEL_CARD.md", "DATA.md", "LICENSES.txt", "attribution-pratham-books.json"}
    assert needed <= set(sizes)


def test_loads_offline_in_seconds():
    begun = time.monotonic()
    model = AutoModelForCausalLM.from_pretrained(FOLDER, dtype=torch.float32)
    AutoTokenizer.from_pretrained(FOLDER)
    assert time.monotonic() - begun < 10  # about one second; ten leave room for a busy machine
    assert type(model) is Qwen3MoeForCausalLM


def test_tokenizer_gives_any_text_back_with_true_spans():
    tokenizer = AutoTokenizer.from_pretrained(FOLDER)
    text = " Grüße, नमस्ते, 你好 👩‍👩‍👧‍👦\n\tdef f(x): return 2025"
    encoding = tokenizer(text, return_offsets_mapping=True)
    assert encoding.input_ids[0] == tokenizer.bos_token_id
    assert tokenizer.decode(encoding.input_ids[1:]) == text
    spans = sorted(set(encoding.offset_mapping[1:]))
    assert "".join(text[start:end] for start, end in spans) == text


def test_no_expert_is_dead(model, emergence):
    experts, _ = routing_of(model, watch_routers(model), emergence[1], torch.device("cpu"))
    for layer in experts:
        share = np.bincount(layer.ravel(), minlength=16) / layer.size
        assert share.min() > 0.1 / 16
        assert share.max() * 16 - 1 < 1.0  # MaxVio; the card gives it on all validation text


def test_shipped_weights_route_as_recorded_at_the_end(model, emergence):
    arrays, passages = emergence
    experts, loss = routing_of(model, watch_routers(model), passages, torch.device("cpu"))
    both = np.stack([experts, arrays["experts"][-1]])
    assert saturation(both)[0].min() > 0.97  # rounding to bfloat16 moves a few near ties
    assert loss == pytest.approx(float(arrays["loss"][-1]), abs=0.01)


def accuracy_left_out(experts, labels):
    """Nearest centroid on expert shares, each passage judged by all the others."""
    shares = np.stack(
        [[np.bincount(e.ravel(), minlength=16) for e in p] for p in experts.swapaxes(0, 1)]
    )
    shares = shares.reshape(len(labels), -1).astype(float)
    names, own = np.unique(labels, return_inverse=True)
    hits = 0
    for i, share in enumerate(shares):
        others = np.arange(len(shares)) != i
        centroids = [shares[others & (own == n)].mean(0) for n in range(len(names))]
        hits += np.square(np.stack(centroids) - share).sum(1).argmin() == own[i]
    return hits / len(shares)


def test_languages_are_told_apart_by_routing_alone(emergence):
    arrays, passages = emergence
    assert len(arrays["seen"]) == len(MOMENTS)
    before, after = (accuracy_left_out(e, passages.languages) for e in arrays["experts"][[0, -1]])
    print(f"before {before:.3f}, after {after:.3f}")
    assert after > 0.75  # chance is 1 in 20
    assert before < after - 0.3
