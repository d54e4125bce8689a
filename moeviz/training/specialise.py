"""Do the experts know languages and domains? Told from the routing of short passages alone."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass

import numpy as np
import torch
from tokenizers import Tokenizer
from torch import Tensor
from transformers import PreTrainedModel

from moeviz.metrics.centroid import centroid_recall, halves, passage_features
from moeviz.training.data import Document
from moeviz.training.model import RouterWatch

PASSAGE = 64  # tokens
PASSAGES_PER_GROUP = 120
SPLITS = 4


@dataclass(frozen=True)
class RoutedPassages:
    """How often and how strongly short passages chose each expert, with their labels."""

    counts: np.ndarray  # [P, L, E]
    gates: np.ndarray  # [P, L, E] summed
    languages: np.ndarray  # [P] str
    domains: np.ndarray  # [P] str
    families: np.ndarray  # [P] str, documents with their translations


@dataclass(frozen=True)
class Answer:
    """How often routing alone gives the right label, mean of SPLITS ways to halve the documents.

    accuracy: recall averaged over classes, whose chance is 1 / classes. right: share of passages,
    right_chance: the same if the answers were dealt at random. passages: in both halves.
    """

    question: str
    accuracy: float
    classes: int
    right: float
    right_chance: float
    passages: int


@torch.no_grad()
def route_passages(
    model: PreTrainedModel, watch: RouterWatch, tokenizer: Tokenizer, documents: list[Document]
) -> RoutedPassages:
    """Up to PASSAGES_PER_GROUP passages per (language, domain), each run alone.

    <|endoftext|> is routed too but not counted.
    """
    cut = _cut_passages(tokenizer, documents)
    counts, gates = [], []
    for batch in torch.tensor([ids for ids, _, _ in cut], device=model.device).split(128):
        watch.clear()
        model.model(batch, use_cache=False)
        chosen = torch.stack([c.view(*batch.shape, -1)[:, 1:] for c in watch.chosen], 1)
        weight = torch.stack([g.view(*batch.shape, -1)[:, 1:] for g in watch.gates], 1)
        counts.append(_summed(chosen, torch.ones_like(weight), model.config.num_experts))
        gates.append(_summed(chosen, weight, model.config.num_experts))
    return RoutedPassages(
        counts=torch.cat(counts).cpu().numpy(),
        gates=torch.cat(gates).cpu().numpy(),
        languages=np.array([document.language for _, document, _ in cut]),
        domains=np.array([document.domain for _, document, _ in cut]),
        families=np.array([family for _, _, family in cut]),
    )


def _summed(chosen: Tensor, weight: Tensor, experts: int) -> Tensor:
    """[B, L, E] weight [B, L, T, K] added up by chosen expert."""
    flat = torch.zeros(*chosen.shape[:2], experts, device=chosen.device, dtype=weight.dtype)
    return flat.scatter_add(2, chosen.flatten(2), weight.flatten(2))


def _cut_passages(
    tokenizer: Tokenizer, documents: list[Document]
) -> list[tuple[list[int], Document, str]]:
    """(ids with <|endoftext|> first, document, its family) of each passage.

    The first passage of every document before any second one.
    """
    groups: dict[tuple, list[tuple[int, int, tuple]]] = defaultdict(list)
    for number, document in enumerate(documents):
        start, *ids = tokenizer.encode(document.text).ids
        family = document.parallel or str(number)
        for turn, first in enumerate(range(0, len(ids) - PASSAGE + 1, 2 * PASSAGE)):
            row = ([start, *ids[first : first + PASSAGE]], document, family)
            groups[document.language, document.domain].append((turn, number, row))
    kept = [
        sorted(group, key=lambda row: row[:2])[:PASSAGES_PER_GROUP] for group in groups.values()
    ]
    return [row for group in kept for _, _, row in group]


def answers(passages: RoutedPassages) -> list[Answer]:
    """What routing alone tells, question by question; those that the passages cannot ask left out.

    A domain of all text has a centroid in each language, and a language one for each domain.
    """
    everything = np.ones(len(passages.families), dtype=bool)
    english, code = passages.languages == "en", passages.languages == "code"
    languages, domains = passages.languages, passages.domains
    asked = [
        centroid_answer(passages, "language, of all text", languages, everything, domains),
        centroid_answer(passages, "domain, of all text", domains, everything, languages),
        centroid_answer(passages, "domain, English only", domains, english),
        centroid_answer(passages, "kind of code, code only", domains, code),
    ]
    return [answer for answer in asked if answer is not None]


def centroid_answer(
    passages: RoutedPassages,
    question: str,
    labels: np.ndarray,
    among: np.ndarray,
    groups: np.ndarray | None = None,
) -> Answer | None:
    """The metric of `moeviz.metrics.centroid.routing_recall`, where `among` [P] is true.

    Square roots of the shares of choices and gates, whitened; a centroid for each pair of label and
    group. Whole families fit it or are tested. None where some half lacks every label.
    """
    parts = (passages.counts[among], passages.gates[among])
    features = np.hstack([passage_features(part) for part in parts])
    labels, groups = labels[among], None if groups is None else groups[among]
    fits = [halves(passages.families[among], seed) for seed in range(SPLITS)]
    if not all(len(np.intersect1d(labels[fit], labels[~fit])) for fit in fits):
        return None
    told = [centroid_recall(features, labels, fit, groups=groups) for fit in fits]
    return Answer(
        question=question,
        accuracy=float(np.mean([one.accuracy for one in told])),
        classes=max(len(one.names) for one in told),
        right=float(np.mean([one.right for one in told])),
        right_chance=float(np.mean([one.right_chance for one in told])),
        passages=int(among.sum()),
    )
