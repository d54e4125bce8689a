"""How soon is the map there, and a new text on it?"""

from __future__ import annotations

import numpy as np

from moeviz.bench.timing import Ratio, ratio, take_turns
from moeviz.corpora.atlas import load_atlas
from moeviz.corpora.bundled import bundled
from moeviz.metrics.map import pca_map, place, routing_features, with_layout
from moeviz.models.load import load_model
from moeviz.models.run import trace_text

TEXT = "Der Mieter haftet dem Vermieter für jeden Schaden, den er schuldhaft verursacht hat. "


def map_speed(points: int = 20_000, rounds: int = 7) -> list[Ratio]:
    """The map of `points` passages against merely turning their counts into features, and placing
    a text against the model's own run on it.

    The many passages are those of the atlas, sampled with noise: a benchmark's data, never shown.
    """
    found = bundled(load_atlas())
    rng = np.random.default_rng(0)
    rows = rng.integers(0, len(found.routing.tokens), points)
    counts = rng.poisson(found.routing.counts[rows])
    features = routing_features(counts)
    name, base = f"map of {points:,} passages by PCA", "their features from counts"
    took = take_turns({name: lambda: pca_map(features), base: lambda: routing_features(counts)},
                      rounds)  # fmt: skip
    model = load_model("demo", device="cpu")
    shown = with_layout(pca_map(routing_features(found.routing.counts)), found.passages, found.seed)

    def traced():
        return trace_text(model, TEXT)

    def placed():
        ids = traced().experts[:, 1:]
        counted = np.stack([np.bincount(layer.ravel(), minlength=16) for layer in ids])
        return place(shown, routing_features(counted[None]))

    put, alone = "a text placed on the map", "the model's run on it"
    lives = take_turns({put: placed, alone: traced}, 3 * rounds)
    return [
        _limit(ratio(took, name, base), took[name], 1.0),
        ratio(lives, put, alone, limit=1.5),
        _limit(ratio(lives, put, alone), lives[put], 0.5),
    ]


def _limit(row: Ratio, seconds: np.ndarray, allowed: float) -> Ratio:
    """The same thing as a share of the time it may take."""
    low, middle, high = np.quantile(seconds / allowed, (0.25, 0.5, 0.75))
    return Ratio(row.what, f"{1000 * allowed:.0f} ms", middle, low, high, 1.0, row.seconds,
                 allowed, row.rounds)  # fmt: skip
