"""What the visitor asks on the Specialise page, and the same as a link; checked on the way in."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace

DATA = {"atlas": "Atlas", "olmoe": "OLMoE and Mixtral, published", "own": "Your own file"}
"""Texts to choose from: the name in links, and the word on screen."""

PUBLISHED = {"olmoe": "OLMoE", "mixtral": "Mixtral"}
"""Published routing: two models side by side, and whose cards are shown."""

SECTIONS = {
    "map": "Map",
    "labels": "Who reads what",
    "layers": "Layer by layer",
    "experts": "Expert cards",
    "habits": "Habits",
    "clusters": "Clusters",
    "training": "Through training",
    "texts": "The texts",
}
"""Parts of the page: the name in links, and the word on screen."""

OF_COUNTS = ("labels", "layers", "experts", "texts")
"""Those that published counts can fill, which hold no passages and are of no model at hand."""

HABITS = {
    "company": "Who fires together",
    "words": "What a token settles",
    "phases": "Reading and writing",
}
KINDS = {"input": "Read", "next": "Next in the text", "predicted": "Predicted by the model"}
"""Tokens that experts were counted against, where each choice was made."""

VARIANT_WORDS = {"paper": "All pairs (paper)", "script": "Neighbours in rank (published script)"}
"""Ways to count experts that fire together."""

VIEWS = {"umap": "UMAP", "pca": "Principal components"}
POINTS = {"passages": "Passages", "experts": "Experts"}
LOAD = "load"
"""The colouring by one expert's share, beside those by a label."""

LONGEST_ASK = 200
"""Characters of a question that are read."""

MOST_SEED = 2**31 - 1

PARAMETERS = (
    "data",
    "section",
    "of",
    "view",
    "by",
    "seed",
    "layer",
    "expert",
    "ask",
    "groups",
    "moment",
    "habit",
    "kind",
    "variant",
)


@dataclass(frozen=True)
class Inquiry:
    """data, section: see above. of, view, by, seed: what the map shows, how, coloured, laid out.

    layer: place of the routed layer in the model, as a label; expert: its number; both None
    until picked. ask: the question in the search box. groups: of the clusters. moment: of
    training, counted from 0. habit, kind, variant: which habit, of which tokens, counted how.
    """

    data: str = "atlas"
    section: str = "map"
    of: str = "passages"
    view: str = "umap"
    by: str = ""
    seed: int = 42
    layer: str | None = None
    expert: int | None = None
    ask: str = ""
    groups: int = 20
    moment: int = 9
    habit: str = "company"
    kind: str = "input"
    variant: str = "paper"


def changed(inquiry: Inquiry, wish: Mapping[str, object]) -> Inquiry:
    """The inquiry with every valid part of `wish` taken over; `wish` may come from a link.

    layer, expert and by are words here; the page passes over what its data do not have.
    """
    parts: dict[str, object] = {}
    choices = {
        "data": DATA | PUBLISHED, "section": SECTIONS, "of": POINTS, "view": VIEWS,
        "habit": HABITS, "kind": KINDS, "variant": VARIANT_WORDS,
    }  # fmt: skip
    for name, known in choices.items():
        if isinstance(wish.get(name), str) and wish[name] in known:
            parts[name] = wish[name]
    for name, longest in (("by", 60), ("layer", 8), ("ask", LONGEST_ASK)):
        if isinstance(wish.get(name), str):
            parts[name] = wish[name][:longest].strip()
    for name, most in (("expert", 100_000), ("seed", MOST_SEED), ("moment", 999)):
        number = _whole(wish.get(name))
        if number is not None and number <= most:
            parts[name] = number
    groups = _whole(wish.get("groups"))
    if groups is not None and 2 <= groups <= 1000:
        parts["groups"] = groups
    for name in ("layer", "expert"):
        if name in wish and wish[name] is None:
            parts[name] = None
    return replace(inquiry, **parts)


def to_link(inquiry: Inquiry) -> dict[str, str]:
    """The inquiry as link parameters; what equals the first one is left out, but for the section
    where an expert is picked, which alone would open its card."""
    first = Inquiry()
    values = {field.name: getattr(inquiry, field.name) for field in fields(inquiry)}
    link = {n: str(v) for n, v in values.items() if v is not None and v != getattr(first, n)}
    return link | ({"section": inquiry.section} if inquiry.expert is not None else {})


def from_link(link: Mapping[str, str]) -> Inquiry:
    """The inquiry a link asks for; whatever in it makes no sense is passed over.

    A link to a layer's expert alone opens that expert's card.
    """
    wish = dict(link)
    if "expert" in link and "section" not in link:
        wish["section"] = "experts"
    return changed(Inquiry(), wish)


def _whole(value: object) -> int | None:
    if isinstance(value, bool):
        return None
    if isinstance(value, int) and value >= 0:
        return value
    if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) < 11:
        return int(value)
    return None
