"""A tiny random model of every architecture that the installed transformers can route with.

Nothing here decides by name what is a Mixture of Experts: what transformers ships is looked up
when asked, each configuration class is filled with small numbers by what its fields are called,
and `sites.find_sites` says whether the result routes. A new release's new architecture is built,
and tried, without a line of code. `PARTICULARS` holds the few values that no field name tells.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

import torch
import transformers
from torch import Tensor, nn
from transformers import CONFIG_MAPPING, PreTrainedConfig
from transformers.models.auto import configuration_auto, modeling_auto

from moeviz.models.sites import NotRouted, Site, expert_count, find_sites

VOCABULARY = 384
FIRST_MARKER = 320
"""Ids from here on are the markers of a composite model (an image goes here); no text uses them."""

LAYERS = 4
"""Most layers of one stack; fewer where fewer show every kind of layer that the model has."""

Rule = int | Callable[[Any], Any]


def _at_most(limit: int) -> Callable[[int | None], int]:
    return lambda default: limit if default is None else min(default, limit)


def _groups(count: int) -> Callable[[int | None], int | None]:
    """`count` groups of experts where the default has several."""
    return lambda default: count if default and default > 1 else default


RULES: tuple[tuple[str, Rule], ...] = (
    # how many
    (r"vocab_size\w*|unpadded_vocab_size", VOCABULARY),
    (r"(num_)?(decoder_|encoder_|hidden_)?layers|depth|n_layers?", _at_most(LAYERS)),
    (r"(num_|n_|moe_num_)(local_|routed_)?experts", 8),
    (r"num_experts_per_tok(en)?|moe_k|moe_top_?k|top_k_experts", 2),
    (r"(n_|num_|moe_num_)shared_experts", _at_most(1)),
    (r"zero_expert_num", 2),
    (r"n_group|num_expert_group", _groups(4)),
    (r"topk_group", _groups(2)),
    (r"expert_capacity", 4),
    (r"num_sparse_(en|de)coder_layers|first_k_dense_replace|num_dense_layers", _at_most(1)),
    (r"(en|de)coder_sparse_step|expert_layer_period|attn_layer_period", _at_most(2)),
    (r"attn_layer_offset", 0),
    (r"num_mtp_layers|num_nextn_predict_layers|num_kv_shared_layers", 0),
    # how wide
    (r"(projector_|merged_|out_|text_|moe_|input_)?hidden_(sizes?|dim)\w*|d_model", 32),
    (r"(vision_|projector_)?(in|out)put_dim|output_proj_dims|adapter_(in|out)_dim", 32),
    (r"\w*intermediate_size\w*|\w*ffn_dim|\w*ffn_hidden_size|mlp_dim|d_ff|share_expert_dim", 16),
    (r"(q|kv|o)_lora_rank|\w*lowrank|moe_latent_size|gated_norm_rank", 16),
    (r"qk_rope_head_dim|rotary_dim", _at_most(8)),
    (r"qk_head_dim", 24),
    (r"\w*head_dim|d_kv|kv_channels|mamba_d_head", 16),
    (r"(n_|num_|\w*_)?(attention_)?heads|\w*n_heads|\w*_num_heads", 4),
    (r"kv_n_heads", 2),
    (r"o_groups|n_groups", 2),
    (r"ssm_state_size|mamba_d_state|mamba_dt_rank", 8),
    # how far
    (r"sliding_window(_size)?|attention_chunk_size|keep_window_size|window_size", 16),
    (r"\w*chunk_size|block_size", 16),
    (r"index_topk", 64),  # more than a probe's tokens: ties among keys would move routes
    (r"max_position_embeddings|max_seq_len|model_max_length", 512),
)
"""(whole field name, small value or how to get one from the default); the first match counts."""

SWITCHES = r"is_moe|(enable|use)_moe\w*"
"""Flags that turn a dense model into a routed one."""

PARTICULARS: dict[str, dict[str, Any]] = {
    # its attention reads values that its default configuration lacks
    "dbrx": {"attn_config.rope_theta": 1e4, "attn_config.clip_qkv": 8.0},
    # the kind of each layer is left unset
    "deepseek_ocr2": {"text_config.mlp_layer_types": ["dense", "sparse", "sparse", "sparse"]},
    "lfm2_moe": {"layer_types": ["conv", "full_attention", "conv", "full_attention"]},
    "step3p7": {"text_config.sliding_window": 16},
    "qwen3_omni_moe_thinker": {"vision_start_token_id": FIRST_MARKER + 50},
    # without an attention layer among them the model cannot count its cache
    "granitemoehybrid": {"layer_types": ["linear_attention", "full_attention", "linear_attention"]},
    # widths that its own check ties together
    "dots3_note": {"text_config.head_dim": 24, "audio_config.adapter_input_size": 32},
    "nemo_speechlm": {"audio_config.diarization_config.head_config.audio_hidden_size": 32},
    # its experts are pairs of keys: their number is a square
    "doge": {"num_experts": 16},
    # its vision tower multiplies the patch size into widths
    "inkling_mm_model": {"vision_config.patch_size": 8},
    # what of a head is rotated is sized for heads of 128
    "ernie4_5_vl_moe": {"text_config.rope_parameters.mrope_section": [1, 1, 2]},
    "glm4v_moe": {
        "text_config.num_attention_heads": 2,
        "text_config.num_key_value_heads": 2,
        "text_config.rope_parameters.mrope_section": [2, 1, 1],
    },
    "mimo_v2_flash": {
        "rope_parameters.full_attention.partial_rotary_factor": 0.5,
        "rope_parameters.sliding_attention.partial_rotary_factor": 0.5,
    },
    # the sparse attention's sizes are left unset
    "qwen4_exp": {
        "text_config.indexer_n_heads": 2,
        "text_config.indexer_kv_heads": 1,
        "text_config.indexer_head_dim": 16,
        "text_config.indexer_budget": 16,
        "text_config.indexer_compress_ratio": 4,
    },
    # its own check allows one expert per token only
    "zaya": {"num_experts_per_tok": 1},
}
"""By model type: fields whose small value follows from no name, each with its reason."""


def architectures() -> tuple[str, ...]:
    """Model types of the installed transformers whose code speaks of experts, one per family,
    and those whose configuration holds such a model by default.

    Nearly all are Mixtures of Experts; `find_sites` on `tiny_model` tells which.
    """
    families: dict[str, list[str]] = {}
    for model_type in configuration_auto.CONFIG_MAPPING_NAMES:
        family = configuration_auto.model_type_to_module_name(model_type)
        families.setdefault(family, []).append(model_type)
    routed = {f: types for f, types in families.items() if "expert" in _code(f, "modeling").lower()}
    inner = {_main(types) for types in routed.values()}
    hosts = {
        f: types
        for f, types in families.items()
        if f not in routed and inner & set(re.findall(r'"([\w-]+)"', _code(f, "configuration")))
    }
    return tuple(sorted(_main(types) for types in [*routed.values(), *hosts.values()]))


def tiny_model(model_type: str, seed: int = 0, like: PreTrainedConfig | None = None) -> nn.Module:
    """A random float32 model of that type whose routing is spread and visible in its output.

    like: a configuration of the type whose settings it keeps, but for sizes.
    """
    kind = model_class(model_type)
    torch.manual_seed(seed)
    network = kind._from_config(tiny_config(model_type, like), dtype=torch.float32)
    stir(network, torch.Generator().manual_seed(zlib.crc32(model_type.encode()) + seed))
    return network.eval()


def model_class(model_type: str) -> type:
    """The class a checkpoint of this type is loaded with, the one that reads text preferred.

    Raises NotRouted for a type that no such class belongs to (a pose estimator, for example).
    """
    for names in _heads():
        if model_type in names:
            found = names[model_type]
            return getattr(transformers, found if isinstance(found, str) else found[0])
    raise NotRouted(f"transformers has no model of the type {model_type} that reads text.")


def tiny_config(model_type: str, like: PreTrainedConfig | None = None) -> PreTrainedConfig:
    """The type's own configuration, or `like`, with every size small, every kind of layer kept."""
    kind = CONFIG_MAPPING[model_type]
    fields = _shrunk((like or kind()).to_dict())
    particulars = PARTICULARS.get(model_type, {})
    for path, value in particulars.items():
        *parents, name = path.split(".")
        place = fields
        for parent in parents:
            place = place[parent]
        place[name] = value
    fields.pop("model_type", None)
    return kind(**fields)


