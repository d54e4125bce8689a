"""Are these the same weights? A short name for them."""

from __future__ import annotations

import hashlib

import torch
from torch import nn

WHOLE = 64_000_000
"""Models up to so many parameters are hashed whole."""

SAMPLE = 4096
"""Values taken of each tensor of a larger one, evenly spread."""


@torch.inference_mode()
def weights_digest(network: nn.Module) -> str:
    """Hash of every weight's name, shape, dtype and values (of large models, a sample of them)."""
    parameters = list(network.named_parameters())
    whole = sum(values.numel() for _, values in parameters) <= WHOLE
    digest = hashlib.sha256()
    for name, values in parameters:
        digest.update(f"{name} {tuple(values.shape)} {values.dtype}".encode())
        if values.is_meta:
            continue  # off-loaded: name and shape must do
        flat = values.detach().reshape(-1)
        if not whole:
            flat = flat[:: max(1, flat.numel() // SAMPLE)]
        digest.update(flat.contiguous().cpu().view(torch.uint8).numpy().data)
    return digest.hexdigest()[:32]
