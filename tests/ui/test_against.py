"""What is compared with, as a link: what fits is taken, the rest passed over."""

import pytest

from moeviz.ui.against import PAIRS, Against, changed, from_link, partner, to_link
from moeviz.ui.examples import EXAMPLES, MIXED
from moeviz.ui.view import LONGEST_LINK_TEXT


def test_the_first_choice_has_an_empty_link():
    assert to_link(Against()) == {}
    assert from_link({}) == Against()


@pytest.mark.parametrize(
    ("against", "link"),
    [
        (Against(text="other words"), {"b": "other words"}),
        (Against("generated", new=80, seed=3), {"against": "generated", "new": "80", "bseed": "3"}),
        (
            Against("moment", moments=(0, 7), passages="fr"),
            {"against": "moment", "moments": "0-7", "passages": "fr"},
        ),
        (Against("moment", passages=""), {"against": "moment", "passages": ""}),
        (
            Against("model", model="a/b", kin=True),
            {"against": "model", "bmodel": "a/b", "kin": "1"},
        ),
        (Against("trace", trace="f00"), {"against": "trace", "btrace": "f00"}),
        (Against(shade="expert"), {"shade": "expert"}),
        (
            Against("trace", trace="f0", measure="repetition"),
            {"against": "trace", "btrace": "f0", "bmeasure": "repetition"},
        ),
    ],
)
def test_a_link_brings_back_every_part(against, link):
    assert to_link(against) == link
    assert from_link(link) == against


def test_a_long_text_goes_by_its_digest():
    long = "x" * (LONGEST_LINK_TEXT + 1)
    assert to_link(Against(text=long), "d1ge57") == {"blong": "d1ge57"}
    assert from_link({"blong": "d1ge57"}) == Against(lost="d1ge57")
    assert from_link({"b": long}) == Against()


@pytest.mark.parametrize("value", ["<b>", "9" * 40, "-1", "7-3", "3-3", "1-2-3", "0-99", None, 1.5])
def test_nonsense_is_passed_over(value):
    wish = dict.fromkeys(("way", "shade", "kin", "new", "seed", "moments"), value)
    assert changed(Against(), wish) == Against()
    if isinstance(value, str):
        link = dict.fromkeys(("against", "shade", "kin", "new", "bseed", "moments"), value)
        assert from_link(link) == Against()


def test_every_text_has_a_partner_other_than_itself():
    for one, other in PAIRS.values():
        assert partner(partner(one)) == one or partner(one) == other
    for text in (*EXAMPLES.values(), MIXED, "my own words"):
        assert partner(text) != text
