"""Where does a passage lie among others, by its routing alone? PCA, layouts, and new passages.

A passage is described by its routing features: for every layer the share of its choices that went
to each expert, one row of L * E numbers. Principal components of those are the map's first view
and what distances are measured in; a layout in two dimensions (moeviz/metrics/layout.py) can
replace the view, never the distances.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np

from moeviz.store.whole import whole_file
from moeviz.trace import MoevizError

COMPONENTS = 50
"""Principal components kept: held-out passages find their language as well as with all 96."""

NEIGHBOURS = 5
"""Passages of the map that a new one is placed between."""

_SQUARE = 2048
"""Features up to which the covariance matrix is taken apart whole."""

_SMALL = 500
"""Points or features up to which a full decomposition is quick; beyond, a randomised one."""


class MapError(MoevizError):
    """A map that cannot be made, or a passage that does not fit on it."""


@dataclass(frozen=True)
class RoutingMap:
    """Points (passages or experts) by their routing, and what is needed to place new ones.

    mean: [D] and components: [C, D], so that (features - mean) @ components.T is reduced: [P, C].
    explained: [C] share of the variance. coordinates: [P, 2], the first two components or a
    layout of their neighbours. kind: "pca" or "umap". seed: of the layout, None for PCA.
    """

    mean: np.ndarray
    components: np.ndarray
    explained: np.ndarray
    reduced: np.ndarray
    coordinates: np.ndarray
    kind: str = "pca"
    seed: int | None = None

    @cached_property
    def key(self) -> str:
        """A digest of the points' places in the components: equal points, equal key."""
        shape = str(self.reduced.shape).encode()
        return hashlib.sha256(shape + self.reduced.tobytes()).hexdigest()[:24]

    @cached_property
    def usual_gap(self) -> float:
        """How far 99 of 100 points are from their nearest other one (of at most 500 asked)."""
        some = self.reduced[:: max(1, len(self.reduced) // 500)]
        _, distance = nearest(self.reduced, some, 2)
        return float(np.quantile(distance[:, -1], 0.99))


@dataclass(frozen=True)
class Placed:
    """New passages on a map.

    coordinates: [Q, 2]. neighbours: [Q, N] points of the map, nearest first, and their
    distances: [Q, N] in the components. unlike: [Q] true where the nearest point is further away
    than for 99 of 100 points of the map itself.
    """

    coordinates: np.ndarray
    neighbours: np.ndarray
    distances: np.ndarray
    unlike: np.ndarray


def routing_features(counts: np.ndarray) -> np.ndarray:
    """[P, L * E] float32 from counts [P, L, E]: each layer's shares, which sum to 1.

    A negative count marks an expert that the layer does not have; its share is 0, as is every
    share of a layer in which nothing was counted.
    """
    held = np.maximum(counts, 0).astype(np.float32)
    total = held.sum(axis=-1, keepdims=True)
    share = np.divide(held, total, out=np.zeros_like(held), where=total > 0)
    return share.reshape(len(counts), -1)


def expert_features(features: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """([X, P], [X] place in L * E): how each expert's share rises and falls over the passages.

    Each row has mean 0 and length 1, so that the distance of two experts depends on the
    correlation of their shares and not on how busy they are. Experts whose share never changes,
    such as those never chosen, have no such row and are left out.
    """
    moves = (features - features.mean(axis=0)).T
    length = np.linalg.norm(moves, axis=1)
    kept = np.flatnonzero(length > 1e-6)
    return np.ascontiguousarray(moves[kept] / length[kept, None]), kept


def pca_map(features: np.ndarray, components: int = COMPONENTS) -> RoutingMap:
    """The map of features [P, D] by their principal components.

    Raises MapError for fewer than three points, which lie on a line, or when all are alike.
    """
    if len(features) < 3:
        raise MapError(f"A map needs at least 3 passages; there are {len(features)}.")
    features = np.ascontiguousarray(features, dtype=np.float32)
    mean = features.mean(axis=0)
    centred = features - mean
    if not np.abs(centred).max() > 1e-7:
        raise MapError("All passages are routed exactly alike, so there is nothing to map.")
    size = max(2, min(components, *features.shape))
    axes, explained = _principal(centred, size)
    reduced = np.ascontiguousarray(centred @ axes.T)
    return RoutingMap(mean, axes, explained, reduced, reduced[:, :2].copy())


def with_layout(routing_map: RoutingMap, coordinates: np.ndarray, seed: int) -> RoutingMap:
    """The same map, drawn at the coordinates [P, 2] that UMAP found from `seed`."""
    return replace(routing_map, coordinates=coordinates, kind="umap", seed=seed)


def place(routing_map: RoutingMap, features: np.ndarray, neighbours: int = NEIGHBOURS) -> Placed:
    """Passages with features [Q, D] on the map, each between its nearest points.

    The mean of the neighbours' coordinates, weighted by 1 / distance: as faithful as UMAP's own
    transform, in a hundredth of the time. On a map by PCA a passage is simply projected.
    Raises MapError when the features are not those of the map's model.
    """
    if features.shape[1] != len(routing_map.mean):
        raise MapError(
            f"The passage has {features.shape[1]} routing features, but this map was made from "
            f"{len(routing_map.mean)}: it belongs to another model."
        )
    reduced = (features - routing_map.mean) @ routing_map.components.T
    near, distance = nearest(
        routing_map.reduced, reduced, min(neighbours, len(routing_map.reduced))
    )
    if routing_map.kind == "pca":
        coordinates = reduced[:, :2]
    else:
        weight = 1 / np.maximum(distance, 1e-6)
        weight /= weight.sum(axis=1, keepdims=True)
        coordinates = (weight[..., None] * routing_map.coordinates[near]).sum(axis=1)
    return Placed(coordinates, near, distance, distance[:, 0] > routing_map.usual_gap)


def nearest(points: np.ndarray, queries: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
    """([Q, N] ids, [Q, N] Euclidean distances) of the points [P, C] nearest to queries [Q, C]."""
    squares = (points**2).sum(axis=1)
    apart = squares - 2 * queries @ points.T + (queries**2).sum(axis=1, keepdims=True)
    ids = np.argpartition(apart, count - 1, axis=1)[:, :count]
    exact = np.linalg.norm(points[ids] - queries[:, None], axis=-1)  # without cancellation
    order = np.argsort(exact, axis=1, kind="stable")
    return np.take_along_axis(ids, order, 1), np.take_along_axis(exact, order, 1)


def save_map(routing_map: RoutingMap, path: str | Path) -> Path:
    """Writes the map as a safetensors file: arrays and a few words, nothing that can run."""
    from safetensors.numpy import save_file  # late: a map is seldom written

    arrays = {name: np.ascontiguousarray(getattr(routing_map, name)) for name in _ARRAYS}
    seed = "" if routing_map.seed is None else str(routing_map.seed)
    with whole_file(path) as draft:
        save_file(arrays, str(draft), metadata={"kind": routing_map.kind, "seed": seed})
    return Path(path)


def open_map(path: str | Path) -> RoutingMap:
    """The map in a file that `save_map` wrote; raises MapError for anything else."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(str(path), "numpy") as file:
            arrays = {name: file.get_tensor(name) for name in _ARRAYS}
            words = file.metadata()
        seed = int(words["seed"]) if words["seed"] else None
        return RoutingMap(**arrays, kind=words["kind"], seed=seed)
    except (SafetensorError, OSError, KeyError, ValueError) as error:
        raise MapError(f"{path} is not a map that MoEViz wrote: {error}") from error


_ARRAYS = ("mean", "components", "explained", "reduced", "coordinates")


def _principal(centred: np.ndarray, size: int) -> tuple[np.ndarray, np.ndarray]:
    """([C, D] principal axes, [C] share of the variance) of centred features [P, D]."""
    from sklearn.decomposition import PCA  # late: it takes a second

    points, width = centred.shape
    whole, small = width <= min(_SQUARE, points), min(points, width) <= _SMALL
    solver = "covariance_eigh" if whole else "full" if small else "randomized"
    found = PCA(size, svd_solver=solver, random_state=0).fit(centred)
    return found.components_.astype(np.float32), found.explained_variance_ratio_
