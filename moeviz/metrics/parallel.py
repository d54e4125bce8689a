"""If the experts were spread over several devices, how even would they be and what would they send?

A simulation on this text's routing: the model itself ran in one place.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from moeviz.metrics.load import expert_load, layer_sizes
from moeviz.rules.placement import PlacementError, balanced, contiguous, round_robin
from moeviz.trace import EMPTY, RoutingTrace

PLACEMENTS = ("contiguous", "round-robin", "balanced")


@dataclass(frozen=True)
class ParallelLoad:
    """Expert parallelism on D devices, layer by layer.

    places: [L][P] expert in each place, P / D places a device in order. assignments: [L, D]
    handled by each device. straggler: [L] busiest device over the mean; a layer takes as long as
    its busiest device, so 1 is ideal. transfers: [L] (token, other device) pairs: a token's hidden
    state travels once to each other device that holds one of its experts.
    bytes: [L] sent there and back (dispatch and combine), 2 * transfers * hidden * bytes a value;
    nan without `hidden`.
    """

    places: list[np.ndarray]
    assignments: np.ndarray
    straggler: np.ndarray
    transfers: np.ndarray
    bytes: np.ndarray


def parallel_load(
    trace: RoutingTrace,
    devices: int,
    placement: str = "contiguous",
    spare: int = 0,
    hidden: float = float("nan"),
    bytes_a_value: int = 2,
) -> ParallelLoad:
    """What `devices` devices would carry and send for this text.

    Tokens live on the devices in even stretches of the text. A replicated expert's replicas take
    its tokens in turn. spare: places a device has beyond its share, for replicas ("balanced").
    hidden: values in one token's hidden state. Raises PlacementError for what cannot be laid out.
    """
    if placement not in PLACEMENTS:
        raise PlacementError(f"{placement!r} is not one of {', '.join(PLACEMENTS)}.")
    load, (sizes, _) = expert_load(trace), layer_sizes(trace)
    places = [
        _places(load.counts[row][: sizes[row]], devices, placement, spare)
        for row in range(len(sizes))
    ]
    hosts = np.stack(
        [_hosts(trace.experts[row], places[row], devices) for row in range(len(sizes))]
    )
    homes = np.arange(len(trace.tokens)) * devices // len(trace.tokens)
    at = hosts[..., None] == np.arange(devices)  # [L, T, K, D]
    assignments = at.sum(axis=(1, 2))
    away = at.any(axis=2) & (np.arange(devices) != homes[:, None])
    transfers = away.sum(axis=(1, 2))
    return ParallelLoad(
        places=places,
        assignments=assignments,
        straggler=assignments.max(axis=1) / np.maximum(assignments.mean(axis=1), 1e-12),
        transfers=transfers,
        bytes=2 * transfers * hidden * bytes_a_value,
    )


def _places(counts: np.ndarray, devices: int, placement: str, spare: int) -> np.ndarray:
    if placement == "contiguous":
        return contiguous(len(counts), devices)
    if placement == "round-robin":
        return round_robin(len(counts), devices)
    return balanced(counts.astype(float), len(counts) + spare * devices, devices)


def _hosts(ids: np.ndarray, places: np.ndarray, devices: int) -> np.ndarray:
    """[T, K] device that runs each assignment, -1 for empty slots."""
    per_device = len(places) // devices
    hosts = np.full(ids.shape, EMPTY)
    for expert in np.unique(ids[ids != EMPTY]):
        where = np.flatnonzero(places == expert) // per_device
        mine = np.argwhere(ids == expert)
        hosts[tuple(mine.T)] = where[np.arange(len(mine)) % len(where)]
    return hosts
