"""Routing counts of big models as their authors published them, readable without any download.

From github.com/allenai/OLMoE, scripts/routing_output (Apache-2.0), with OLMoE: Open
Mixture-of-Experts Language Models (Muennighoff et al. 2024, arXiv:2409.02060): for five domains
of 208,896 tokens each, how often each expert of three layers was among the chosen.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np

NAMES = ("olmoe", "mixtral")


@dataclass(frozen=True)
class PublishedRouting:
    """One model's published counts. counts: by domain, [L, E] for the layers in `layers`.

    experts, chosen: E and K. tokens: per domain. source, licence: to show beside every figure.
    """

    model: str
    experts: int
    chosen: int
    layers: tuple[int, ...]
    tokens: int
    counts: dict[str, np.ndarray]
    source: str
    licence: str


@cache
def published_routing(name: str) -> PublishedRouting:
    """The published counts of "olmoe" or "mixtral"."""
    path = Path(__file__).parent / f"published_routing_{name}.json"
    data = json.loads(path.read_text())
    return PublishedRouting(
        model=data["model"],
        experts=data["num_experts"],
        chosen=data["num_experts_per_tok"],
        layers=tuple(data["layers"]),
        tokens=data["tokens_per_domain"],
        counts={name: np.array(part["counts"]) for name, part in data["domains"].items()},
        source=data["source"],
        licence=data["license"],
    )
