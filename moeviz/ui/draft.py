"""What a visitor wants to have written, and the same as a link."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace

from moeviz.ui.house import most_new_tokens
from moeviz.ui.setting import number, whole
from moeviz.ui.view import text_for_link

MOST_TOKENS = 2000
"""New tokens that can be asked for at once."""

MOST_SEED = 2**31 - 1

FIRST_PROMPT = "The old lighthouse keeper"


@dataclass(frozen=True)
class Draft:
    """prompt: the text to continue. most: new tokens at most. temperature: 0 takes the likeliest
    token. top_p: sample among the likeliest tokens that together have this probability. seed: of
    the sampling.
    """

    prompt: str = FIRST_PROMPT
    most: int = 60
    temperature: float = 0.8
    top_p: float = 0.95
    seed: int = 0


PARAMETERS = tuple(field.name for field in fields(Draft))


def to_link(draft: Draft) -> dict[str, str]:
    """The draft as link parameters; what equals the first draft is left out, as is a prompt too
    long for an address."""
    first, words = Draft(), {}
    for name in PARAMETERS:
        value = getattr(draft, name)
        if value != getattr(first, name):
            words[name] = f"{value:g}" if isinstance(value, float) else str(value)
    if text_for_link(draft.prompt) is None:
        words.pop("prompt", None)
    return words


def from_link(link: Mapping[str, str]) -> Draft:
    """The draft a link asks for; whatever in it makes no sense is passed over."""
    draft = Draft(most=most_new_tokens(Draft.most))
    prompt = link.get("prompt", "")
    if prompt.strip() and text_for_link(prompt):
        draft = replace(draft, prompt=prompt)
    for name, low, high in (("most", 1, most_new_tokens(MOST_TOKENS)), ("seed", 0, MOST_SEED)):
        count = whole(link.get(name), low, high)
        if count is not None:
            draft = replace(draft, **{name: count})
    temperature, top_p = number(link.get("temperature")), number(link.get("top_p"))
    if temperature is not None and 0 <= temperature <= 10:
        draft = replace(draft, temperature=temperature)
    if top_p is not None and 0 < top_p <= 1:
        draft = replace(draft, top_p=top_p)
    return draft
