"""A loaded model that counts blocks: the same in this process and in a worker of a cluster."""

from __future__ import annotations

import hashlib
import json
from importlib.metadata import version

from moeviz.corpora.corpus import Corpus
from moeviz.corpora.parts import Part, part_bytes
from moeviz.engines.blocks import Progress, Settings
from moeviz.engines.local import count_block
from moeviz.models.digest import weights_digest
from moeviz.models.load import LoadedModel


class BlockCounter:
    """A loaded model and its `model_key`, which must not change from one block to the next."""

    def __init__(self, model: LoadedModel):
        self._model = model
        self._weights = weights_digest(model.network)
        self.key = model_key(model, self._weights)

    def count(
        self,
        corpus: Corpus,
        settings: Settings,
        identity: str,
        progress: Progress | None = None,
    ) -> bytes:
        """The file of the block's part."""
        counted = count_block(self._model, corpus, settings, self._weights, progress)
        return part_bytes(Part(identity, *counted))


def model_key(model: LoadedModel, weights: str) -> str:
    """Hash of all that can move a choice: weights, configuration, tokenizer, dtype, kind of device
    and the libraries' versions; a model's name or place is not part of it."""
    config = {
        name: value
        for name, value in model.network.config.to_dict().items()
        if name != "_name_or_path"
    }
    facts = {
        "weights": weights,
        "revision": model.revision,
        "config": config,
        "tokenizer": _tokenizer(model),
        "dtype": model.dtype,
        "device": model.device.partition(":")[0],
        "torch": version("torch"),
        "transformers": version("transformers"),
    }
    words = json.dumps(facts, sort_keys=True, default=str)
    return hashlib.sha256(words.encode()).hexdigest()[:32]


def _tokenizer(model: LoadedModel) -> object:
    """All that the tokenizer does, but for how it last cut and padded."""
    tokenizer = model.tokenizer
    if tokenizer is None or not tokenizer.is_fast:
        return tokenizer and tokenizer.get_vocab()
    whole = json.loads(tokenizer.backend_tokenizer.to_str())
    return {name: part for name, part in whole.items() if name not in ("truncation", "padding")}
