"""Small things that files of counts have in common."""

from __future__ import annotations

import json

import numpy as np


def small(counts: np.ndarray) -> np.ndarray:
    """Counts in the fewest bytes that hold them."""
    return counts.astype(np.min_scalar_type(int(counts.max(initial=0))))


def header(data: bytes) -> dict[str, str]:
    """The words in the header of a safetensors file."""
    head = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])
    return head["__metadata__"]
