"""How many layers and experts a served model has: servers do not say, its configuration does.

Without torch and transformers: only numbers are read from a config.json, under the names that
model families use for them. moeviz/models/facts.py finds the same by building the model.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from huggingface_hub import hf_hub_download
from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

from moeviz.corpora.models import known_models
from moeviz.serving.wire import ServerError, words
from moeviz.trace import MOST_EXPERTS

EXPERTS = ("num_experts", "n_routed_experts", "num_local_experts", "moe_num_experts")
CHOSEN = ("num_experts_per_tok", "moe_topk", "top_k_experts", "moe_k", "num_experts_per_token",
          "experts_per_token", "moe_top_k")  # fmt: skip
LAYERS = ("num_hidden_layers", "n_layer", "num_layers", "n_layers")
"""Names that configurations use for the same number."""

DEMO = Path(__file__).parent.parent / "demo_model"
"""Folder of the model that comes with the code."""

MOST_LAYERS = 1000
LARGEST = 4_000_000
"""Bytes of a config.json; real ones have a few thousand."""

HOW = (
    "Give it as config: a hub id, a folder, a config.json, or a dict with num_hidden_layers, "
    "num_experts and num_experts_per_tok (--config on the command line; in the app, after # in "
    "the address)."
)


@dataclass(frozen=True)
class Sizes:
    """layers: of the whole model. experts, chosen: of a routed layer.

    routed: places of the routed layers, None where the configuration does not say.
    """

    layers: int
    experts: int
    chosen: int
    routed: tuple[int, ...] | None = None
    model_type: str = ""


def sizes_of(config: Mapping, name: str) -> Sizes:
    """The sizes that a configuration tells; raises ServerError for one of no mixture of experts."""
    for part in _parts(config):
        experts, chosen = _number(part, EXPERTS), _number(part, CHOSEN)
        layers = _number(part, LAYERS) or _number(config, LAYERS)
        if experts > 1 and chosen and layers:
            break
    else:
        if any(_number(part, EXPERTS) > 1 for part in _parts(config)):
            raise ServerError(
                f"The configuration of {name} does not say in words we know how many layers it "
                f"has, or how many experts a token takes. {HOW}"
            )
        raise ServerError(f"{name} is not a mixture of experts: its configuration names none.")
    experts += _number(part, ("zero_expert_num",))  # experts that pass a token on as it is
    if not (chosen <= experts <= MOST_EXPERTS and layers <= MOST_LAYERS):
        raise ServerError(
            f"The configuration of {name} says top-{chosen} of {experts} experts in {layers} "
            "layers, which no model has."
        )
    model_type = config.get("model_type")
    named = words(model_type, 60) if isinstance(model_type, str) else ""
    return Sizes(layers, experts, chosen, _routed(part, layers), named)


def told_of(model: str) -> dict[str, object]:
    """What the configuration of a model tells of a record of its routing: parts of
    moeviz.store.record.Told. Empty where no configuration is found.
    """
    config, name = find_config(DEMO if model == "demo" else model)
    if config is None:
        return {}
    sizes = sizes_of(config, name)
    return {
        "num_experts": sizes.experts,
        "chosen": sizes.chosen,
        "layers": sizes.routed,
        "model_layers": sizes.layers,
    }


def find_config(wanted: str | Path | Mapping) -> tuple[Mapping | None, str]:
    """(the configuration, its name): of a dict, a folder, a config.json or a hub id.

    None where there is none: the hub may not be reachable, or have no such model.
    """
    if isinstance(wanted, Mapping):
        return wanted, "the model"
    path = Path(wanted).expanduser()
    if path.suffix == ".json" or os.path.isfile(path / "config.json"):
        return _read(path if path.suffix == ".json" else path / "config.json"), path.name
    for known in known_models():
        if known.id == str(wanted):
            return known.config, known.name
    return _from_hub(str(wanted)), str(wanted)


def _from_hub(name: str) -> Mapping | None:
    if not re.fullmatch(r"[\w.-]+/[\w.-]+", name):
        return None
    try:
        return _read(Path(hf_hub_download(name, "config.json", etag_timeout=5)))
    except (HfHubHTTPError, HFValidationError, LocalEntryNotFoundError, OSError):
        return None


def _read(path: Path) -> Mapping:
    try:
        with path.open("rb") as file:
            found = json.loads(file.read(LARGEST))
    except (OSError, ValueError, RecursionError) as error:
        raise ServerError(f"{path} cannot be read as a configuration.") from error
    if not isinstance(found, dict):
        raise ServerError(f"{path} is JSON, but not a configuration.")
    return found


def _parts(config: Mapping, depth: int = 3) -> Iterator[Mapping]:
    """The configuration and those inside it, of the language model behind a picture model."""
    yield config
    for value in config.values() if depth else ():
        if isinstance(value, Mapping):
            yield from _parts(value, depth - 1)


def _number(config: Mapping, names: tuple[str, ...]) -> int:
    """The first of `names` that is a whole number; 0 where none is."""
    for name in names:
        value = config.get(name)
        if isinstance(value, int) and not isinstance(value, bool) and value > 0:
            return value
    return 0


def _routed(config: Mapping, layers: int) -> tuple[int, ...] | None:
    """Places of the routed layers where the configuration says so in a way we know."""
    for name, routed in (("mlp_layer_types", ("sparse", "moe")), ("layers_block_type", ("moe",))):
        kinds = config.get(name)
        if isinstance(kinds, list) and len(kinds) == layers:
            return tuple(at for at, kind in enumerate(kinds) if kind in routed) or None
    without = config.get("mlp_only_layers") or []
    for needed, first, step, routed_at in STEPS:
        start, every = config.get(first, 0), config.get(step, 1)
        whole = all(type(value) is int and value >= 0 for value in (start, every))
        if needed in config and whole and every and isinstance(without, list):
            places = (at for at in range(layers) if routed_at(at, start, every))
            return tuple(at for at in places if at not in without) or None
    return None


def _every(at: int, _: int, every: int) -> bool:
    return (at + 1) % every == 0


STEPS: tuple[tuple[str, str, str, Callable[[int, int, int], bool]], ...] = (
    ("first_k_dense_replace", "first_k_dense_replace", "moe_layer_freq",
     lambda at, start, every: at >= start and at % every == 0),
    ("expert_layer_period", "expert_layer_offset", "expert_layer_period",
     lambda at, start, every: at % every == start),
    ("decoder_sparse_step", "", "decoder_sparse_step", _every),
    ("interleave_moe_layer_step", "", "interleave_moe_layer_step", _every),
)  # fmt: skip
"""(a name that must be there, name of the first place, of the step, whether a layer is routed): of
DeepSeek and its kin, Jamba, Qwen and Llama 4, as transformers builds them."""
