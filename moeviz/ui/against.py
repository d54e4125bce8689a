"""What the visitor compares with, and the same as a link: small values, each checked."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import streamlit as st

from moeviz.charts.compare import SHADES
from moeviz.ui.examples import EXAMPLES, MIXED
from moeviz.ui.view import text_for_link

WAYS = {
    "text": "Another text",
    "generated": "What the model writes next",
    "moment": "An earlier moment of training",
    "model": "Another model",
    "trace": "A saved trace",
}
"""What side B can be: the name in links, and the words on screen."""

MEASURES = {"evenness": "Evenness of the load", "repetition": "Repetition of neighbours"}
"""What two models can be compared by, layer by layer: the name in links, and the words."""

MOMENTS = 10
"""Moments of training that the demo model's record holds."""

MOST_NEW = 200
"""Tokens that a text can be continued by."""

PARAMETERS = ("against", "b", "blong", "bmodel", "kin", "new", "bseed", "moments", "passages",
              "btrace", "shade", "bmeasure")  # fmt: skip

IN_ENGLISH = """The old lighthouse keeper counted the ships before he went to sleep.
In the evening the baker closes his door and walks home.
def area(width, height):
    return width * height
A light rain fell in the night, and in the morning the streets are very quiet.
The kitchen smelled of bread, and the kettle hummed softly on the stove."""
"""The text of a first visit with every line in English."""

PAIRS: dict[str, tuple[str, str]] = {
    "Mixed and all in English": (MIXED, IN_ENGLISH),
    "English and French": (
        "Three friends walked to the harbour. They bought bread, cheese and apples, and then they "
        "sat down by the water and waited for the ship to come in.",
        "Trois amis marchaient vers le port. Ils ont acheté du pain, du fromage et des pommes, "
        "puis ils se sont assis au bord de l'eau et ont attendu l'arrivée du bateau.",
    ),
    "One word changed": (
        "The bank of the river was steep, and the children sat there and watched the boats go by "
        "until the evening came.",
        "The bank of the city was closed, and the children sat there and watched the boats go by "
        "until the evening came.",
    ),
    "Prose and code": (EXAMPLES["English"], EXAMPLES["Python"]),
}
"""Two texts to start from, by what sets them apart."""


@dataclass(frozen=True)
class Against:
    """way: one of WAYS. text: of side B, "" for one that goes with A's. model: its name.

    kin: the two models are checkpoints of one training run. new: tokens to continue by, and
    seed: of the dice that choose them.
    moments: earlier and later moment of training, counted from 0. passages: a language, "" for all.
    trace: key of a kept trace. lost: digest of a text that a link could not hold, else "".
    shade: what the texts are coloured by. measure: what two models are compared by.
    """

    way: str = "text"
    text: str = ""
    model: str = ""
    kin: bool = False
    new: int = 40
    seed: int = 0
    moments: tuple[int, int] = (4, MOMENTS - 1)
    passages: str = "en"
    trace: str = ""
    lost: str = ""
    shade: str = "change"
    measure: str = "evenness"


def partner(text: str) -> str:
    """A text to set beside `text`: the other half of its pair, else English or, then, French."""
    for one, other in PAIRS.values():
        if text in (one, other):
            return other if text == one else one
    return EXAMPLES["Français"] if text == EXAMPLES["English"] else EXAMPLES["English"]


def current() -> Against:
    """What the visitor compares with; a link that was just opened brings its own."""
    state = st.session_state
    wish = state.get("link_wish")
    if wish is not None and state.get("against_link") is not wish:
        state["against_link"], state["against"] = wish, from_link(wish)
    return state.setdefault("against", Against())


def set_against(**wish: object) -> None:
    """Change what is compared with; what makes no sense is passed over."""
    st.session_state["against"] = changed(current(), wish)


def changed(against: Against, wish: Mapping[str, object]) -> Against:
    """The choice with every valid part of `wish` taken over; `wish` comes from outside."""
    found: dict[str, object] = {}
    if wish.get("way") in WAYS:
        found["way"] = wish["way"]
    for name, choices in (("shade", SHADES), ("measure", MEASURES)):
        if wish.get(name) in choices:
            found[name] = wish[name]
    for name in ("text", "model", "passages", "trace", "lost"):
        if isinstance(wish.get(name), str):
            found[name] = wish[name]
    if isinstance(wish.get("kin"), bool):
        found["kin"] = wish["kin"]
    for name, low, high in (("new", 1, MOST_NEW), ("seed", 0, 99_999)):
        if isinstance(wish.get(name), int) and low <= wish[name] <= high:
            found[name] = wish[name]
    match wish.get("moments"):
        case (int(start), int(end)) if 0 <= start < end < MOMENTS:
            found["moments"] = (start, end)
    return replace(against, **found)


def to_link(against: Against, digest: str = "") -> dict[str, str]:
    """The choice as link parameters; what is not in use, or as at first, is left out.

    digest: of B's text, which stands for it where the text is too long for a link.
    """
    first, way = Against(), against.way
    link = {} if way == first.way else {"against": way}
    if against.shade != first.shade:
        link["shade"] = against.shade
    if way == "text" and against.text:
        fits = text_for_link(against.text)
        link |= {"b": against.text} if fits else {"blong": digest}
    if against.measure != first.measure:
        link["bmeasure"] = against.measure
    if way == "model" and against.model:
        link |= {"bmodel": against.model, **({"kin": "1"} if against.kin else {})}
    if way == "trace" and against.trace:
        link["btrace"] = against.trace
    if way == "generated":
        for name, own in (("new", "new"), ("bseed", "seed")):
            if getattr(against, own) != getattr(first, own):
                link[name] = str(getattr(against, own))
    if way == "moment":
        if against.moments != first.moments:
            link["moments"] = "-".join(map(str, against.moments))
        if against.passages != first.passages:
            link["passages"] = against.passages
    return link


def from_link(link: Mapping[str, str]) -> Against:
    """What a link asks for; whatever in it makes no sense is passed over."""
    names = {"against": "way", "b": "text", "bmodel": "model", "btrace": "trace", "blong": "lost",
             "passages": "passages", "shade": "shade", "bmeasure": "measure"}  # fmt: skip
    wish: dict[str, object] = {own: link[name] for name, own in names.items() if name in link}
    if not text_for_link(link.get("b", "")):
        wish.pop("text", None)
    wish["kin"] = link.get("kin") == "1"
    wish["moments"] = tuple(_whole(part) for part in link.get("moments", "").split("-"))
    wish |= {"new": _whole(link.get("new", "")), "seed": _whole(link.get("bseed", ""))}
    return changed(Against(), wish)


def _whole(digits: str) -> int | None:
    return int(digits) if digits.isascii() and digits.isdigit() and len(digits) < 6 else None
