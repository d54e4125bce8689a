"""What is to be written, as a link: what fits is taken, the rest passed over."""

import pytest

from moeviz.ui.draft import PARAMETERS, Draft, from_link, to_link


def test_the_first_draft_has_an_empty_link():
    assert to_link(Draft()) == {}
    assert from_link({}) == Draft()


def test_a_link_brings_back_every_part():
    draft = Draft("Es war", most=9, temperature=0.0, top_p=0.5, seed=7)
    link = to_link(draft)
    assert link == {
        "prompt": "Es war", "most": "9", "temperature": "0", "top_p": "0.5", "seed": "7",
    }  # fmt: skip
    assert from_link(link) == draft


@pytest.mark.parametrize("value", ["<b>", "", "nan", "-1", "1e9", "2.5.1", "9" * 400])
def test_nonsense_is_passed_over(value):
    wish = dict.fromkeys([name for name in PARAMETERS if name != "prompt"], value)
    if value == "1e9":
        wish.pop("seed")
    assert from_link(wish) == Draft()


def test_a_prompt_too_long_for_an_address_is_left_out():
    assert to_link(Draft("x" * 2000, seed=3)) == {"seed": "3"}
    assert from_link({"prompt": "x" * 2000}) == Draft()
