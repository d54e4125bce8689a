"""The contrast as a picture and as sentences, on texts of one layer and one choice a token."""

import numpy as np
import pytest
from handmade import make_trace

from moeviz.charts.contrast import (
    chance_note,
    contrast_grid,
    contrast_sentence,
    control_sentence,
    cost_sentence,
    expert_sentence,
)
from moeviz.metrics.contrast import contrast

NAMES = ("Odd", "Even")


def text(*experts: int):
    return make_trace([[[e] for e in experts]], text="abcdefgh"[: len(experts)], number=3)


@pytest.fixture
def apart():
    """Six texts each; experts 1 and 2 tell them apart, expert 0 reads half of both."""
    return contrast([text(0, 0, 1, 2)] * 6, [text(0, 0, 2, 2)] * 6)


def test_the_grid_shows_differences_and_shrinks_what_chance_gives(apart):
    picture = contrast_grid(text(0), apart, NAMES)
    values = picture.arrays["values"] / 65534 * 0.5 - 0.25
    assert values[0] == pytest.approx([0, 0.25, -0.25], abs=1e-4)
    assert picture.arrays["inside"].tolist() == [[1, 0, 0]]
    assert picture.arrays["low"][0, 0] == picture.arrays["high"][0, 0] == 0
    assert picture.meta["ends"] == ["Even +25", "0", "Odd +25"]


def test_the_sentences_name_the_expert_and_its_chance(apart):
    assert contrast_sentence(apart, NAMES, ["4"]) == (
        "Expert 1 of layer 4 tells them apart best: it reads 25 % of the tokens in Odd and 0 % in "
        "Even. 2 experts differ by more than chance."
    )
    band = f"{100 * apart.low[0, 2]:+.0f} to {100 * apart.high[0, 2]:+.0f}".replace("-", "−")
    assert expert_sentence(apart, 0, 2, NAMES, "4") == (
        "Expert 2 of layer 4 reads 25 % of the tokens in Odd and 50 % in Even: a difference of "
        f"−25 points, where 95 % of the shuffles give it {band}."
    )
    assert chance_note(apart).startswith("Chance: all 924 ways to deal the 12 texts to two such")


def test_nothing_is_claimed_where_chance_would_do_as_much():
    same = contrast([text(0, 1), text(1, 2)], [text(0, 1), text(2, 2)])
    assert contrast_sentence(same, NAMES, ["0"]).startswith(
        "No expert differs by more than chance. The largest difference: expert 1 of layer 0 reads"
    )
    assert chance_note(same).endswith("Give at least 4 texts a set.")


def test_what_steering_costs_is_said_with_its_interval_and_its_control():
    costs = [(-0.08, -0.13, -0.03), (0.15, 0.09, 0.22)]
    assert cost_sentence("Odd", NAMES, costs) == (
        "Steered towards Odd, the loss of a token falls by 0.080 nats in Odd "
        "(95 %: -0.130 to -0.030) and rises by 0.150 nats in Even (95 %: +0.090 to +0.220)."
    )
    assert control_sentence(NAMES, np.array([[0.1, 0.2], [0.3, 0.1]]).tolist()) == (
        "As many experts of the same layers drawn at random, 2 times: +0.100 to +0.300 in Odd, "
        "+0.100 to +0.200 in Even. The texts that found the experts are measured here, so new "
        "texts may show less."
    )
