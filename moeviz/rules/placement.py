"""Which device holds which expert, when the experts of a layer are spread over several devices.

A placement is an array [P] of expert ids: P places, the same number on each device in order, an
expert in several places being replicated. The balanced placement follows the load: busy experts
are replicated, then the replicas are packed so that devices carry equal load (Expert Parallelism
Load Balancer of DeepSeek-V3, arXiv:2412.19437, §3.4; github.com/deepseek-ai/EPLB).
"""

from __future__ import annotations

import numpy as np

from moeviz.trace import MoevizError


class PlacementError(MoevizError):
    """Experts that cannot be laid out as asked, in one sentence."""


def contiguous(experts: int, devices: int) -> np.ndarray:
    """[E] experts in order: the first E / devices on the first device, and so on."""
    _whole(experts, devices)
    return np.arange(experts)


def round_robin(experts: int, devices: int) -> np.ndarray:
    """[E] experts dealt like cards: expert e on device e mod devices."""
    _whole(experts, devices)
    return np.arange(experts).reshape(-1, devices).T.ravel()


def balanced(
    load: np.ndarray, places: int, devices: int, nodes: int = 1, groups: int = 1
) -> np.ndarray:
    """[P] places for experts of `load` [E], busy ones replicated, devices as even as packing gets.

    places: P, at least E, a multiple of devices. With more than one node, expert groups are kept
    together on a node, so that group-limited routing sends a token to few nodes.

    Raises PlacementError when the numbers do not divide.
    """
    experts = len(load)
    _whole(places, devices)
    if places < experts:
        raise PlacementError(f"{experts} experts do not fit in {places} places.")
    if nodes > 1 and (groups % nodes or devices % nodes or experts % groups):
        raise PlacementError(
            f"{experts} experts in {groups} groups cannot be kept together on {nodes} nodes of "
            f"{devices} devices: each number must divide the one before."
        )
    if nodes <= 1:
        return _packed_replicas(load, np.arange(experts), places, devices)
    size = experts // groups
    by_group = load.reshape(groups, size).sum(axis=1)
    parts = []
    for members in pack(by_group, nodes):
        ids = (np.array(members)[:, None] * size + np.arange(size)).ravel()
        parts.append(_packed_replicas(load[ids], ids, places // nodes, devices // nodes))
    return np.concatenate(parts)


def pack(weights: np.ndarray, packs: int) -> list[list[int]]:
    """Items in `packs` packs of equal size and nearly equal weight.

    Heaviest first, each to the lightest pack that has room (greedy, longest processing time).
    """
    room = len(weights) // packs
    if room == 1:
        return [[item] for item in range(len(weights))]
    found: list[list[int]] = [[] for _ in range(packs)]
    total = np.zeros(packs)
    for item in np.argsort(-weights, kind="stable"):
        open_packs = [p for p in range(packs) if len(found[p]) < room]
        lightest = min(open_packs, key=lambda p: total[p])
        found[lightest].append(int(item))
        total[lightest] += weights[item]
    return found


def replicas(load: np.ndarray, places: int) -> np.ndarray:
    """[P] expert ids: each once, then again and again the one with the most load per replica."""
    owner = list(range(len(load)))
    count = np.ones(len(load))
    for _ in range(places - len(load)):
        busiest = int(np.argmax(load / count))
        owner.append(busiest)
        count[busiest] += 1
    return np.array(owner)


def device_load(load: np.ndarray, placement: np.ndarray, devices: int) -> np.ndarray:
    """[devices] load carried by each device, an expert's load being shared among its replicas."""
    copies = np.bincount(placement, minlength=len(load))
    return (load[placement] / copies[placement]).reshape(devices, -1).sum(axis=1)


def _packed_replicas(load: np.ndarray, ids: np.ndarray, places: int, devices: int) -> np.ndarray:
    owner = replicas(load, places)
    copies = np.bincount(owner, minlength=len(load))
    packed = pack(load[owner] / copies[owner], devices)
    return np.array([ids[owner[item]] for pack_ in packed for item in pack_])


def _whole(places: int, devices: int) -> None:
    if devices < 1 or places % devices:
        raise PlacementError(
            f"{places} places cannot be shared evenly by {devices} devices. "
            f"Choose a number of devices that divides {places}."
        )
