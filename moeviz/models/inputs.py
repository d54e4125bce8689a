"""Text to model inputs, and the record of which row is which piece of the text."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import nn

from moeviz.trace import MoevizError, Tokens

PROBE_TEXT = (
    "A router sends every token to a few experts. 路由器为每个词元选择专家。 def route(x): return x"
)


class TextError(MoevizError):
    """The text cannot be given to the model as it is."""


def encode(tokenizer, text: str, add_special_tokens: bool = True) -> Tokens:
    """The tokens of `text`; raises TextError for text that holds nothing or is no valid Unicode.

    Spans come from the tokenizer's own offsets; a tokenizer without offsets (a slow one) gives
    spans of -1, and each token shows its own decoded piece.
    """
    if not text.strip():
        raise TextError("There is no text. Paste or type something first.")
    if any("\ud800" <= character <= "\udfff" for character in text):
        raise TextError("The text holds broken characters (lone surrogates). Paste it as UTF-8.")
    fast = getattr(tokenizer, "is_fast", False)
    coded = tokenizer(
        text,
        add_special_tokens=add_special_tokens,
        return_offsets_mapping=fast,
        return_special_tokens_mask=True,
        return_attention_mask=False,
        verbose=False,
    )
    ids = np.array(coded["input_ids"], np.int32)
    special = np.array(coded["special_tokens_mask"], bool)
    spans = np.full((len(ids), 2), -1, np.int32)
    if fast:
        spans[:] = coded["offset_mapping"]
        spans[spans[:, 0] == spans[:, 1]] = -1
    if not len(ids):
        raise TextError("The tokenizer made no tokens of this text.")
    return Tokens(
        source=text,
        ids=ids,
        spans=spans,
        special=special,
        generated=np.zeros(len(ids), bool),
        vocabulary=pieces(tokenizer, ids),
    )


def pieces(tokenizer, ids: np.ndarray) -> dict[int, str]:
    """The tokenizer's own spelling of every id that occurs."""
    unique = sorted({int(i) for i in ids})
    spelled = tokenizer.convert_ids_to_tokens(unique)
    return {
        i: piece if isinstance(piece, str) else "" for i, piece in zip(unique, spelled, strict=True)
    }


def cut(tokens: Tokens, count: int) -> Tokens:
    """The first `count` tokens, with the text that they cover."""
    kept = tokens.ids[:count]
    end = int(tokens.spans[:count, 1].max(initial=0))
    return Tokens(
        source=tokens.source[:end] if end > 0 else tokens.source,
        ids=kept,
        spans=tokens.spans[:count],
        special=tokens.special[:count],
        generated=tokens.generated[:count],
        vocabulary={int(i): tokens.vocabulary[int(i)] for i in kept},
    )


def model_inputs(network: nn.Module, ids: np.ndarray | list[int]) -> dict[str, Any]:
    """What `network` is called with for one text of these ids.

    An encoder–decoder reads the text in its encoder, and again in its decoder after the start
    token, as in training (teacher forcing).
    """
    device = input_device(network)
    row = torch.as_tensor(np.asarray(ids, np.int64)[None], device=device)
    inputs = {"input_ids": row, "attention_mask": torch.ones_like(row), "use_cache": False}
    if network.config.is_encoder_decoder:
        start = torch.full((1, 1), decoder_start(network), device=device)
        inputs["decoder_input_ids"] = torch.cat([start, row], dim=1)
    return inputs


def probe_inputs(network: nn.Module, tokenizer, count: int) -> dict[str, Any]:
    """Inputs of `count` different tokens, the same at every load."""
    size = network.get_input_embeddings().num_embeddings
    if tokenizer is not None:
        ids = tokenizer(PROBE_TEXT, add_special_tokens=False)["input_ids"]
        ids = [i for i in ids if i < size][:count]
    else:
        ids = [(7 * i + 3) % size for i in range(count)]
    return model_inputs(network, ids)


def decoder_start(network: nn.Module) -> int:
    """The id that an encoder–decoder's decoder begins with."""
    config = network.config
    for name in ("decoder_start_token_id", "bos_token_id", "pad_token_id"):
        if getattr(config, name, None) is not None:
            return int(getattr(config, name))
    return 0


def input_device(network: nn.Module) -> torch.device:
    """Where token ids must be: the device of the embeddings."""
    return network.get_input_embeddings().weight.device
