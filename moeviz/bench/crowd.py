"""Does it hold with a room full of people? Every answer is checked, then timed.

Each visitor pastes texts of their own, changes layers and colours and goes to another page and
back, with pauses as people make them, while somebody lets the model write all the time. After
every action the text on screen must be the visitor's own, with the routing that this process
computes for it; and nothing that was ever sent to a visitor may hold a word of another.
"""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from moeviz.bench.screen import running_app
from moeviz.bench.timing import Ratio
from moeviz.bench.visitor import Visitor
from moeviz.trace import MoevizError

Took = tuple[str, float]
"""(kind of action, seconds until it was answered)"""

PASTE, CLICK, PAGE = "a pasted text", "a change of layer or colour", "another page"
TICK = 0.15
"""Seconds between two looks of somebody who watches the model write."""

ALLOWED = {PASTE: 2.0, CLICK: 2.0, PAGE: 4.0}
"""Seconds within which 95 of 100 answers are wanted."""


def crowd_speed(people: int = 30, actions: int = 10, pause: float = 10.0) -> list[Ratio]:
    """How long answers take, as a share of what is allowed; raises MoevizError for a wrong one."""
    with running_app() as url:
        took = crowd(url, people, actions, pause)
    return [row for kind in ALLOWED for row in _rows(kind, people, took)]


def crowd(url: str, people: int, actions: int, pause: float = 0.0, writers: int = 1) -> list[Took]:
    """What each action took when `people` visitors did `actions` each, all answers checked.

    pause: mean seconds that a visitor looks at an answer; 0 for people who never look.
    """
    with Visitor(url) as first:  # the model is loaded once, by the first to come
        first.open()
    leaving = threading.Event()
    with ThreadPoolExecutor(people + writers) as pool:
        writing = [pool.submit(_write, url, leaving) for _ in range(writers)]
        ready = threading.Barrier(people)
        visits = [pool.submit(_visit, url, n, actions, pause, ready) for n in range(people)]
        try:
            seen = [visit.result() for visit in visits]
        finally:
            leaving.set()
        for one in writing:
            one.result()
    _check_routes([view for _, views in seen for view in views])
    return [each for took, _ in seen for each in took]


def _word(number: int) -> str:
    """A word that only one visitor uses."""
    return f"quartz{number:03d}zebra"


def _visit(
    url: str, number: int, actions: int, pause: float, ready: threading.Barrier
) -> tuple[list, list]:
    """What the actions took; and after each, the text and what was shown of it."""
    with Visitor(url) as visitor:
        visitor.open()
        ready.wait()
        took, views, text = [], [], ""
        rng = np.random.default_rng(number)
        for action in range(actions):
            time.sleep(pause * rng.uniform(0, 2))
            do = ACTIONS[action % len(ACTIONS)]
            if do is _paste:
                text = f"{_word(number)} counted {action} ships. " * (1 + (number + action) % 8)
            took += do(visitor, text, action)
            if visitor.troubles:
                raise MoevizError(f"A visitor was shown an error: {visitor.troubles[0]}")
            views.append((text, visitor.picture))
        _check_nothing_foreign(visitor, number)
        return took, views


def _paste(visitor: Visitor, text: str, action: int) -> list[Took]:
    return [(PASTE, visitor.run_text(text))]


def _layer(visitor: Visitor, text: str, action: int) -> list[Took]:
    return [(CLICK, visitor.choose("layer", str(action % 6)))]


def _colour(visitor: Visitor, text: str, action: int) -> list[Took]:
    return [(CLICK, visitor.choose("colour", ("Confidence", "Top expert")[action % 2]))]


def _page(visitor: Visitor, text: str, action: int) -> list[Took]:
    return [(PAGE, visitor.open("Capacity")), (PAGE, visitor.open("Explore", text=text))]


ACTIONS: list[Callable] = [_paste, _layer, _paste, _colour, _page]
"""What a visitor does in turn."""


def _check_routes(views: list[tuple[str, dict]]) -> None:
    """Every picture is of the trace that this process makes of the visitor's own text."""
    from moeviz.models import load_model, trace_text  # late: only a run needs them

    model = load_model("demo")
    keys = {text: trace_text(model, text, truncate=True).key for text in {t for t, _ in views}}
    for text, picture in views:
        if picture["key"] != keys[text]:
            shown = "".join(picture["units"])
            raise MoevizError(f"Who pasted {text!r} was shown {shown!r}, or wrong routes.")


def _check_nothing_foreign(visitor: Visitor, number: int) -> None:
    words = {int(n) for data in visitor.received for n in re.findall(rb"quartz(\d{3})zebra", data)}
    if number not in words:
        raise MoevizError("A visitor's own word never came back, so the check proves nothing.")
    if words != {number}:
        raise MoevizError(f"Visitor {number} was sent texts of others: {sorted(words)}.")


def _write(url: str, leaving: threading.Event) -> None:
    """Let the model write without end, as a visitor who watches would."""
    with Visitor(url) as visitor:
        visitor.open()
        while not leaving.is_set():
            visitor.open("Generate", prompt="Once", most="400", seed="1", temperature="1")
            while visitor.ticking and not leaving.wait(TICK):
                visitor.look_again()


def _rows(kind: str, people: int, took: list[Took]) -> list[Ratio]:
    """The median and the slowest of 95 in 100 answers of a kind."""
    seconds = np.array([each for name, each in took if name == kind])
    allowed, against = ALLOWED[kind], f"{1000 * ALLOWED[kind]:.0f} ms"
    low, middle, high, slow = np.quantile(seconds, (0.25, 0.5, 0.75, 0.95))
    spread = (low / allowed, high / allowed)
    who = f"{kind}, {people} visitors"
    return [
        Ratio(who, against, middle / allowed, *spread, None, middle, allowed, len(seconds)),
        Ratio(
            f"{who}, 95 of 100", against, slow / allowed, *spread, 1.0, slow, allowed, len(seconds)
        ),
    ]
