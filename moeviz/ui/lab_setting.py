"""The algorithms that the visitor compares and their settings, and the same as a link."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from moeviz.metrics.load import layer_sizes
from moeviz.rules.routing import ALGORITHMS, RoutingRule
from moeviz.trace import RoutingTrace

MOST_AT_ONCE = 2
"""Algorithms beside the model's own route at a time."""

LIMITS: dict[str, tuple[float, float]] = {
    "chosen": (1, 1024),
    "factor": (0.25, 8),
    "noise": (0, 10),
    "groups": (1, 1024),
    "kept": (1, 1024),
    "speed": (0.0001, 0.1),
    "steps": (10, 1000),
    "temperature": (0.1, 10),
    "seed": (0, 9999),
}
"""Smallest and largest value of each setting that the page offers."""

LINK_NAMES = {"chosen": "k", "factor": "cf", "kept": "keep"}
"""Settings that are called otherwise in an address."""

PARAMETERS = ("algorithms", "moment", *(LINK_NAMES.get(name, name) for name in LIMITS))


@dataclass(frozen=True)
class Lab:
    """names: one or two algorithms. settings: what the visitor set; the rest follows the model.

    moment: step of loss-free balancing to look at, None for the last.
    """

    names: tuple[str, ...] = ("expert-choice",)
    settings: Mapping[str, float] = field(default_factory=dict)
    moment: int | None = None

    def rule(self, name: str, trace: RoutingTrace, row: int) -> RoutingRule:
        """The algorithm `name` with the visitor's settings, else those that fit this layer."""
        return replace(RoutingRule(name), **(_fitting(trace, row) | dict(self.settings)))


def _fitting(trace: RoutingTrace, row: int) -> dict[str, int]:
    """The model's own K, and about four groups of which a token keeps no more than it must use."""
    experts, chosen = (int(sizes[row]) for sizes in layer_sizes(trace))
    groups = min(group_choices(experts), key=lambda g: (abs(g - 4), g))
    least = math.ceil(chosen * groups / experts)
    kept = max(1, least, min(groups, chosen) // 2)
    return {"chosen": chosen, "groups": groups, "kept": kept}


def group_choices(experts: int) -> list[int]:
    """Numbers of equal groups, more than one where there are any."""
    return [n for n in range(2, experts) if experts % n == 0] or [1]


def changed(lab: Lab, wish: Mapping[str, object]) -> Lab:
    """The lab with every valid part of `wish` taken over; `wish` comes from outside."""
    names = wish.get("names")
    if isinstance(names, list | tuple):
        known = [name for name in dict.fromkeys(names) if name in ALGORITHMS]
        lab = replace(lab, names=tuple(known[-MOST_AT_ONCE:]) or lab.names)
    settings = dict(lab.settings)
    for name, (low, high) in LIMITS.items():
        whole = isinstance(getattr(RoutingRule, name), int)
        value = _number(wish.get(name), whole)
        if value is not None and low <= value <= high:
            settings[name] = value
    moment = lab.moment
    if "moment" in wish:
        moment = _number(wish["moment"], True)
        moment = moment if moment is not None and 0 <= moment <= LIMITS["steps"][1] else None
    return replace(lab, settings=settings, moment=moment)


def to_link(lab: Lab) -> dict[str, str]:
    """The lab as link parameters; what equals the first lab is left out."""
    link = {} if lab.names == Lab().names else {"algorithms": ",".join(lab.names)}
    link |= {LINK_NAMES.get(name, name): f"{value:g}" for name, value in lab.settings.items()}
    return link if lab.moment is None else link | {"moment": str(lab.moment)}


def from_link(link: Mapping[str, str]) -> Lab:
    """The lab a link asks for; whatever in it makes no sense is passed over."""
    wish: dict[str, object] = {name: link.get(LINK_NAMES.get(name, name)) for name in LIMITS}
    wish["names"] = link.get("algorithms", "").split(",")
    if "moment" in link:
        wish["moment"] = link["moment"]
    return changed(Lab(), wish)


def _number(value: object, whole: bool) -> float | int | None:
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        number = float(value)
    except (ValueError, OverflowError):
        return None
    if not math.isfinite(number) or (whole and number != int(number)):
        return None
    return int(number) if whole else number
