"""What somebody claims of a model's size: does it add up, what is missing, what to ask?"""

from __future__ import annotations

from dataclasses import dataclass

from moeviz.rules.words import short_count
from moeviz.trace import MoevizError

FITS, STRANGE, IMPOSSIBLE, MISSING = "fits", "strange", "impossible", "missing"
"""What can be said of a claim, from good to bad; a finding has one of them."""


class ClaimError(MoevizError):
    """A claim with a number that no model can have."""


@dataclass(frozen=True)
class Claim:
    """total, active: parameters. experts: E of a layer. chosen: K. None: not said.

    digits: how exact total and active are meant, as a share (0.02: within 2 %).
    """

    total: float | None = None
    active: float | None = None
    experts: int | None = None
    chosen: int | None = None
    digits: float = 0.02

    def __post_init__(self) -> None:
        for name in ("total", "active", "experts", "chosen"):
            value = getattr(self, name)
            if value is not None and not value > 0:
                raise ClaimError(f"{name} is {value:g}; leave it empty or give a number above 0.")


@dataclass(frozen=True)
class Finding:
    """One thing that can be said of a claim, and what to ask its author."""

    verdict: str
    sentence: str
    ask: str = ""


@dataclass(frozen=True)
class Split:
    """A claim's total taken apart. always: parameters that every token uses. routed: in experts.

    From total = always + routed and active = always + routed · K / E.
    """

    always: float
    routed: float


def split(claim: Claim) -> Split | None:
    """The two parts that total, active, E and K imply; None where one of them is not said or
    every expert is used."""
    known = (claim.total, claim.active, claim.experts, claim.chosen)
    if None in known or claim.chosen >= claim.experts:
        return None
    routed = (claim.total - claim.active) / (1 - claim.chosen / claim.experts)
    return Split(claim.total - routed, routed)


def check(claim: Claim, usual: tuple[float, float]) -> list[Finding]:
    """What is impossible or strange, what fits, and what is missing, in this order of reading.

    usual: between which shares of a model's parameters are used by every token, in known models.
    """
    return [*_order(claim), *_share(claim, usual), *_missing(claim)]


def _order(claim: Claim) -> list[Finding]:
    found = []
    if claim.total and claim.active and claim.active > claim.total * (1 + claim.digits):
        found.append(
            Finding(
                IMPOSSIBLE,
                f"A token cannot use {short_count(claim.active)} of {short_count(claim.total)}.",
                "Are the two numbers swapped?",
            )
        )
    if claim.experts and claim.chosen and claim.chosen > claim.experts:
        found.append(
            Finding(
                IMPOSSIBLE,
                f"A router cannot choose {claim.chosen} of {claim.experts} experts.",
                "Are the two numbers swapped?",
            )
        )
    if claim.experts and claim.experts == claim.chosen:
        found.append(
            Finding(
                STRANGE,
                "Every expert is used for every token, so this is a dense model.",
                "Is a router there at all, and does it leave anything out?",
            )
        )
    return found


def _share(claim: Claim, usual: tuple[float, float]) -> list[Finding]:
    parts = split(claim)
    if parts is None or claim.active > claim.total * (1 + claim.digits):
        return []
    least = claim.total * claim.chosen / claim.experts
    if parts.always < -claim.digits * claim.total:
        return [
            Finding(
                IMPOSSIBLE,
                f"{claim.chosen} of {claim.experts} experts are {claim.chosen / claim.experts:.1%} "
                f"of the experts, so a token uses at least {short_count(least)} if all parameters "
                f"sat in experts. {short_count(claim.active)} is less.",
                "Is the embedding left out, do layers differ in E or K, or is a part of the "
                "experts counted twice?",
            )
        ]
    always = max(parts.always, 0)
    share = always / claim.total
    words = (
        f"The numbers imply {short_count(parts.routed)} in experts and {short_count(always)} "
        f"({share:.1%}) that every token uses: attention, embeddings, shared experts."
    )
    low, high = usual
    if low <= share <= high:
        return [Finding(FITS, words + " That is usual, so the numbers fit together.")]
    return [
        Finding(
            STRANGE,
            words + f" In the models listed here that share is {low:.1%} to {high:.1%}.",
            "What is in the part that every token uses: dense layers, shared experts, a vision "
            "encoder?",
        )
    ]


def _missing(claim: Claim) -> list[Finding]:
    asks = {
        "total": "How many parameters are there in all? They decide the memory.",
        "active": "How many parameters does a token use, and is the embedding counted? They "
        "decide the speed.",
        "experts": "How many experts has a layer, without the shared ones?",
        "chosen": "How many experts does a token use?",
    }
    names = {"total": "the total", "active": "the active parameters", "experts": "the number of "
             "experts", "chosen": "the experts a token uses"}  # fmt: skip
    gone = [name for name in asks if getattr(claim, name) is None]
    return [Finding(MISSING, f"Not said: {names[name]}.", asks[name]) for name in gone]


OTHERS = (
    "Which layers are routed, and do all of them have the same experts?",
    "Are there shared experts, and are they in the count?",
    "Is there a capacity limit, and what happens to a token that does not fit?",
    "In which number format do the stated memory and speed hold, and for how many texts at once?",
)
"""What to ask of any MoE whose author gives only totals."""
