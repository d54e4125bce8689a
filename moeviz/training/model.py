"""Which network is trained? Qwen3-MoE as transformers ships it, small, or its dense twin."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn
from torch.nn import functional
from transformers import (
    PreTrainedModel,
    Qwen3Config,
    Qwen3ForCausalLM,
    Qwen3MoeConfig,
    Qwen3MoeForCausalLM,
)
from transformers.integrations.moe import ALL_EXPERTS_FUNCTIONS


@dataclass(frozen=True)
class Size:
    """Shape of the network. `dense` swaps every MoE block for one MLP of the active width."""

    vocab: int
    hidden: int
    layers: int
    heads: int
    key_value_heads: int
    head_dim: int
    experts: int
    chosen: int
    expert_width: int
    longest: int = 2048

    @property
    def active_width(self) -> int:
        """MLP width one token really passes through: chosen experts times their width."""
        return self.chosen * self.expert_width


SIZES = {
    "tiny": Size(300, 32, 2, 2, 1, 16, experts=4, chosen=2, expert_width=16, longest=128),
    "small": Size(8192, 192, 6, 3, 1, 64, experts=16, chosen=2, expert_width=56),
    "base": Size(8192, 320, 8, 5, 1, 64, experts=16, chosen=2, expert_width=120),
}


def build_model(size: Size, dense: bool, seed: int) -> PreTrainedModel:
    """A freshly initialised network in float32, the same for the same seed."""
    torch.manual_seed(seed)
    if dense:
        return Qwen3ForCausalLM(Qwen3Config(**_shared(size), intermediate_size=size.active_width))
    return Qwen3MoeForCausalLM(_moe_config(size))


def _shared(size: Size) -> dict:
    """Config entries both kinds have; id 0 is `<|endoftext|>`, begin and end of every document."""
    return {
        "vocab_size": size.vocab,
        "hidden_size": size.hidden,
        "num_hidden_layers": size.layers,
        "num_attention_heads": size.heads,
        "num_key_value_heads": size.key_value_heads,
        "head_dim": size.head_dim,
        "max_position_embeddings": size.longest,
        "tie_word_embeddings": True,
        "bos_token_id": 0,
        "eos_token_id": 0,
        "pad_token_id": None,
        "attn_implementation": "sdpa",
    }


def _moe_config(size: Size) -> Qwen3MoeConfig:
    return Qwen3MoeConfig(
        **_shared(size),
        intermediate_size=size.active_width,
        moe_intermediate_size=size.expert_width,
        num_experts=size.experts,
        num_experts_per_tok=size.chosen,
        norm_topk_prob=True,
        decoder_sparse_step=1,
        mlp_only_layers=[],
    )


@dataclass
class RouterWatch:
    """Router logits, choices and their gates of the last forward, one entry per MoE layer, in
    layer order.
    """

    logits: list[Tensor] = field(default_factory=list)
    chosen: list[Tensor] = field(default_factory=list)
    gates: list[Tensor] = field(default_factory=list)

    def clear(self) -> None:
        self.logits.clear()
        self.chosen.clear()
        self.gates.clear()


def watch_routers(model: PreTrainedModel) -> RouterWatch:
    """Lets every router report to the watch that comes back, and computes routers in float32.

    Autocast would route in bfloat16, while the app runs the model in float32: near ties would
    then be decided differently in training and in use. A dense model reports nothing.
    """
    watch = RouterWatch()
    for layer in model.model.layers:
        if hasattr(layer.mlp, "gate"):
            layer.mlp.gate.forward = _watched(layer.mlp.gate.forward, watch)
    return watch


def _watched(route: Callable, watch: RouterWatch) -> Callable:
    def forward(hidden: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        with torch.autocast(hidden.device.type, enabled=False):
            logits, gates, chosen = route(hidden.float())
        watch.logits.append(logits)
        watch.chosen.append(chosen)
        watch.gates.append(gates)
        return logits, gates, chosen

    return forward


def use_training_experts(model: PreTrainedModel) -> None:
    """Runs the experts by `training_experts`: same sums, an eighth less time a step on CPU."""
    ALL_EXPERTS_FUNCTIONS.register("training", training_experts)
    model.set_experts_implementation("training")


def training_experts(self: nn.Module, hidden: Tensor, chosen: Tensor, gates: Tensor) -> Tensor:
    """Sum over the chosen experts of gate times output. hidden [N, H]; chosen, gates [N, K].

    The shipped grouped_mm knows no autocast: it would multiply in the float32 of the weights.
    """
    device, slots = hidden.device, chosen.shape[1]
    low = torch.is_autocast_enabled(device.type)
    dtype = torch.get_autocast_dtype(device.type) if low else hidden.dtype
    order = chosen.flatten().argsort(stable=True)
    ends = torch.bincount(chosen.flatten(), minlength=self.num_experts).cumsum(0).int()
    with torch.autocast(device.type, enabled=False):
        rows = hidden.to(dtype).index_select(0, order // slots)
        gate_up = functional.grouped_mm(rows, self.gate_up_proj.to(dtype).mT, offs=ends)
        gate, up = gate_up.chunk(2, -1)
        inner = functional.silu(gate) * up
        out = functional.grouped_mm(inner, self.down_proj.to(dtype).mT, offs=ends)
        out = out * gates.flatten().index_select(0, order)[:, None].to(dtype)
    back = torch.empty_like(order)
    back[order] = torch.arange(len(order), device=device)
    return out.index_select(0, back).view(len(hidden), slots, -1).sum(1).to(hidden.dtype)


def compile_layers(model: PreTrainedModel) -> None:
    """Compiles each layer: a fifth less time a step on CPU, half a minute to start."""
    for layer in model.model.layers:
        layer.compile(dynamic=False)
