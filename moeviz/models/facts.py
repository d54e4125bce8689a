"""What a model is made of, from its configuration alone: no weights are fetched."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Mapping

from torch import nn
from transformers import CONFIG_MAPPING, PreTrainedConfig

from moeviz.models.errors import ModelError, first_line
from moeviz.models.plan import plan_load, skeleton_of
from moeviz.models.sites import Site, expert_count, find_sites
from moeviz.rules.facts import PARTS, ModelFacts
from moeviz.rules.words import short_count

CHOSEN = re.compile(
    r"(moe_)?top_?k(_experts)?|(num_)?experts_per_tok(en)?|moe_k|num_selected_experts"
)
"""Whole names of the fields that say how many experts a token uses."""

MOST_LAYERS = 1000
COUNTED = re.compile(r"layers?$|blocks$|depth")
"""Whole numbers of a configuration that modules are built for, and their bound."""

MIXERS = re.compile(r"attn|attention|mixer|mamba|ssm|conv|rotary|retention", re.I)
NOT_WRITING = re.compile(r"(^|\.)encoder\.|encoder_attn|EncDecAttention|cross_att|vision|audio")
"""Modules whose keys and values do not grow with the text that is written."""

PAIRS = re.compile(r"\.([kv]_proj|(SelfAttention|self_attn|attention)\.[kv])$")
FUSED = re.compile(r"Wqkv|qkv_proj|query_key_value|kv_proj")
"""Projections to keys and values: apart, or in one with the queries."""

FEED_FORWARD = re.compile(r"mlp|feed_forward|ffn|\bff\b|densereludense", re.I)
SHARED = re.compile(r"shared", re.I)


def model_facts(name: str, revision: str | None = None, allow_code: bool = False) -> ModelFacts:
    """The facts on a hub id, a local folder or "demo"; reads its configuration only.

    Raises ModelError where the name leads nowhere, NotRouted for a model that is no MoE.
    """
    plan = plan_load(name, "cpu", "float32", revision, allow_code)
    return facts_of(plan.skeleton, name, plan.config.model_type)


def config_facts(config: Mapping, name: str = "") -> ModelFacts:
    """The facts on the values of a config.json; code that a model brings is never run.

    Raises ModelError for values that are no configuration of transformers, NotRouted for a model
    that is no MoE.
    """
    kind = config.get("model_type")
    if not isinstance(kind, str) or kind not in CONFIG_MAPPING:
        raise ModelError(
            f"model_type {kind!r} is not known to the installed transformers; "
            'a config.json must name one that is, for example "olmoe".'
        )
    _check_sizes(config)
    values = {key: value for key, value in config.items() if key not in ("model_type", "auto_map")}
    try:
        built = CONFIG_MAPPING[kind](**values)
    except Exception as error:  # each configuration class checks its values in its own way
        raise ModelError(
            f"This is no valid configuration of {kind}: {first_line(error)}"
        ) from error
    name = name or str(config.get("_name_or_path") or kind)
    return facts_of(skeleton_of(built, name, allow_code=False), name, kind)


def _check_sizes(config: Mapping, depth: int = 4) -> None:
    """Raises ModelError for more layers than anybody builds: they would be built one by one."""
    for name, value in config.items():
        if isinstance(value, Mapping) and depth:
            _check_sizes(value, depth - 1)
        elif isinstance(value, int) and value > MOST_LAYERS and COUNTED.search(str(name)):
            raise ModelError(f"{name} is {short_count(value)}, which no model has.")


def config_file_facts(data: bytes, name: str = "") -> ModelFacts:
    """The facts on a config.json, as its bytes; raises ModelError like `config_facts`."""
    try:
        config = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise ModelError(f"This file is not JSON: {first_line(error)}") from error
    if not isinstance(config, dict):
        raise ModelError("A config.json holds one JSON object with the model's settings.")
    return config_facts(config, name)


def facts_of(network: nn.Module, name: str, model_type: str) -> ModelFacts:
    """The facts on a network, with or without weights in it."""
    sites = find_sites(network)
    experts = [expert_count(site) or 1 for site in sites]
    chosen = [chosen_count(site, model_type) for site in sites]
    routed = [_expert_parameters(site) for site in sites]
    parts = _parts(network, sites)
    embedding = network.get_input_embeddings()
    return ModelFacts(
        name=name,
        model_type=model_type,
        parts=parts,
        active_experts=round(
            sum(p * k / e for p, k, e in zip(routed, chosen, experts, strict=True))
        ),
        layers=_layers(network),
        routed_layers=len({(site.stack, site.layer) for site in sites}),
        experts=max(experts),
        chosen=max(chosen),
        even=len(set(zip(experts, chosen, strict=True))) == 1,
        groups=_groups(sites[0]),
        scoring=_scoring(network.config, model_type),
        kv_values=_cached_values(network),
        lookups=_lookups(network, embedding),
    )


def chosen_count(site: Site, model_type: str) -> int:
    """K of a routed layer: what its own modules say, else their configuration, else what a tiny
    model of the type really did; raises ModelError where none of them tells."""
    modules = [module for module in (site.router, site.block, site.experts) if module is not None]
    for holder in [*modules, *(m.config for m in modules if hasattr(m, "config"))]:
        for name, value in vars(holder).items():
            if CHOSEN.fullmatch(name) and isinstance(value, int) and value > 0:
                return value
    return _chosen_by_trial(model_type)


def _chosen_by_trial(model_type: str) -> int:
    from moeviz.models import zoo  # late: only router types that name no K need it
    from moeviz.models.load import adopt

    tried = adopt(zoo.tiny_model(model_type), None, name=model_type)
    return max(router.chosen for router in tried.routers.values())


def _scoring(config: PreTrainedConfig, model_type: str) -> str:
    """How gates follow from logits, as a tiny model with these settings does; "" if none runs."""
    from moeviz.models import zoo  # late: building a model takes time
    from moeviz.models.load import adopt

    try:
        tried = adopt(zoo.tiny_model(model_type, like=config), None, name=model_type)
    except Exception:  # each type that cannot be shrunk fails in its own way
        return ""
    found = {router.scoring for router in tried.routers.values()}
    return found.pop() if len(found) == 1 else "mixed"


def _expert_parameters(site: Site) -> int:
    """Parameters of the routed experts of one layer."""
    return sum(p.numel() for p in _expert_weights(site))


def _expert_weights(site: Site) -> list[nn.Parameter]:
    if site.kind == "sorted":  # the gate sorts; the experts' stacked weights lie beside it
        return [p for p in site.block.parameters() if p.dim() == 3]
    if site.kind == "product-key":
        return [*site.experts.down_embed.parameters(), *site.experts.up_embed.parameters()]
    return list(site.experts.parameters())


def _parts(network: nn.Module, sites: tuple[Site, ...]) -> dict[str, int]:
    routed = {id(p) for site in sites for p in _expert_weights(site)}
    routers = {id(p) for s in sites if s.router is not None for p in s.router.parameters()}
    embeddings = {id(p) for p in network.get_input_embeddings().parameters()}
    head = network.get_output_embeddings() if hasattr(network, "get_output_embeddings") else None
    heads = {id(p) for p in head.parameters()} - embeddings if head is not None else set()
    known = ((routed, "routed experts"), (routers, "router"), (embeddings, "embeddings"),
             (heads, "output head"))  # fmt: skip
    parts: Counter[str] = Counter(dict.fromkeys(PARTS, 0))
    for name, parameter in network.named_parameters():
        part = next((part for ids, part in known if id(parameter) in ids), None)
        parts[part or _part_by_name(name)] += parameter.numel()
    return dict(parts)


def _part_by_name(name: str) -> str:
    if SHARED.search(name) and not name.startswith("shared."):
        return "shared experts"
    if "norm" in name.rpartition(".")[0].rpartition(".")[2]:
        return "other"
    if MIXERS.search(name):
        return "attention"
    return "dense feed-forward" if FEED_FORWARD.search(name) else "other"


def _layers(network: nn.Module) -> int:
    """Layers of all stacks: what lies in the longest list of each."""
    config = network.config.get_text_config()
    count = getattr(config, "num_hidden_layers", None) or 0
    return count + (getattr(config, "num_decoder_layers", None) or 0)


def _groups(site: Site) -> int:
    for holder in (site.router, site.block):
        for name in ("num_group", "n_group", "num_expert_group", "n_groups"):
            value = getattr(holder, name, None)
            if isinstance(value, int) and value > 1:
                return value
    return 0


def _cached_values(network: nn.Module) -> int | None:
    """Values kept for one token: the widths of all key and value projections, or of the latents
    that multi-head latent attention keeps instead.

    Of an encoder-decoder: for one token that it writes. None where neither can be told.
    """
    writing = [(n, m) for n, m in network.named_modules() if not NOT_WRITING.search(n)]
    latents = [m for n, m in writing if n.endswith(".kv_a_proj_with_mqa")]
    if latents:
        return sum(m.out_features for m in latents)
    widths = [m.out_features for n, m in writing if PAIRS.search(n) and hasattr(m, "out_features")]
    widths += [
        _joint_width(module, part)
        for _, module in writing
        for name, part in module.named_children()
        if FUSED.fullmatch(name)
    ]
    return sum(widths) or None


def _joint_width(module: nn.Module, part: nn.Module) -> int:
    """Keys and values that an attention with one projection for both keeps of a token; 0 where it
    keeps less than all of them, which the projection cannot tell."""
    if not (hasattr(module, "num_key_value_heads") and hasattr(module, "head_dim")):
        return 0
    width = 2 * module.num_key_value_heads * module.head_dim
    return width if getattr(part, "out_features", width) >= width else 0


def _lookups(network: nn.Module, embedding: nn.Module) -> int:
    """Parameters of the input embedding, 0 where the output head is the same matrix."""
    head = network.get_output_embeddings() if hasattr(network, "get_output_embeddings") else None
    tied = getattr(network.config.get_text_config(), "tie_word_embeddings", False)
    if tied or (head is not None and head.weight is embedding.weight):
        return 0
    return embedding.weight.numel()
