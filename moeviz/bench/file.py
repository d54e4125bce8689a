"""How long until a saved trace of a million tokens is open, and how large is its file?"""

from __future__ import annotations

import tempfile
from pathlib import Path

from moeviz.bench.random_trace import random_trace
from moeviz.bench.screen import share_of
from moeviz.bench.timing import Ratio, ratio, take_turns
from moeviz.store.files import open_trace

MOST_OPEN = 0.2
"""Seconds that opening may take."""


def file_speed(
    tokens: int = 1_000_000, layers: int = 16, experts: int = 64, chosen: int = 8, rounds: int = 15
) -> list[Ratio]:
    """Opening a trace of this size against its 200 ms and against reading its bytes, and looking
    at one token in all layers and at one layer. The routing is random, the file is a compact one.

    It is opened as often as not by what the system keeps of it in memory; so is what is compared.
    """
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "long.moetrace"
        random_trace(tokens, layers, experts, chosen).save(path, compact=True)
        slots = layers * tokens * chosen
        size = f"{tokens:,} tokens x {layers} layers x top-{chosen}"
        opening = f"open {size}, {path.stat().st_size / slots:.2f} bytes a slot in all"
        base, one, row = "reading its bytes", "open, look at one token", "open, look at one layer"
        took = take_turns(
            {
                opening: lambda: open_trace(path, whole=False),
                one: lambda: open_trace(path, whole=False).gates[:, tokens // 2],
                row: lambda: open_trace(path, whole=False).experts[layers // 2],
                base: path.read_bytes,
            },
            rounds,
        )
    return [
        share_of(opening, 1000 * took[opening], MOST_OPEN),
        ratio(took, opening, base, limit=1.0),
        ratio(took, one, base),
        ratio(took, row, base),
    ]
