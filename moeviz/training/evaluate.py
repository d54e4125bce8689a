"""How well does the model predict, and is its load in balance? Measured on unseen documents."""

from __future__ import annotations

import lzma
import math
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from tokenizers import Tokenizer
from torch import Tensor
from torch.nn import functional
from transformers import PreTrainedModel

from moeviz.training.data import Document, group_weights
from moeviz.training.losses import max_violation
from moeviz.training.model import RouterWatch

BATCH_TOKENS = 16384

PROMPTS = (
    ("en", "Once upon a time there was a little"),
    ("de", "Der alte Mann ging langsam"),
    ("fr", "Le Conseil de l'Union européenne"),
    ("es", "En un lugar de la Mancha"),
    ("ru", "Он вошёл в комнату и"),
    ("zh", "中华人民共和国"),
    ("ja", "私はその時"),
    ("hi", "एक दिन"),
    ("ar", "قال الرجل"),
    ("code", "def read_lines(path):\n    "),
)


@dataclass(frozen=True)
class Scored:
    """Every validation document with its loss and its load on the experts."""

    documents: tuple[Document, ...]
    nats: np.ndarray  # [D] next-token loss summed over the document
    counts: np.ndarray  # [D, L, E] times each expert was chosen


@dataclass(frozen=True)
class TextScore:
    """How well one kind of text was predicted, beside what xz -9e makes of the same text."""

    name: str
    documents: int
    bytes: int
    bits_per_byte: float
    xz_bits_per_byte: float


@dataclass(frozen=True)
class LayerBalance:
    layer: int
    max_violation: float
    starved: int  # experts with less than a tenth of their fair share


@dataclass(frozen=True)
class Continuation:
    language: str
    prompt: str
    text: str


@torch.no_grad()
def score_documents(
    model: PreTrainedModel, watch: RouterWatch, tokenizer: Tokenizer, documents: list[Document]
) -> Scored:
    """Loss and expert counts of each document, run alone from <|endoftext|> to its end.

    Documents longer than the model was trained for are cut into pieces that start afresh.
    """
    rows, owners = _pieces(tokenizer, documents, model.config.max_position_embeddings)
    nats, counts = np.zeros(len(documents)), None
    for batch in batches_by_length(rows, BATCH_TOKENS):
        ids, real = _padded([rows[i] for i in batch], model.device)
        watch.clear()
        losses = next_token_losses(model, ids) * real[:, 1:]
        mine = np.array([owners[i] for i in batch])
        np.add.at(nats, mine, losses.sum(1).cpu().numpy())
        load = _expert_counts(watch, real, getattr(model.config, "num_experts", 1))
        if counts is None:
            counts = np.zeros((len(documents), *load.shape[1:]), dtype=np.int64)
        np.add.at(counts, mine, load)
    return Scored(tuple(documents), nats, counts)


def batches_by_length(rows: list[list[int]], tokens: int) -> Iterator[list[int]]:
    """Places of `rows` in batches of similar length, each of about `tokens` padded tokens."""
    batch: list[int] = []
    for i in sorted(range(len(rows)), key=lambda i: len(rows[i])):
        if batch and len(rows[i]) * (len(batch) + 1) > tokens:
            yield batch
            batch = []
        batch.append(i)
    if batch:
        yield batch


def _pieces(
    tokenizer: Tokenizer, documents: list[Document], longest: int
) -> tuple[list[list[int]], list[int]]:
    """(rows of at most `longest` ids, the place of the document each row is from)."""
    rows, owners = [], []
    for owner, encoding in enumerate(tokenizer.encode_batch([d.text for d in documents])):
        start, *ids = encoding.ids
        for first in range(0, len(ids), longest - 1):
            rows.append([start, *ids[first : first + longest - 1]])
            owners.append(owner)
    return rows, owners


