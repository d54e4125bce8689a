"""What a Specialise link may ask for, and what is passed over."""

from moeviz.ui.inquiry import LONGEST_ASK, Inquiry, changed, from_link, to_link


def test_a_link_brings_back_what_it_was_made_from():
    asked = Inquiry("own", "clusters", "experts", "pca", "domain", 7, "3", 12, "German law", 9, 2)
    assert from_link(to_link(asked)) == asked
    assert to_link(Inquiry()) == {}
    on_the_map = Inquiry(layer="3", expert=12)
    assert from_link(to_link(on_the_map)) == on_the_map


def test_an_experts_address_alone_opens_its_card():
    assert from_link({"layer": "5", "expert": "15"}).section == "experts"
    assert from_link({"layer": "5", "expert": "15", "section": "map"}).section == "map"


def test_nonsense_changes_nothing():
    wish = {
        "data": "<b>", "section": 3, "of": None, "view": [], "seed": "-1", "expert": "1e3",
        "groups": "1", "moment": True, "by": 5, "layer": 4,
    }  # fmt: skip
    assert changed(Inquiry(), wish) == Inquiry()


def test_long_words_are_cut():
    found = changed(Inquiry(), {"ask": "x" * 1000, "layer": "1" * 50})
    assert len(found.ask) == LONGEST_ASK
    assert len(found.layer) == 8
