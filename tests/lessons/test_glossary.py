"""Terms are linked once, and never inside what must stay as it is."""

import pytest

from moeviz.lessons.glossary import TERMS, explained_parts, linked
from moeviz.lessons.history import HISTORY


def test_the_first_mention_of_a_term_is_linked():
    assert linked("A router here, a router there.") == (
        "A [router](/learn?lesson=glossary&term=router) here, a router there."
    )


def test_pieces_make_up_the_text_and_the_first_mention_tells_what_it_means():
    text = "A router here, a router there, `experts`."
    parts = explained_parts(text)
    assert "".join(part if isinstance(part, str) else part[0] for part in parts) == text
    terms = [part for part in parts if not isinstance(part, str)]
    meaning = next(term.means for term in TERMS if term.slug == "router")
    assert terms[0] == ("router", "router", meaning)
    assert [slug for _, slug, _ in terms] == ["router", "expert"]
    assert explained_parts("tokenizer") == ["tokenizer"]


def test_the_longest_term_wins():
    assert "term=capacity-factor)" in linked("the capacity factor")
    assert "term=capacity)" not in linked("the capacity factor")


@pytest.mark.parametrize("text", ["`router`", "$router$", "**router**", "[router](x)"])
def test_code_formulas_links_and_bold_stay(text):
    assert linked(text) == text


@pytest.mark.parametrize(
    "text",
    ["tokenizer", "ST-MoE", r"ST\-MoE", "Soft MoE", "/data/experts/7", r"a router\_x", "x_moe"],
)
def test_a_term_inside_a_word_or_name_is_none(text):
    assert linked(text) == text


def test_terms_are_in_order_and_each_is_explained():
    names = [term.name.lower() for term in TERMS]
    assert names == sorted(names)
    assert all(term.means.endswith(".") for term in TERMS)
    words = [w.lower() for term in TERMS for w in (term.name, *term.also)]
    assert len(words) == len(set(words))


def test_history_is_in_order_and_sourced():
    years = [step.year for step in HISTORY]
    assert years == sorted(years)
    assert years[0] == 1991
    assert all("arXiv:" in step.source or "Neural Computation" in step.source for step in HISTORY)
