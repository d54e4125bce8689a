"""What does listening to a model cost, against the plain forward pass and its own router logits?"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import nn
from transformers import OlmoeConfig, OlmoeForCausalLM

from moeviz.bench.timing import Ratio, ratio, take_turns
from moeviz.models.inputs import model_inputs
from moeviz.models.load import LoadedModel, adopt, load_model
from moeviz.models.tape import run_once

PLAIN, OURS, THEIRS = "plain forward", "capture", "output_router_logits"


def capture_speed(
    tokens: int = 512,
    rounds: int = 61,
    hidden: int = 512,
    layers: int = 8,
    experts: int = 32,
    chosen: int = 4,
    device: str = "cpu",
) -> list[Ratio]:
    """Capture against the plain forward pass and against `output_router_logits=True`.

    One pass over `tokens` tokens of a random OLMoE of this size. "Capture" is all that a trace
    adds to the pass: attaching hooks, listening, reading what was heard, detaching.
    """
    model = adopt(_olmoe(hidden, layers, experts, chosen, tokens).to(device), None)
    took, what = _took(model, f"a random OLMoE, {layers} layers", tokens, rounds)
    return [
        ratio(took, what, PLAIN, limit=1.03),
        ratio(took, what, THEIRS, limit=1.0),
        ratio(took, THEIRS, PLAIN),
        *demo_capture_speed(tokens, rounds),
    ]


def demo_capture_speed(tokens: int = 512, rounds: int = 61) -> list[Ratio]:
    """The same for the demo model, whose passes are so short that every call counts."""
    took, what = _took(load_model("demo", device="cpu"), "the demo model", tokens, rounds)
    return [ratio(took, what, PLAIN, limit=1.05), ratio(took, what, THEIRS)]


def _took(model: LoadedModel, name: str, tokens: int, rounds: int) -> tuple[dict, str]:
    ways = _ways(model, model_inputs(model.network, [i % 1000 for i in range(tokens)]))
    with torch.inference_mode():
        took = take_turns(ways, rounds)
    what = f"{OURS} of {name}, {tokens} tokens"
    took[what] = took.pop(OURS)
    return took, what


def _olmoe(hidden: int, layers: int, experts: int, chosen: int, tokens: int) -> nn.Module:
    torch.manual_seed(0)
    config = OlmoeConfig(
        vocab_size=1000,
        hidden_size=hidden,
        intermediate_size=2 * hidden,
        num_hidden_layers=layers,
        num_attention_heads=8,
        num_key_value_heads=8,
        num_experts=experts,
        num_experts_per_tok=chosen,
        max_position_embeddings=max(tokens, 512),
        bos_token_id=0,
        eos_token_id=0,
    )
    return OlmoeForCausalLM(config).eval()


def _ways(model: LoadedModel, inputs: dict) -> dict[str, Callable[[], object]]:
    network = model.network
    ways = {
        PLAIN: lambda: network(**inputs),
        OURS: lambda: run_once(network, model.sites, inputs, model.spied),
        THEIRS: lambda: network(**inputs, output_router_logits=True),
    }
    return {name: _finished(way, model.device) for name, way in ways.items()}


def _finished(way: Callable[[], object], device: str) -> Callable[[], object]:
    """`way`, waiting on a GPU until all it has queued is done."""
    if not device.startswith("cuda"):
        return way

    def run() -> None:
        way()
        torch.cuda.synchronize()

    return run
