"""Do passages that are routed alike fall into groups, and do the groups follow the labels?"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from moeviz.metrics.map import MapError

SHUFFLES = 200


@dataclass(frozen=True)
class Purity:
    """How far groups follow labels.

    share: of passages whose label is their group's most frequent one; 1 when every group is of
    one label. low, high: 95 % of the same figure with the labels shuffled. shuffles: how many.
    groups: [G] the most frequent label of each group, and of: [G] its share there.
    """

    share: float
    low: float
    high: float
    shuffles: int
    groups: tuple[str, ...]
    of: np.ndarray


def sphere_clusters(reduced: np.ndarray, groups: int, seed: int = 0) -> np.ndarray:
    """[P] the group of each point [P, C], largest group first: k-means on the unit sphere.

    Rows are scaled to length 1, so the direction from the centre of all points counts and not the
    distance: Dhillon and Modha 2001 (Machine Learning 42:143). The best of ten seeded starts.
    Raises MapError when there are fewer different points than groups.
    """
    if not 2 <= groups <= len(reduced):
        raise MapError(
            f"{len(reduced)} passages can make 2 to {len(reduced)} groups, not {groups}."
        )
    from sklearn.cluster import KMeans  # late: it takes a second

    length = np.linalg.norm(reduced, axis=1, keepdims=True)
    unit = reduced / np.maximum(length, 1e-12)
    found = KMeans(groups, n_init=10, random_state=seed).fit_predict(unit)
    order = np.argsort(-np.bincount(found, minlength=groups), kind="stable")
    rank = np.empty(groups, dtype=np.int64)
    rank[order] = np.arange(groups)
    return rank[found]


def purity(
    groups: np.ndarray, labels: np.ndarray, shuffles: int = SHUFFLES, seed: int = 0
) -> Purity:
    """How far `groups` [P] follow `labels` [P], beside shuffled labels.

    Many small groups are pure by chance too, which is what the band shows.
    Purity as in Manning, Raghavan and Schütze 2008, Introduction to Information Retrieval, 16.3.
    """
    names, codes = np.unique(labels, return_inverse=True)
    table = _table(groups, codes, len(names))
    rng = np.random.default_rng(seed)
    by_chance = [
        _share(_table(groups, rng.permutation(codes), len(names))) for _ in range(shuffles)
    ]
    low, high = np.quantile(by_chance, (0.025, 0.975))
    most = table.argmax(axis=1)
    of = table.max(axis=1) / np.maximum(table.sum(axis=1), 1)
    return Purity(
        _share(table), float(low), float(high), shuffles, tuple(str(names[m]) for m in most), of
    )


def _table(groups: np.ndarray, codes: np.ndarray, labels: int) -> np.ndarray:
    """[G, labels] passages of each group and label."""
    size = int(groups.max()) + 1
    return np.bincount(groups * labels + codes, minlength=size * labels).reshape(size, labels)


def _share(table: np.ndarray) -> float:
    return float(table.max(axis=1).sum() / table.sum())
