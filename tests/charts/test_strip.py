"""The token strip's colours and legend, checked against the four-token trace."""

import numpy as np
import pytest
from handmade import make_trace

from moeviz.charts.strip import COLOURINGS, PLAIN, expert_colours, shading, strip_picture
from moeviz.trace import RouterSpec, TraceError


def test_first_choices_are_counted_most_frequent_first(tiny_trace):
    picture = strip_picture(tiny_trace, 0, "expert")
    assert [(c["expert"], c["share"]) for c in picture.meta["chips"]] == [(0, "75 %"), (3, "25 %")]
    assert picture.arrays["shade"].tolist() == [0, 0, 0, 3]
    assert picture.meta["units"] == list("abcd")


def test_every_colouring_draws(tiny_trace):
    for colour in COLOURINGS:
        picture = strip_picture(tiny_trace, 1, colour)
        assert picture.meta["read"].endswith(".")
        assert len(picture.arrays["shade"]) == 4


def test_one_experts_weight_colours_the_text(tiny_trace):
    picture = strip_picture(tiny_trace, 1, "agreement", expert=3)
    logits = tiny_trace.logits[1]
    p = np.exp(logits) / np.exp(logits).sum(axis=-1, keepdims=True)
    assert picture.arrays["value"] == pytest.approx(p[:, 3], rel=1e-5)
    assert picture.meta["legend"] == "Probability of expert 3"
    assert [chip["expert"] for chip in picture.meta["chips"]] == [2, 1]  # first choices 2 1 2 2
    gates = strip_picture(tiny_trace, 1, "agreement", expert=3, cells="gate")
    assert gates.arrays["value"] == pytest.approx([0.3, 0.4, 0, 0])
    assert gates.meta["legend"] == "Gate of expert 3"


def test_with_no_expert_picked_it_is_the_most_frequent_first_choice(tiny_trace):
    for expert in (None, 9):
        picture = strip_picture(tiny_trace, 1, "agreement", expert)
        assert picture.meta["legend"] == "Probability of expert 2"
        assert "expert 2, the most frequent first choice, more" in picture.meta["read"]


def test_the_probability_shown_is_that_of_the_chosen(tiny_trace):
    picture = strip_picture(tiny_trace, 0, "expert")
    logits = tiny_trace.logits[0, 3]
    p = np.exp(logits) / np.exp(logits).sum()
    assert picture.arrays["probability"][3] == pytest.approx(p[[3, 0]], rel=1e-5)


def test_a_token_without_a_next_one_has_no_loss_colour(tiny_trace):
    shade = strip_picture(tiny_trace, 0, "loss").arrays["shade"]
    assert shade[3] == PLAIN
    assert list(shade[:3]) == sorted(shade[:3])
    assert PLAIN not in shade[:3]


def test_scales_are_the_same_for_every_layer(tiny_trace):
    for colour in ("confidence", "entropy", "margin", "loss"):
        first, second = (shading(tiny_trace, row, colour) for row in (0, 1))
        assert (first.low, first.high) == (second.low, second.high)


def test_what_needs_logits_says_so_and_the_rest_draws():
    bare = make_trace([[[0, 1], [2, 3], [0, 2], [1, 0]]])
    assert strip_picture(bare, 0, "expert").meta["chips"]
    assert strip_picture(bare, 0, "confidence").meta["legend"] == "Share of the largest gate"
    for colour in ("entropy", "margin", "loss"):
        with pytest.raises(TraceError, match=r"^This trace holds"):
            strip_picture(bare, 0, colour)


def test_more_experts_than_colours_leave_the_rarest_plain():
    firsts = np.repeat(np.arange(20), np.arange(20) + 1)  # expert e is first choice e + 1 times
    trace = make_trace(
        [firsts[:, None]], text="x" * len(firsts), router=RouterSpec(experts=40, chosen=1)
    )
    places = expert_colours(trace, 0)
    assert sorted(np.flatnonzero(places != PLAIN)) == list(range(4, 20))
    assert strip_picture(trace, 0, "expert").meta["more"] == "and 4 more experts, uncoloured"


def test_a_dropped_token_is_uncoloured():
    trace = make_trace([[[0, 1], [-1, -1], [0, 2], [1, 0]]])
    assert strip_picture(trace, 0, "expert").arrays["shade"].tolist() == [0, PLAIN, 0, 1]
