"""Links and clicks come from outside: what fits is taken, the rest passed over."""

import pytest
from handmade import make_trace

from moeviz.ui.view import (
    LONGEST_LINK_TEXT,
    View,
    changed,
    first_view,
    from_link,
    layer_labels,
    look_after,
    text_for_link,
    to_link,
)

FIRST = View(row=1, expert=None, token=0)


def test_the_first_view_is_a_middle_layer_and_a_token_of_text(tiny_trace):
    assert first_view(tiny_trace) == FIRST
    assert first_view(make_trace([[[0, 1]]], text="a")).cells == "gate"  # it has no logits


def test_a_link_restores_the_view_it_was_made_from(tiny_trace):
    for view in (
        FIRST,
        View(0, 3, 2, "loss", "gate", until=3),
        View(1, 0, 3, "margin", "logit", until=0, columns="layers", look="flow", measure="repeat"),
    ):
        assert from_link(to_link(view, tiny_trace), tiny_trace) == view


def test_a_link_says_only_what_differs_from_the_first_view(tiny_trace):
    assert to_link(FIRST, tiny_trace) == {}
    assert to_link(View(0, 2, 0), tiny_trace) == {"layer": "0", "expert": "2"}


@pytest.mark.parametrize(
    "link",
    [
        {"layer": "9"}, {"layer": ""}, {"layer": "-1"}, {"expert": "4"}, {"expert": "1e1"},
        {"token": "4"}, {"token": "-0"}, {"token": "٣"}, {"token": "9" * 400},
        {"colour": "__class__"}, {"cells": "<script>"}, {"unknown": "1"}, {"until": "4"},
        {"until": "0"}, {"look": "all"}, {"columns": "1"}, {"measure": ""},
    ],
)  # fmt: skip
def test_nonsense_in_a_link_is_passed_over(tiny_trace, link):
    assert from_link(link, tiny_trace) == FIRST


@pytest.mark.parametrize(
    "wish",
    [
        {"until": -1},
        {"until": 4},
        {"look": ["flow"]},
        {"measure": None},
        {"token": 4},
        {"token": True},
        {"row": 2},
        {"expert": -1},
        {"token": [1]},
        {"row": 1.5},
    ],
)
def test_nonsense_from_a_browser_is_passed_over(tiny_trace, wish):
    assert changed(FIRST, tiny_trace, wish) == FIRST


def test_an_expert_can_be_let_go(tiny_trace):
    picked = changed(FIRST, tiny_trace, {"expert": 2, "token": 3, "row": 0})
    assert picked == View(0, 2, 3)
    assert changed(picked, tiny_trace, {"expert": None}).expert is None
    assert changed(picked, tiny_trace, {"token": 1}).expert == 2


def test_a_range_is_read_from_either_end_and_ends_with_the_next_token(tiny_trace):
    back = changed(FIRST, tiny_trace, {"token": 3, "until": 1})
    assert back.selection == (1, 3)
    assert changed(back, tiny_trace, {"expert": 2}).selection == (1, 3)
    assert changed(back, tiny_trace, {"until": None}).selection is None
    assert changed(back, tiny_trace, {"token": 2}).selection is None
    assert changed(back, tiny_trace, {"token": 1, "until": 1}).selection is None
    assert FIRST.selection is None


@pytest.mark.parametrize(
    ("look", "pick", "then"),
    [
        ("layer", {"token": 1}, "token"),
        ("token", {"expert": 1}, "expert"),
        ("token", {"row": 1}, "layer"),
        ("layer", {"row": 1, "expert": 2}, "expert"),
        ("expert", {"token": 1, "expert": 2}, "expert"),
        ("layer", {"token": 1, "expert": 2}, "token"),
        ("token", {"token": 1, "until": 3}, "flow"),
        ("layer", {"token": 1, "until": 3}, "layer"),
        ("flow", {"row": 1, "expert": 2}, "flow"),
        ("token", {"expert": None}, "token"),
        ("expert", {"until": None}, "expert"),
    ],
)
def test_the_panel_follows_what_was_clicked(look, pick, then):
    assert look_after(look, pick) == then


def test_a_layer_that_routes_twice_has_two_names():
    trace = make_trace([[[0, 1]]] * 3, text="a", layers=(4, 4, 7))
    assert layer_labels(trace) == ["4a", "4b", "7"]
    assert from_link({"layer": "4b"}, trace).row == 1


def test_only_short_texts_travel_in_links():
    assert text_for_link("é" * (LONGEST_LINK_TEXT // 2)) is not None
    assert text_for_link("é" * (LONGEST_LINK_TEXT // 2 + 1)) is None
