"""The words of the field, each in two sentences; links to them stand all over the app."""

from __future__ import annotations

import re
from dataclasses import dataclass


@dataclass(frozen=True)
class Term:
    """name: as a heading. also: other spellings that mean it. means: what it is."""

    name: str
    also: tuple[str, ...]
    means: str

    @property
    def slug(self) -> str:
        """The name in links."""
        return re.sub(r"[^a-z0-9]+", "-", self.name.lower()).strip("-")


TERMS = tuple(
    Term(name, also, means)
    for name, also, means in (
        ("Active parameters", (), "The parameters that one token uses: everything but the experts "
         "it is not sent to. They decide the speed; all parameters together decide the memory."),
        ("Assignment", ("assignments",), "One token sent to one expert in one layer. A text of T "
         "tokens with top-K routing makes T times K assignments a layer."),
        ("Auxiliary loss", ("balance loss", "load-balancing loss"), "An extra term in training "
         "that grows when few experts get most tokens. In Switch Transformers it is E times the "
         "sum of f times P: share of first choices times mean probability."),
        ("Batch prioritised routing", (), "When experts have limited room, the tokens with the "
         "largest router probability are served first, wherever in the text they stand."),
        ("Capacity", ("expert capacity",), "How many tokens one expert takes. Hardware likes a "
         "fixed number, so some models and training systems set one."),
        ("Capacity factor", (), "Capacity over the even share: at 1 an expert has room for exactly "
         "its even share of assignments, at 2 for twice as many."),
        ("Chance level", ("chance",), "What a router that chooses at random would give for the "
         "same number of tokens and experts. A figure inside that band says nothing."),
        ("Dense model", ("dense",), "A model in which every token uses every parameter."),
        ("Dropped token", ("dropped", "overflow"), "An assignment whose expert has no room. "
         "If all of a token's experts are full, only the residual carries it on."),
        ("Expert", ("experts",), "One of several feed-forward networks of a layer. Expert 3 of "
         "layer 2 and expert 3 of layer 9 have only their number in common."),
        ("Expert choice", (), "The experts choose their tokens instead of the other way round. "
         "Every expert is full, but a token may get none, and later tokens matter for earlier "
         "ones."),
        ("Gate", ("gates", "combine weight", "combine weights"), "The weight by which the output "
         "of a chosen expert is really multiplied."),
        ("Layer", ("routed layer", "routed layers"), "One step of the model. In an MoE some or all "
         "layers are routed: they hold experts and a router."),
        ("Load", (), "How many assignments each expert of a layer gets."),
        ("Logit", ("logits", "router logits"), "The router's raw score for an expert, before it "
         "becomes a probability."),
        ("Loss-free balancing", ("loss-free bias",), "A bias for each expert is added to the score "
         "for the choice only, and moved up or down after every step as the expert got too little "
         "or too much."),
        ("MaxVio", (), "The busiest expert's load over the mean, minus one; 0 is perfect."),
        ("Mixture of experts", ("MoE",), "A layer with many expert networks and a router that "
         "sends each token to a few of them."),
        ("Residual", (), "What goes around a layer: its input, to which the layer's output is "
         "added."),
        ("Router", ("routers", "gating network"), "A small linear map that scores the experts for "
         "a token."),
        ("Shared expert", ("shared experts",), "An expert that every token passes through, besides "
         "those that the router chooses."),
        ("Sparse", ("sparse activation",), "Only a part of the parameters is used for a token."),
        ("Token", ("tokens",), "A piece of text as the model reads it: a word, a part of one, or a "
         "few bytes."),
        ("Top-k", ("top-1", "top-2"), "Each token goes to the k experts with the largest "
         "scores."),
    )
)  # fmt: skip
"""In alphabetical order."""


def linked(text: str, page: str = "learn") -> str:
    """Markdown in which the first mention of each term links to its meaning.

    Words in code, formulas, links and bold print stay as they are.
    """
    seen: set[str] = set()
    return "".join(
        part if i % 2 else _link_words(part, page, seen) for i, part in enumerate(_KEPT.split(text))
    )


def explained_parts(text: str) -> list[str | tuple[str, str, str]]:
    """The text in pieces: words as they are, and (word, slug, what it means) where a term first
    stands. Pieces in order make up the text.
    """
    seen: set[str] = set()
    parts: list[str | tuple[str, str, str]] = []
    for i, piece in enumerate(_WORDS.split(text)):
        term = _BY_WORD[piece.lower()] if i % 2 else None
        if term and term.slug not in seen:
            seen.add(term.slug)
            parts.append((piece, term.slug, term.means))
        elif piece:
            parts.append(piece)
    return parts


_KEPT = re.compile(r"(`[^`]*`|\$[^$]*\$|\[[^\]]*\]\([^)]*\)|\*\*[^*]*\*\*)")


def _link_words(text: str, page: str, seen: set[str]) -> str:
    def link(match: re.Match) -> str:
        term = _BY_WORD[match[0].lower()]
        if term.slug in seen:
            return match[0]
        seen.add(term.slug)
        return f"[{match[0]}](/{page}?lesson=glossary&term={term.slug})"

    return _WORDS.sub(link, text)


_BY_WORD = {word.lower(): term for term in TERMS for word in (term.name, *term.also)}
_WORDS = re.compile(
    r"(?<![\w/-])(?<!\bsoft )("
    + "|".join(sorted(map(re.escape, _BY_WORD), key=len, reverse=True))
    + r")(?![\w/]|\\_)",
    re.I,
)  # not inside names: ST-MoE, Soft MoE, org/router_model
