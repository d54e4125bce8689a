"""Do experts serve what a model reads and what it writes alike? The same passages, both ways."""

from __future__ import annotations

import dataclasses

import numpy as np

from moeviz.corpora.corpus import CorpusError
from moeviz.corpora.routing import CorpusRouting
from moeviz.metrics.shuffle import DRAWS
from moeviz.metrics.specialisation import Specialisation, specialisation

READ, WRITTEN = "read", "written"

MOST = 120
"""Passages that are continued: each takes as long as writing it."""

WEIGHT = 10_000
"""Tokens that every passage stands for on either side, whatever its length."""


def to_continue(passages: int, most: int = MOST) -> np.ndarray:
    """Rows of at most `most` of so many passages, spread evenly over all."""
    return np.unique(np.linspace(0, passages - 1, min(most, passages)).round().astype(int))


def phase_specialisation(
    read: CorpusRouting, written: CorpusRouting, rows: np.ndarray, draws: int = DRAWS, seed: int = 0
) -> Specialisation:
    """How reading ("read", prefill) and writing ("written", decode) use the experts.

    written: of the passages `rows` of `read`, in that order; those without a written token are left
    out. Every passage weighs the same. Chance swaps the two sides of each passage at random, so
    what the passage itself explains (its language, its topic) cannot pass for an effect.

    Raises CorpusError when the two are not of one model, or no passage has both sides.
    """
    alike = (read.weights, read.layers, read.shape[2]) == (
        written.weights, written.layers, written.shape[2],
    )  # fmt: skip
    if not alike or len(rows) != len(written.tokens):
        raise CorpusError(
            f"{written.model} wrote after {len(written.tokens)} passages and {read.model} read "
            f"{len(rows)}: one model must read and continue the same passages."
        )
    kept = (read.tokens[rows] > 0) & (written.tokens > 0)
    if not kept.any():
        raise CorpusError(f"{written.model} ends every text at once, so it writes nothing.")
    sides = [read.counts[rows][kept], written.counts[kept]]
    tokens = [read.tokens[rows][kept], written.tokens[kept]]
    weighed = [
        np.rint(counts * (WEIGHT / size[:, None, None])).astype(np.int32)
        for counts, size in zip(sides, tokens, strict=True)
    ]
    count = int(kept.sum())
    each = np.array([f"{side}-{row}" for side in (READ, WRITTEN) for row in range(count)])
    both = dataclasses.replace(
        written.where(kept),
        labels={
            "phase": np.repeat([READ, WRITTEN], count),
            "passage": np.tile(np.arange(count).astype(str), 2),
        },
        documents=each, families=each, parallel=np.full(2 * count, ""),
        tokens=np.full(2 * count, WEIGHT, np.int32), counts=np.concatenate(weighed),
        **dict.fromkeys(("first", "gates", "same_first", "shared", "neighbours")),
    )  # fmt: skip
    return specialisation(both, "phase", draws, seed, within="passage")
