"""What does counting a corpus cost, against bare forward passes over the same batches?"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch

from moeviz.bench.timing import Ratio, ratio, take_turns
from moeviz.corpora.atlas import load_atlas
from moeviz.corpora.corpus import Corpus
from moeviz.engines.local import KINDS, corpus_batches, route_corpus
from moeviz.models.load import LoadedModel, load_model
from moeviz.models.rows import batch_inputs

PLAIN = "plain batched forwards"
BARE = "plain batched forwards without next-token logits"
IN_ORDER = "plain batched forwards, 16 passages at a time as the corpus has them"
TOGETHER = 16


def corpus_speed(passages: int = 720, rounds: int = 7, model: str = "demo") -> list[Ratio]:
    """A corpus run, from text to counts, against plain forward passes of the same padded batches.

    Like with like: a run that counts predictions computes the next-token logits of every token and
    is set against passes that do; one that does not, against passes that leave them out.
    The plain passes get their token ids for nothing; the run cuts the text into tokens, listens,
    counts and adds up. The limit is 95 % of the tokens a second. The last row is against passes
    as most people write them: as many passages at a time, not sorted by length.
    """
    loaded = load_model(model)
    atlas = load_atlas()
    corpus = atlas.where(list(range(0, len(atlas), max(1, len(atlas) // passages))))
    took = take_turns(_ways(loaded, corpus), rounds)
    run, predicting = (name for name in took if name not in (PLAIN, BARE, IN_ORDER))
    return [
        ratio(took, run, BARE, limit=1 / 0.95),
        ratio(took, predicting, PLAIN, limit=1 / 0.95),
        ratio(took, predicting, IN_ORDER),
    ]


def plain_forwards(model: LoadedModel, batches: list[list[np.ndarray]]) -> Callable[..., None]:
    """Runs the model over these token ids and keeps nothing; called with options of its forward."""
    inputs = [batch_inputs(model.network, ids).inputs for ids in batches]

    @torch.inference_mode()
    def plain(**options: int) -> None:
        for batch in inputs:
            output = model.network(**batch, **options)
        if model.device.startswith("cuda"):
            torch.cuda.synchronize()
        del output

    return plain


def _ways(model: LoadedModel, corpus: Corpus) -> dict[str, Callable[[], object]]:
    batches = corpus_batches(model, corpus)
    tokens = sum(len(ids) for batch in batches for ids in batch)
    plain = plain_forwards(model, batches)
    in_order = [
        [ids for batch in corpus_batches(model, corpus.where(rows)) for ids in batch]
        for rows in np.array_split(np.arange(len(corpus)), range(TOGETHER, len(corpus), TOGETHER))
    ]
    return {
        PLAIN: plain,
        IN_ORDER: plain_forwards(model, in_order),
        BARE: lambda: plain(logits_to_keep=1),
        f"corpus run, {model.name}, {tokens:,} tokens": lambda: route_corpus(model, corpus),
        "with predicted tokens too": lambda: route_corpus(model, corpus, vocabulary=KINDS),
    }
