"""Numbers as a person would say them."""

import numpy as np
import pytest

from moeviz.charts.words import (
    load_sentence,
    loss_words,
    model_name,
    model_sentence,
    percent,
    plural,
    visible,
)
from moeviz.metrics.load import LoadChance, expert_load


@pytest.mark.parametrize(
    ("share", "words"),
    [(0, "0 %"), (0.18, "18 %"), (0.0991, "9.9 %"), (0.0996, "10 %"), (0.004, "0.4 %"),
     (0.0002, "0.02 %"), (1e-7, "under 0.01 %"), (1, "100 %")],
)  # fmt: skip
def test_percent(share, words):
    assert percent(share) == words


def test_plural():
    assert (plural(1, "token"), plural(1024, "token")) == ("1 token", "1,024 tokens")


def test_white_space_and_control_signs_are_visible():
    assert visible(" a\tb\n\x00\x7f") == "·a⇥b↵␀␡"
    assert visible("") == "∅"


def test_the_load_of_the_busiest_and_of_a_picked_expert(tiny_trace):
    load, chance = expert_load(tiny_trace), LoadChance(0.04, 0.09, 0.08, 0.11, 0.25, 200)
    rest = " Chance alone would give one expert 4.0 % to 9.0 %, and the busiest 8.0 % to 11 %."
    assert load_sentence(load, chance, 0, "5", None) == (
        "In layer 5, expert 0, the busiest, took 50 % of the 8 assignments." + rest
    )
    assert load_sentence(load, chance, 0, "5", 2).startswith(
        "In layer 5, expert 2 took 12 % of the 8 assignments."
    )


def test_the_model_in_a_sentence(tiny_trace):
    assert model_sentence(tiny_trace) == (
        "In each of 2 layers, by hand has 4 experts and a router that sends every token to 2 of "
        "them. Here is where your 4 tokens went."
    )


def test_folders_are_named_by_their_last_part():
    assert model_name("/home/me/models/tiny") == "tiny"
    assert model_name("org/model") == "org/model"


def test_losses():
    assert loss_words(np.log(4)) == "1.39 nats, probability 25 %"
    assert loss_words(float("nan")) == "no next token"
