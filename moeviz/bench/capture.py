"""What does listening to a model cost, against the plain forward pass, its own router logits and
nnsight?"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import nn
from transformers import AutoModelForCausalLM, OlmoeConfig

from moeviz.bench.peer import NNSIGHT, nnsight_pass
from moeviz.bench.timing import Ratio, ratio, take_turns
from moeviz.models.inputs import model_inputs
from moeviz.models.load import LoadedModel, adopt, load_model
from moeviz.models.plan import existing_device
from moeviz.models.tape import run_once
from moeviz.trace import MoevizError

PLAIN, OURS, THEIRS = "plain forward", "capture", "output_router_logits"


@dataclass(frozen=True)
class Size:
    """A random OLMoE, and how many tokens it reads in a pass, how many times."""

    layers: int
    hidden: int
    inner: int
    heads: int
    experts: int
    chosen: int
    tokens: int
    rounds: int
    vocabulary: int = 1000
    dtype: torch.dtype = torch.float32


SIZES = {
    "tiny": Size(2, 64, 32, 4, experts=8, chosen=2, tokens=64, rounds=5),
    "small": Size(8, 512, 1024, 8, experts=32, chosen=4, tokens=512, rounds=61),
    # allenai/OLMoE-1B-7B-0924, 6.9 billion parameters: 14 GB
    "olmoe": Size(16, 2048, 1024, 16, experts=64, chosen=8, tokens=4096, rounds=31,
                  vocabulary=50304, dtype=torch.bfloat16),
}  # fmt: skip
USUAL = "small"


def capture_speed(size: str = USUAL, device: str = "cpu") -> list[Ratio]:
    """Capture against the plain forward pass, `output_router_logits=True` and nnsight.

    One pass over the tokens, the same weights for all. "Capture" is all that a trace adds to the
    pass: attaching hooks, listening, reading what was heard, detaching; it gives experts, gates and
    logits. nnsight saves what every router hands on. The model is a random OLMoE; at the usual size
    the demo model is timed too, whose passes are so short that every call counts.
    """
    if size not in SIZES:
        raise MoevizError(f"There is no size {size!r}; choose {', '.join(SIZES)}.")
    shape, device = SIZES[size], existing_device(device)
    model = adopt(random_olmoe(shape, device), None)
    rows = _rows(model, _name(shape, device), shape, {PLAIN: 1.03, THEIRS: 1.0, NNSIGHT: 1.0})
    if size != USUAL:
        return rows
    return rows + _rows(load_model("demo", device="cpu"), "the demo model", shape, {PLAIN: 1.05})


def _rows(model: LoadedModel, name: str, shape: Size, limits: dict[str, float]) -> list[Ratio]:
    inputs = model_inputs(model.network, [i % 1000 for i in range(shape.tokens)])
    with torch.inference_mode():
        took = take_turns(_ways(model, inputs), shape.rounds)
    others = [other for other in took if other != OURS]
    what = f"{OURS} of {name}, {shape.tokens:,} tokens"
    took[what] = took.pop(OURS)
    return [
        *(ratio(took, what, other, limit=limits.get(other)) for other in others),
        *(ratio(took, other, PLAIN) for other in others if other != PLAIN),
    ]


def _name(shape: Size, device: str) -> str:
    kind = "" if shape.dtype == torch.float32 else f" in {str(shape.dtype).removeprefix('torch.')}"
    place = f" on {torch.cuda.get_device_name(device)}" if device.startswith("cuda") else ""
    return f"a random OLMoE, {shape.layers} layers{kind}{place}"


def random_olmoe(shape: Size, device: str) -> nn.Module:
    """A model with random weights, made on the device: the large one need not be held twice."""
    torch.manual_seed(0)
    config = OlmoeConfig(
        vocab_size=shape.vocabulary,
        hidden_size=shape.hidden,
        intermediate_size=shape.inner,
        num_hidden_layers=shape.layers,
        num_attention_heads=shape.heads,
        num_key_value_heads=shape.heads,
        num_experts=shape.experts,
        num_experts_per_tok=shape.chosen,
        max_position_embeddings=max(shape.tokens, 512),
        bos_token_id=0,
        eos_token_id=0,
    )
    with torch.device(device):
        return AutoModelForCausalLM.from_config(config, dtype=shape.dtype)


def _ways(model: LoadedModel, inputs: dict) -> dict[str, Callable[[], object]]:
    network = model.network
    ways = {
        PLAIN: lambda: network(**inputs),
        OURS: lambda: run_once(network, model.sites, inputs, model.spied),
        THEIRS: lambda: network(**inputs, output_router_logits=True),
        NNSIGHT: nnsight_pass(model, inputs),
    }
    return {name: _finished(way, model.device) for name, way in ways.items() if way}


def _finished(way: Callable[[], object], device: str) -> Callable[[], object]:
    """`way`, waiting on a GPU until all it has queued is done."""
    if not device.startswith("cuda"):
        return way

    def run() -> None:
        way()
        torch.cuda.synchronize()

    return run
