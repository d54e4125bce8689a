"""What does counting a corpus cost, against bare forward passes over the same batches?"""

from __future__ import annotations

from collections.abc import Callable

import torch

from moeviz.bench.timing import Ratio, ratio, take_turns
from moeviz.corpora.atlas import load_atlas
from moeviz.corpora.corpus import Corpus
from moeviz.engines.local import corpus_batches, route_corpus
from moeviz.models.load import LoadedModel, load_model
from moeviz.models.rows import batch_inputs

PLAIN = "plain batched forwards"


def corpus_speed(passages: int = 60, rounds: int = 15, model: str = "demo") -> list[Ratio]:
    """A corpus run, from text to counts, against plain forward passes of the same padded batches.

    The plain passes get their token ids for nothing; the run cuts the text into tokens, listens,
    counts and adds up; where no predictions are asked for, it leaves out the next-token logits,
    which a plain pass computes. The limit is 95 % of the tokens a second.
    """
    loaded = load_model(model)
    atlas = load_atlas()
    corpus = atlas.where(list(range(0, len(atlas), max(1, len(atlas) // passages))))
    ways = _ways(loaded, corpus)
    took = take_turns(ways, rounds)
    return [
        ratio(took, name, PLAIN, limit=1 / 0.95 if name.startswith("corpus run,") else None)
        for name in ways
        if name != PLAIN
    ]


def _ways(model: LoadedModel, corpus: Corpus) -> dict[str, Callable[[], object]]:
    inputs = [batch_inputs(model.network, ids).inputs for ids in corpus_batches(model, corpus)]
    tokens = sum(int(batch["attention_mask"].sum()) for batch in inputs)

    @torch.inference_mode()
    def plain() -> None:
        for batch in inputs:
            output = model.network(**batch)
        if model.device.startswith("cuda"):
            torch.cuda.synchronize()
        del output

    kinds = ("input", "next", "predicted")
    return {
        PLAIN: plain,
        f"corpus run, {model.name}, {tokens:,} tokens": lambda: route_corpus(model, corpus),
        "with predicted tokens too": lambda: route_corpus(model, corpus, vocabulary=kinds),
    }
