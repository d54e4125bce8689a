"""Rules from their short form: what `str(rule)` writes, read back."""

from __future__ import annotations

import re
from collections.abc import Callable

from moeviz.rules.capacity import CONVENTIONS, PRIORITIES, CapacityRule, RuleError
from moeviz.rules.interventions import (
    Assign,
    ChangeK,
    Force,
    MaskGroups,
    Mute,
    Noise,
    Part,
    RandomExperts,
    Route,
    Rule,
    Steer,
    Swap,
    Temperature,
)
from moeviz.rules.routing import rule_from_words

MOST_NUMBERS = 100_000
"""Most numbers that a text may list: it comes from links."""

_LAYERS = r"(?P<layers>\*|[0-9a-h,-]+)"
_NUMBERS = r"[0-9,-]+"
_NUMBER = r"[0-9]*\.?[0-9]+(?:[eE]-?[0-9]+)?"


def parse_rule(text: str) -> Rule:
    """The rule that `text` writes, parts separated by ";"; see `moeviz.rules.interventions`.

    An empty text is the empty rule. Raises RuleError, with an example, for what is no rule.
    """
    return Rule(tuple(_part(words.strip()) for words in text.split(";") if words.strip()))


def _part(words: str) -> Part | CapacityRule:
    words = re.sub(r"\s+", " ", words)
    verb = re.match(r"[a-z]*", words).group()
    if verb not in READERS:
        known = ", ".join(sorted(READERS))
        raise RuleError(f"{_quoted(words)} is not a rule: it must begin with one of {known}.")
    pattern, read, example = READERS[verb]
    found = re.fullmatch(pattern + _SCOPE.get(verb, _ANYWHERE), words)
    if found is None:
        raise RuleError(f"{_quoted(words)} could not be read. Write it like this: {example}.")
    return read(found.groupdict())


_TOKENS = rf"(?: tokens? (?P<tokens>{_NUMBERS}))?"
_ANYWHERE = rf"(?: @{_LAYERS})?{_TOKENS}"
_SCOPE = dict.fromkeys(("mute", "force", "swap", "route", "mask", "steer"), _TOKENS)
_SCOPE["capacity"] = ""


def scope(found: dict) -> dict:
    """The layers and tokens that a part was read with, as its keyword arguments."""
    layers, tokens = found["layers"], found.get("tokens")
    return {
        "layers": None if layers in (None, "*") else _layers(layers),
        "tokens": None if tokens is None else _numbers(tokens),
    }


def _layers(words: str) -> list[str]:
    names: list[str] = []
    for name in words.split(","):
        names += map(str, _numbers(name)) if "-" in name else [name]
    return names


def _numbers(words: str) -> list[int]:
    """Whole numbers from "0-3,7"."""
    found: list[int] = []
    for piece in words.split(","):
        ends = piece.split("-")
        if not all(end.isdigit() and len(end) < 8 for end in ends) or len(ends) > 2:
            raise RuleError(f"{_quoted(words)} is not a list of whole numbers such as 0-3,7.")
        first, last = int(ends[0]), int(ends[-1])
        if last - first + len(found) >= MOST_NUMBERS:
            raise RuleError(f"A rule may list at most {MOST_NUMBERS:,} numbers.")
        found += range(first, last + 1)
    return found


def _mute(found: dict) -> Mute:
    return Mute(_numbers(found["experts"]), bool(found["drop"]), **scope(found))


def _mask(found: dict) -> MaskGroups:
    groups, of = _numbers(found["experts"]), int(found["of"])
    return MaskGroups(groups, of, bool(found["drop"]), **scope(found))


def _swap(found: dict) -> Swap:
    return Swap(int(found["old"]), int(found["new"]), **scope(found))


def _steer(found: dict) -> Steer:
    pushed = [(word[0], int(word[1:])) for word in found["experts"].split(",")]
    up, down = ([e for way, e in pushed if way == sign] for sign in "+-")
    return Steer(up, down, **scope(found))


def _noise(found: dict) -> Noise:
    return Noise(float(found["std"]), int(found["seed"] or 0), **scope(found))


def _capacity(found: dict) -> CapacityRule:
    amount, convention = found["amount"], found["convention"]
    size = {"absolute": int(float(amount))} if convention == "absolute" else {
        "factor": float(amount)
    }  # fmt: skip
    return CapacityRule(
        convention=convention,
        priority=found["priority"] or "position",
        group=int(found["group"]) if found["group"] else None,
        seed=int(found["seed"] or 0),
        **size,
    )


READERS: dict[str, tuple[str, Callable[[dict], Part | CapacityRule], str]] = {
    "mute": (rf"mute {_LAYERS}:(?P<experts>{_NUMBERS})(?P<drop> drop)?", _mute, "mute 3:17"),
    "mask": (
        rf"mask {_LAYERS}:(?P<experts>{_NUMBERS}) of (?P<of>[0-9]{{1,6}})(?P<drop> drop)?",
        _mask,
        "mask 3:1 of 4",
    ),
    "force": (
        rf"force {_LAYERS}:(?P<experts>{_NUMBERS})",
        lambda found: Force(_numbers(found["experts"]), **scope(found)),
        "force 3:17",
    ),
    "route": (
        rf"route {_LAYERS}:(?P<experts>{_NUMBERS})",
        lambda found: Route(_numbers(found["experts"]), **scope(found)),
        "route 3:4,9 token 5",
    ),
    "swap": (
        rf"swap {_LAYERS}:(?P<old>[0-9]{{1,7}})>(?P<new>[0-9]{{1,7}})",
        _swap,
        "swap 3:17>4 token 5",
    ),
    "steer": (
        rf"steer {_LAYERS}:(?P<experts>[+-][0-9]{{1,7}}(?:,[+-][0-9]{{1,7}})*)",
        _steer,
        "steer 3:+17,-4",
    ),
    "k": (
        r"k ?= ?(?P<k>[0-9]{1,6})",
        lambda found: ChangeK(int(found["k"]), **scope(found)),
        "k=1 @2",
    ),
    "temperature": (
        rf"temperature (?P<value>{_NUMBER})",
        lambda found: Temperature(float(found["value"]), **scope(found)),
        "temperature 0.5",
    ),
    "noise": (
        rf"noise (?P<std>{_NUMBER})(?: seed (?P<seed>[0-9]{{1,9}}))?",
        _noise,
        "noise 1 seed 0",
    ),
    "random": (
        r"random(?: seed (?P<seed>[0-9]{1,9}))?",
        lambda found: RandomExperts(int(found["seed"] or 0), **scope(found)),
        "random seed 0 @2",
    ),
    "assign": (
        r"assign (?P<words>[a-z-]+(?: [a-z]+=[0-9.e+-]+)*)",
        lambda found: Assign(rule_from_words(found["words"]), **scope(found)),
        "assign expert-choice factor=1.25",
    ),
    "capacity": (
        rf"capacity (?P<convention>{'|'.join(CONVENTIONS)}) (?P<amount>{_NUMBER})"
        rf"(?: by (?P<priority>{'|'.join(PRIORITIES)}))?(?: in groups of (?P<group>[0-9]{{1,9}}))?"
        r"(?: seed (?P<seed>[0-9]{1,9}))?",
        _capacity,
        "capacity vmoe 1.25 by position",
    ),
}
"""By first word: what follows it, how it is read, and an example.

A module that adds a kind of part adds its reader here: a pattern for what stands before the
layers (" @2") and tokens (" tokens 3-5"), which are read alike for all, see `scope`.
"""


def _quoted(words: str) -> str:
    return '"' + (words if len(words) <= 60 else words[:60] + "…") + '"'
