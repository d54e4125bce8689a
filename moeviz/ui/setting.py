"""The capacity rule and the devices as the visitor set them, and the same as a link."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from moeviz.charts.evenness import MEASURES
from moeviz.metrics.load import layer_sizes
from moeviz.metrics.parallel import PLACEMENTS
from moeviz.rules.capacity import CONVENTIONS, PRIORITIES, CapacityRule
from moeviz.trace import RoutingTrace

LOW, HIGH, STEP = 0.25, 4.0, 0.05
"""Capacity factors that the page offers."""

MOST_SPARE = 8
"""Spare places a device can have for replicas."""

MOST_COUNT = 1_000_000
"""Largest window and absolute capacity that can be asked for."""

PARAMETERS = ("factor", "convention", "priority", "group", "absolute", "devices", "placement",
              "spare", "balance")  # fmt: skip


@dataclass(frozen=True)
class Setting:
    """rule: the capacity rule. devices: 0 for the page's own choice. placement, spare: of experts.
    balance: what evenness is measured by.

    The first rule counts all choices of a token (V-MoE) and serves the text in its order.
    """

    rule: CapacityRule = field(default_factory=lambda: CapacityRule(convention="vmoe"))
    devices: int = 0
    placement: str = PLACEMENTS[0]
    spare: int = 1
    balance: str = "max_violation"


def changed(setting: Setting, wish: Mapping[str, object]) -> Setting:
    """The setting with every valid part of `wish` taken over; `wish` comes from outside."""
    rule, parts = setting.rule, {}
    for name, choices in (("convention", CONVENTIONS), ("priority", PRIORITIES)):
        if wish.get(name) in choices:
            parts[name] = wish[name]
    factor = number(wish.get("factor"))
    if factor is not None and LOW <= factor <= HIGH:
        parts["factor"] = round(factor, 2)
    for name in ("group", "absolute"):
        count = whole(wish.get(name), 1, MOST_COUNT)
        if count is not None:
            parts[name] = count
    if "group" in wish and wish["group"] is None:
        parts["group"] = None
    setting = replace(setting, rule=replace(rule, **parts))
    if wish.get("placement") in PLACEMENTS:
        setting = replace(setting, placement=str(wish["placement"]))
    if wish.get("balance") in MEASURES:
        setting = replace(setting, balance=str(wish["balance"]))
    for name, low, high in (("devices", 1, MOST_COUNT), ("spare", 0, MOST_SPARE)):
        count = whole(wish.get(name), low, high)
        if count is not None:
            setting = replace(setting, **{name: count})
    return setting


def to_link(setting: Setting) -> dict[str, str]:
    """The setting as link parameters; what equals the first setting is left out."""
    first = Setting()
    words = {}
    for name in PARAMETERS:
        holder, plain = (
            (setting.rule, first.rule) if hasattr(first.rule, name) else (setting, first)
        )
        value = getattr(holder, name)
        if value != getattr(plain, name):
            words[name] = f"{value:g}" if isinstance(value, float) else str(value)
    return words


def from_link(link: Mapping[str, str]) -> Setting:
    """The setting a link asks for; whatever in it makes no sense is passed over."""
    return changed(Setting(), {name: link[name] for name in PARAMETERS if name in link})


def device_choices(trace: RoutingTrace) -> list[int]:
    """Numbers of devices that share the experts of every layer evenly, 1 left out."""
    common = math.gcd(*(int(size) for size in layer_sizes(trace)[0]))
    return [d for d in range(2, common + 1) if common % d == 0]


def devices_shown(setting: Setting, trace: RoutingTrace) -> int:
    """The visitor's number of devices where it divides the experts, else the nearest to four."""
    choices = device_choices(trace)
    if setting.devices in choices:
        return setting.devices
    return min(choices, key=lambda d: (abs(d - 4), d)) if choices else 1


def number(value: object) -> float | None:
    """A finite number from a number or its words; None for anything else."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        return float(value) if math.isfinite(float(value)) else None
    except (ValueError, OverflowError):
        return None


def whole(value: object, low: int, high: int) -> int | None:
    """A whole number from low to high; None for anything else."""
    found = number(value)
    if found is None or found != int(found) or not low <= found <= high:
        return None
    return int(found)
