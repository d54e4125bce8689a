"""Several texts in one forward pass, and which row of it is which token of which text.

Nearly every architecture routes padding like real tokens, so what a batch routes is only
readable with this map.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from moeviz.models.inputs import decoder_start, input_device


@dataclass(frozen=True, eq=False)
class Batch:
    """inputs: what the model is called with. rows: by stack, for each text the places of its
    tokens among the B * S rows that a routed layer sees, in reading order.
    """

    inputs: dict[str, Any]
    rows: dict[str, tuple[Tensor, ...]]


def batch_inputs(network: nn.Module, texts: Sequence[Sequence[int]], left: bool = False) -> Batch:
    """The texts (as token ids) padded to one length, on the right unless `left`.

    An encoder–decoder reads each text in its encoder and, behind the start token, in its decoder;
    the decoder is padded on the right always.
    """
    device = input_device(network)
    pad = getattr(network.config.get_text_config(), "pad_token_id", None) or 0
    ids, mask = _padded(texts, pad, left)
    inputs = {"input_ids": ids.to(device), "attention_mask": mask.to(device), "use_cache": False}
    rows = {"encoder": _rows(mask), "decoder": _rows(mask)}
    if network.config.is_encoder_decoder:
        start = decoder_start(network)
        decoder_ids, decoder_mask = _padded([[start, *text] for text in texts], pad, left=False)
        inputs["decoder_input_ids"] = decoder_ids.to(device)
        inputs["decoder_attention_mask"] = decoder_mask.to(device)
        rows["decoder"] = _rows(decoder_mask)
    return Batch(inputs, rows)


def _padded(texts: Sequence[Sequence[int]], pad: int, left: bool) -> tuple[Tensor, Tensor]:
    """ids and mask [B, S]; the mask is 1 on the texts and 0 on padding."""
    lengths = np.array([len(text) for text in texts])
    places = np.arange(lengths.max())
    mask = places >= places.size - lengths[:, None] if left else places < lengths[:, None]
    ids = np.full(mask.shape, pad, np.int64)
    ids[mask] = np.concatenate(texts)
    return torch.from_numpy(ids), torch.from_numpy(mask.astype(np.int64))


def _rows(mask: Tensor) -> tuple[Tensor, ...]:
    return torch.nonzero(mask.ravel())[:, 0].split(mask.sum(1).tolist())