def _heads() -> Iterator[dict[str, Any]]:
    """What transformers maps to a class, composite models (they hold a whole) first."""
    for kind in ("IMAGE_TEXT_TO_TEXT", "MULTIMODAL_LM", "CAUSAL_LM", "SEQ_TO_SEQ_CAUSAL_LM"):
        yield getattr(modeling_auto, f"MODEL_FOR_{kind}_MAPPING_NAMES", {})
    yield modeling_auto.MODEL_FOR_TOKEN_CLASSIFICATION_MAPPING_NAMES
    yield modeling_auto.MODEL_MAPPING_NAMES


def _main(types: list[str]) -> str:
    """Of one family's types the one that reads text: first by head, then by the shortest name."""

    def rank(model_type: str) -> tuple[int, int]:
        heads = [i for i, names in enumerate(_heads()) if model_type in names]
        return (min(heads, default=99), len(model_type))

    return min(types, key=rank)


@cache
def _code(family: str, part: str) -> str:
    folder = Path(transformers.__file__).parent / "models" / family
    return "".join(f.read_text() for f in sorted(folder.glob(f"{part}_*.py")))


def _shrunk(fields: dict[str, Any]) -> dict[str, Any]:
    """The fields with small values; lists that hold one entry per layer keep the same layers.

    What every configuration has and this one leaves as it is, is left out: some refuse it.
    """
    common = _common()
    fields = {n: v for n, v in fields.items() if n not in common or common[n] != v}
    layers = _layers_kept(fields)
    small = {}
    for name, value in fields.items():
        if isinstance(value, dict) and name.endswith("_config") and name != "per_layer_config":
            value = _shrunk(value)
        elif name == "per_layer_config" and value:
            value = {
                str(new): _shrunk(value[key])
                for new, old in enumerate(layers)
                for key in value
                if int(key) == old
            }
        elif isinstance(value, list) and layers and len(value) == _depth(fields):
            value = _small(name, [value[i] for i in layers])
        elif re.search(r"token_(id|index)$", name) and (value or 0) >= FIRST_MARKER:
            value = FIRST_MARKER + sum("token_" in other for other in small)
        else:
            value = _small(name, value)
        small[name] = value
    small |= {name: len(layers) for name in DEPTHS if layers and name in fields}
    if fields.get("head_dim") and fields["head_dim"] == fields.get("qk_rope_head_dim"):
        small["head_dim"] = small["qk_rope_head_dim"]
    if (fields.get("num_key_value_heads") or 99) < (fields.get("num_attention_heads") or 0):
        small["num_key_value_heads"] = 2
    return small


