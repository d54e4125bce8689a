"""Do the experts know languages and domains? Told from the routing of short passages alone."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass

import numpy as np
import torch
from tokenizers import Tokenizer
from transformers import PreTrainedModel

from moeviz.metrics.centroid import centroid_recall
from moeviz.training.data import Document
from moeviz.training.losses import expert_share
from moeviz.training.model import RouterWatch

PASSAGE = 64  # tokens
PASSAGES_PER_GROUP = 40


@dataclass(frozen=True)
class RoutedPassages:
    """Expert shares of short passages, flattened over layers, with labels and a fit/test split."""

    shares: np.ndarray  # [P, L * E]
    languages: np.ndarray  # [P] str
    domains: np.ndarray  # [P] str
    fit: np.ndarray  # [P] bool


@dataclass(frozen=True)
class Answer:
    """How often routing alone gives the right label; chance is 1 / classes."""

    question: str
    accuracy: float  # recall averaged over classes
    classes: int
    passages: int


@torch.no_grad()
def route_passages(
    model: PreTrainedModel, watch: RouterWatch, tokenizer: Tokenizer, documents: list[Document]
) -> RoutedPassages:
    """Up to PASSAGES_PER_GROUP passages per (language, domain), each run alone.

    Documents go to the fit or the test half as a whole, translations of each other together.
    <|endoftext|> is routed too but not counted.
    """
    cut = _cut_passages(tokenizer, documents)
    shares = []
    for batch in torch.tensor([ids for ids, _, _ in cut], device=model.device).split(128):
        watch.clear()
        model.model(batch, use_cache=False)
        chosen = torch.stack([c.view(*batch.shape, -1)[:, 1:] for c in watch.chosen], 1)
        shares += [_passage_shares(passage, model.config.num_experts) for passage in chosen]
    return RoutedPassages(
        shares=torch.stack(shares).cpu().numpy(),
        languages=np.array([document.language for _, document, _ in cut]),
        domains=np.array([document.domain for _, document, _ in cut]),
        fit=np.array([fit for _, _, fit in cut]),
    )


def _passage_shares(chosen: torch.Tensor, experts: int) -> torch.Tensor:
    """[L * E] shares of one passage; chosen [L, T, K]. Every (layer, expert) is its own number."""
    return torch.cat([expert_share(layer, experts) for layer in chosen])


def _cut_passages(
    tokenizer: Tokenizer, documents: list[Document]
) -> list[tuple[list[int], Document, bool]]:
    """(ids with <|endoftext|> first, document, in the fit half?) of each passage."""
    taken: dict[tuple, int] = defaultdict(int)
    halves: dict[str, bool] = {}
    passages = []
    for number, document in enumerate(documents):
        fit = halves.setdefault(document.parallel or str(number), len(halves) % 2 == 0)
        start, *ids = tokenizer.encode(document.text).ids
        group = (document.language, document.domain, fit)
        for first in range(0, len(ids) - PASSAGE + 1, 4 * PASSAGE):
            if taken[group] < PASSAGES_PER_GROUP // 2:
                taken[group] += 1
                passages.append(([start, *ids[first : first + PASSAGE]], document, fit))
    return passages


def answers(passages: RoutedPassages) -> list[Answer]:
    """What routing alone tells, question by question."""
    everything = np.ones(len(passages.fit), dtype=bool)
    english, code = passages.languages == "en", passages.languages == "code"
    return [
        centroid_answer(passages, "language, of all text", passages.languages, everything),
        centroid_answer(passages, "domain, of all text", passages.domains, everything),
        centroid_answer(passages, "domain, English only", passages.domains, english),
        centroid_answer(passages, "kind of code, code only", passages.domains, code),
    ]


def centroid_answer(
    passages: RoutedPassages, question: str, labels: np.ndarray, among: np.ndarray
) -> Answer:
    """Nearest-centroid classifier on the expert shares; only passages where `among` [P] is true.

    A label's centroid is the mean of its passages in the fit half; the other half is tested.
    Labels without a passage in either half are left out.
    """
    told = centroid_recall(passages.shares[among], labels[among], passages.fit[among], whiten=False)
    return Answer(question, told.accuracy, len(told.names), told.passages)