def _padded(rows: list[list[int]], device: torch.device) -> tuple[Tensor, Tensor]:
    """(ids [B, T], 1 where real, else 0 [B, T]). Pads come last, where no token sees them."""
    width = max(len(row) for row in rows)
    ids = torch.tensor([row + [0] * (width - len(row)) for row in rows], device=device)
    real = torch.tensor([[1] * len(row) + [0] * (width - len(row)) for row in rows], device=device)
    return ids, real


def next_token_losses(model: PreTrainedModel, ids: Tensor) -> Tensor:
    """Next-token loss in nats of ids [B, T]; [B, T - 1]."""
    hidden = model.model(ids, use_cache=False).last_hidden_state[:, :-1].flatten(0, 1)
    pieces = zip(hidden.split(2048), ids[:, 1:].flatten().split(2048), strict=True)
    losses = [
        functional.cross_entropy(model.lm_head(piece).float(), wanted, reduction="none")
        for piece, wanted in pieces
    ]
    return torch.cat(losses).view(len(ids), -1)


def _expert_counts(watch: RouterWatch, real: Tensor, experts: int) -> np.ndarray:
    """Times each expert was chosen by real tokens, [B, L, E]; L is 0 for a dense model."""
    if not watch.chosen:
        return np.zeros((len(real), 0, experts), dtype=np.int64)
    layers = []
    for chosen in watch.chosen:
        used = functional.one_hot(chosen.view(*real.shape, -1), experts).sum(2)
        layers.append((used * real[..., None]).sum(1))
    return torch.stack(layers, 1).cpu().numpy()


def scores_by(scored: Scored, label: str) -> list[TextScore]:
    """One score per value of `label` ("language" or "domain"), sorted by name."""
    members = defaultdict(list)
    for place, document in enumerate(scored.documents):
        members[getattr(document, label)].append(place)
    return [_text_score(scored, name, places) for name, places in sorted(members.items())]


def score_of_all(scored: Scored) -> TextScore:
    """The score of all documents together."""
    return _text_score(scored, "all", list(range(len(scored.documents))))


def _text_score(scored: Scored, name: str, places: list[int]) -> TextScore:
    texts = [scored.documents[place].text.encode() for place in places]
    size = sum(len(text) for text in texts)
    packed = lzma.compress(b"\n".join(texts), preset=9 | lzma.PRESET_EXTREME)
    bits = float(scored.nats[places].sum()) / math.log(2)
    return TextScore(name, len(places), size, bits / size, 8 * len(packed) / size)


def mixture_share(scored: Scored, flatness: float) -> np.ndarray:
    """Share of each expert per layer [L, E] when groups are mixed as in training."""
    members = defaultdict(list)
    for place, document in enumerate(scored.documents):
        members[document.language, document.domain].append(place)
    counts = np.stack([scored.counts[places].sum(0) for places in members.values()])
    shares = counts / counts.sum(-1, keepdims=True)
    return np.tensordot(group_weights(counts[:, 0].sum(-1), flatness), shares, 1)


def layer_balance(share: np.ndarray) -> list[LayerBalance]:
    """Balance of each layer from its shares [L, E]."""
    worst = max_violation(torch.from_numpy(share)).tolist()
    starved = (share * share.shape[1] < 0.1).sum(1).tolist()
    rows = zip(worst, starved, strict=True)
    return [LayerBalance(layer, violation, few) for layer, (violation, few) in enumerate(rows)]


@torch.no_grad()
def continuations(model: PreTrainedModel, tokenizer: Tokenizer) -> list[Continuation]:
    """Continuations of PROMPTS, 40 tokens each, drawn at temperature 0.7 with seed 0, unedited."""
    rows = []
    for language, prompt in PROMPTS:
        torch.manual_seed(0)
        ids = torch.tensor([tokenizer.encode(prompt).ids], device=model.device)
        out = model.generate(
            ids, max_new_tokens=40, do_sample=True, temperature=0.7, top_k=0, pad_token_id=0
        )
        text = tokenizer.decode(out[0, ids.shape[1] :].tolist(), skip_special_tokens=True)
        rows.append(Continuation(language, prompt, text))
    return rows