@cache
def _common() -> dict[str, Any]:
    return PreTrainedConfig().to_dict()


def _small(name: str, value: Any) -> Any:
    if value is False and re.fullmatch(SWITCHES, name):
        return True
    if value == 1.0 and re.search("rout.*scal", name) and isinstance(value, float):
        return 1.5
    if isinstance(value, list) and value and all(type(entry) is int for entry in value):
        return [_small(name, entry) for entry in value]
    needed = value is None and re.search("expert|moe_|^head_dim$", name)
    if not needed and (isinstance(value, bool) or not isinstance(value, int)):
        return value
    for pattern, rule in RULES:
        if re.fullmatch(pattern, name):
            return rule(value) if callable(rule) else rule
    return value


DEPTHS = ("num_hidden_layers", "num_layers", "n_layers")


def _depth(fields: dict[str, Any]) -> int:
    """How many layers the fields speak of; a list of blocks may stand in for the number."""
    stated = next((fields[name] for name in DEPTHS if name in fields), 0)
    return stated or len(fields.get("layers_block_type") or ())


def _layers_kept(fields: dict[str, Any]) -> list[int]:
    """Layers that together show every kind there is: a kind is what the per-layer lists say."""
    depth = _depth(fields)
    lists = [v for v in fields.values() if isinstance(v, list) and len(v) == depth]
    if not depth or not lists:
        return []
    kinds = [tuple(str(values[i]) for values in lists) for i in range(depth)]
    first = sorted({kind: i for i, kind in reversed(list(enumerate(kinds)))}.values())[:LAYERS]
    rest = [i for i in range(depth) if i not in first]
    return sorted([*first, *rest[len(rest) + len(first) - 3 :]]) if len(first) < 3 else first


@torch.no_grad()
def stir(network: nn.Module, dice: torch.Generator) -> None:
    """Draw the weights anew so that each part shows: attention, routers, their biases, experts.

    Fresh weights are too small: every token would be routed alike, and experts change nothing.
    """
    for module in network.modules():
        if isinstance(module, nn.Linear):
            _draw(module.weight, module.in_features**-0.5, dice)
        elif isinstance(module, nn.Embedding):
            _draw(module.weight, 1.0, dice)
    for site in find_sites(network):
        held = site.block if site.kind == "sorted" else site.experts
        for tensor in held.parameters():
            _draw(tensor, 0.3, dice)
        if site.router is not None:
            for tensor in [*site.router.parameters(), *site.router.buffers()]:
                _stir_router(tensor, dice)
        _stir_biases(site, dice)


def _draw(tensor: Tensor, spread: float, dice: torch.Generator) -> None:
    tensor.copy_(torch.randn(tensor.shape, generator=dice) * spread)


def _stir_router(tensor: Tensor, dice: torch.Generator) -> None:
    if tensor.dim() == 2 and tensor.is_floating_point():
        _draw(tensor, tensor.shape[-1] ** -0.5, dice)
    elif tensor.dim() == 1 and tensor.is_floating_point() and not tensor.any():
        _draw(tensor, 0.2, dice)
    elif tensor.dim() == 2:  # a table that assigns experts to token ids
        rows = torch.rand(len(tensor), 8, generator=dice).argsort(-1)
        tensor.copy_(rows[:, : tensor.shape[1]])


def _stir_biases(site: Site, dice: torch.Generator) -> None:
    """A balancing bias may hang on the block instead of the router."""
    held = [*site.block.named_parameters(), *site.block.named_buffers()]
    for name, tensor in held:
        if "bias" in name and tensor.dim() == 1 and tensor.numel() == expert_count(site):
            _draw(tensor, 0.2, dice)
