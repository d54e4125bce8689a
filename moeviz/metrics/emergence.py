"""How specialisation, balance and the routes themselves appear during training."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from moeviz.corpora.emergence import Emergence
from moeviz.metrics.divergence import divergence_bits
from moeviz.metrics.load import random_loads

SHUFFLES = 100


@dataclass(frozen=True)
class Growth:
    """One figure at every moment and layer, [C, L], and the band that chance gives it, [C, 2]."""

    name: str
    unit: str
    values: np.ndarray
    chance: np.ndarray


def saturation(found: Emergence) -> Growth:
    """Share of a token's final choices that were already made at each moment.

    Chance is K / E, two random sets of K. Muennighoff et al. 2024 (arXiv:2409.02060), eq. 7.
    """
    experts = found.experts[..., 1:, :]  # the first token is no text
    same = experts[:, ..., :, None] == experts[-1:, ..., None, :]
    chance = np.full((len(experts), 2), experts.shape[-1] / found.size)
    return Growth("Final choices already made", "%", same.any(-1).mean((2, 3, 4)), chance)


def max_violation(found: Emergence, draws: int = SHUFFLES, seed: int = 0) -> Growth:
    """Busiest expert over the mean, minus 1; chance from routers that choose at random.

    Wang et al. 2024 (arXiv:2408.15664), "MaxVio".
    """
    load = passage_counts(found).sum(axis=2)
    values = load.max(-1) / load.mean(-1) - 1
    _, _, passages, tokens, chosen = found.experts.shape
    drawn = random_loads(passages * (tokens - 1), found.size, chosen, draws, seed)
    low, high = np.quantile(drawn.max(1) / drawn.mean(1) - 1, (0.025, 0.975))
    return Growth("MaxVio", "", values, np.tile([low, high], (len(values), 1)))


def label_divergence(
    found: Emergence, label: str, shuffles: int = SHUFFLES, seed: int = 0
) -> Growth:
    """Generalised Jensen-Shannon divergence between labels, in bits, at each moment and layer.

    The band is that of the same passages with their labels shuffled, over all layers.
    """
    codes = np.unique(found.labels[label], return_inverse=True)[1]
    counts, rng = passage_counts(found).astype(float), np.random.default_rng(seed)
    values = divergence_bits(grouped(counts, codes))
    dealt = np.stack(
        [divergence_bits(grouped(counts, rng.permutation(codes))) for _ in range(shuffles)]
    )
    band = np.quantile(dealt.transpose(1, 0, 2).reshape(len(values), -1), (0.025, 0.975), axis=1)
    return Growth("Divergence", "bits", values, band.T)


def grouped(counts: np.ndarray, codes: np.ndarray) -> np.ndarray:
    """[C, L, G, E] choices of each group of passages, from counts [C, L, P, E] and codes [P]."""
    belongs = (codes == np.arange(int(codes.max()) + 1)[:, None]).astype(np.float64)
    return belongs @ counts


def passage_counts(found: Emergence) -> np.ndarray:
    """[C, L, P, E] times each expert was chosen in each passage; no first tokens."""
    ids = found.experts[..., 1:, :].astype(np.int64)
    flat = ids.reshape(*ids.shape[:3], -1)
    rows = np.arange(np.prod(flat.shape[:3])).reshape(*flat.shape[:3], 1)
    size = int(np.prod(flat.shape[:3])) * found.size
    counted = np.bincount((rows * found.size + flat).ravel(), minlength=size)
    return counted.reshape(*flat.shape[:3], found.size)
