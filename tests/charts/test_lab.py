"""Pictures and sentences of the lab, on a trace worked by hand."""

import numpy as np
import pytest
from handmade import make_trace

from moeviz.charts import lab_words as words
from moeviz.charts.lab import assignment_grid, balancing_lines, own_grid
from moeviz.metrics.load import load_chance
from moeviz.metrics.rerouted import own_route, rerouted_layer
from moeviz.rules.routing import ALGORITHMS, RoutingRule


@pytest.fixture
def trace():
    """Three tokens that all like expert 0 of four best, then expert 1."""
    logits = np.log(np.tile([[[8.0, 4.0, 2.0, 2.0]]], (1, 3, 1)))
    return make_trace([[[0], [0], [1]]], [[[1.0], [1.0], [1.0]]], logits=logits, text="abc")


def said(trace, rule: RoutingRule) -> str:
    return words.rerouted_sentence(rerouted_layer(trace, 0, rule), own_route(trace, 0), "0")


def test_the_sentence_says_what_is_kept_beside_chance_and_how_even_it_is(trace):
    assert said(trace, RoutingRule(chosen=1)).endswith(
        "The busiest expert has 4.00 times the mean load, where it now has 2.67 times."
    )
    sentence = said(trace, RoutingRule(chosen=1))
    assert sentence.startswith(
        "Token choice keeps 67 % of the choices that the model itself made in layer 0; "
        "chance alone would keep 0 % to "
    )


def test_the_sentence_counts_what_is_lost(trace):
    # Room for floor(3 / 4 * 2) = 1 token at expert 0, which all three want.
    assert said(trace, RoutingRule("switch", factor=2)).endswith(
        "2 assignments would be dropped. 2 tokens would get no expert at all."
    )


def test_where_all_take_all_the_sentence_speaks_of_weight(trace):
    assert said(trace, RoutingRule("dense")) == (
        "Dense sends every token of layer 0 to every expert; 42 % of the weight lies on the "
        "model's own choices. The busiest expert has 1.00 times the mean load, where it now has "
        "2.67 times."
    )


def test_soft_moe_is_not_said_to_send_tokens(trace):
    assert said(trace, RoutingRule("soft")).startswith(
        "Soft MoE lets every token of layer 0 have a part in every expert; 42 % of the weight"
    )


def test_the_grid_holds_the_assignment_and_the_models_own_choices(trace):
    own, chance = own_route(trace, 0), load_chance(3, 4, 1)
    found = rerouted_layer(trace, 0, RoutingRule("expert-choice", factor=4))
    picture = assignment_grid(trace, 0, found, own, chance, 0.5, 1.0)
    assert picture.arrays["own"].tolist() == [[0], [0], [1]]
    weights = picture.arrays["values"].reshape(3, 4) / 65534 * 0.5
    assert weights == pytest.approx(found.assignment.weights, abs=1e-4)
    assert picture.arrays["bars"].tolist() == [0.25] * 4
    assert picture.meta["facts"] == [["MaxVio", "0.00"], ["Experts a token", "4"]]
    plain = own_grid(trace, 0, own, chance, 1.0, 1.0)
    assert plain.arrays["bars"] == pytest.approx(np.array([2 / 3, 1 / 3, 0, 0]))
    assert plain.meta["facts"][0] == ["MaxVio", "1.67"]
    assert "own" not in plain.arrays


def test_the_curve_shows_every_step(trace):
    found = rerouted_layer(trace, 0, RoutingRule("loss-free", chosen=1, speed=0.1, steps=4))
    history = found.assignment.balancing
    picture = balancing_lines(trace, 0, history, 2, (0.3, 1.7))
    assert picture.arrays["values"][:, 0] == pytest.approx(history.max_violation)
    assert picture.arrays["low"].tolist() == pytest.approx([0.3] * 5)
    assert picture.meta["x"]["ticks"] == [0, 1, 2, 3, 4]
    assert picture.meta["facts"][0] == ["Without bias", "3.00"]


def test_every_algorithm_has_a_name_and_a_meaning():
    assert set(words.NAMES) == set(words.MEANINGS) == set(ALGORITHMS)
    assert words.meaning("dense") == (
        "Dense: every token goes to every expert: the upper end of K."
    )
