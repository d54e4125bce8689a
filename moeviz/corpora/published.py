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

from moeviz.corpora.corpus import Source
from moeviz.corpora.routing import CorpusRouting
from moeviz.trace import spoken

NAMES = ("olmoe", "mixtral")


@dataclass(frozen=True)
class PublishedRouting:
    """One model's published counts. counts: by domain, [L, E] for the layers in `layers`.

    first: the same for first choices. experts, chosen: E and K. tokens: per domain.
    source, licence: to show beside every figure.
    """

    model: str
    experts: int
    chosen: int
    layers: tuple[int, ...]
    tokens: int
    counts: dict[str, np.ndarray]
    first: dict[str, np.ndarray]
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
        first={name: np.array(part["top1_counts"]) for name, part in data["domains"].items()},
        source=data["source"],
        licence=data["license"],
    )


@cache
def published_corpus(name: str) -> CorpusRouting:
    """The same counts in the form of a corpus run: one passage a domain, label "domain".

    There is no text, no single document, no gate and no pair of experts or tokens behind them, so
    what needs those is None, and no chance band can come from dealt labels.
    """
    found = published_routing(name)
    domains = np.array(list(found.counts))
    layers = len(found.layers)
    source = Source(
        name, f"Routing of {found.model} on five domains", found.source, found.licence,
        "Muennighoff et al. 2024 (arXiv:2409.02060)",
    )  # fmt: skip
    return CorpusRouting(
        model=found.model,
        corpus=f"published counts of {found.model}",
        layers=found.layers,
        experts=np.full(layers, found.experts),
        chosen=np.full(layers, found.chosen),
        labels={"domain": domains},
        documents=domains,
        families=domains,
        parallel=np.full(len(domains), ""),
        tokens=np.full(len(domains), found.tokens, np.int32),
        counts=np.stack([found.counts[domain] for domain in domains]).astype(np.int32),
        first=np.stack([found.first[domain] for domain in domains]).astype(np.int32),
        sources=(source,),
        notes=(
            f"Published counts of layers {spoken(found.layers)}: they hold no documents to deal "
            "labels over, so chance is only what an even router gives.",
        ),
    )
