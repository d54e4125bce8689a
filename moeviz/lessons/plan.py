"""A workshop of 30, 60 or 90 minutes: what to do when, and where."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Task:
    """One step of a workshop. minutes: how long. page, link: where; "" for talk without a page."""

    minutes: int
    what: str
    page: str
    link: Mapping[str, str] = field(default_factory=dict)


def _lesson(minutes: int, what: str, name: str) -> Task:
    return Task(minutes, what, "learn", {"lesson": name})


PLANS: dict[int, tuple[Task, ...]] = {
    30: (
        Task(4, "Everybody pastes a sentence and says which experts fire", "explore"),
        _lesson(5, "Why is a big model not slow?", "sparse"),
        _lesson(7, "How does a router decide?", "router"),
        _lesson(8, "Why do experts starve? Train the toy together", "balance"),
        _lesson(4, "What if an expert is full?", "capacity"),
        Task(2, "What surprised you? One word each", "explore"),
    ),
    60: (
        Task(6, "Everybody pastes a sentence and says which experts fire", "explore"),
        _lesson(6, "Why is a big model not slow?", "sparse"),
        _lesson(8, "How does a router decide?", "router"),
        _lesson(6, "How many experts does a token need?", "top-k"),
        _lesson(10, "Why do experts starve? Train the toy together", "balance"),
        _lesson(8, "What if an expert is full?", "capacity"),
        Task(6, "Drop tokens for real, and read the cost", "capacity", {"factor": "1"}),
        _lesson(6, "Who chooses whom?", "algorithms"),
        Task(4, "What surprised you? One sentence each", "explore"),
    ),
    90: (
        Task(8, "Everybody pastes a sentence and says which experts fire", "explore"),
        _lesson(7, "Why is a big model not slow?", "sparse"),
        _lesson(9, "How does a router decide?", "router"),
        _lesson(7, "How many experts does a token need?", "top-k"),
        _lesson(7, "What is an expert for?", "purpose"),
        _lesson(11, "Why do experts starve? Train the toy together", "balance"),
        _lesson(7, "What if an expert is full?", "capacity"),
        Task(7, "Mute an expert, and read what it costs", "what-if"),
        _lesson(6, "Who chooses whom?", "algorithms"),
        _lesson(6, "What does serving it cost?", "serving"),
        _lesson(5, "Is it just an ensemble?", "ensembles"),
        Task(6, "Take a vendor's claim apart", "models"),
        Task(4, "What surprised you? One sentence each", "explore"),
    ),
}
"""Minutes to the steps; the steps of a plan add up to it."""


def clock(tasks: tuple[Task, ...]) -> list[str]:
    """When each task begins, as "0:00"."""
    starts, at = [], 0
    for task in tasks:
        starts.append(f"{at // 60}:{at % 60:02d}")
        at += task.minutes
    return starts
