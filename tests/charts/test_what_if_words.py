"""What a changed routing did, in sentences that can be checked by hand."""

import dataclasses

import numpy as np
import pytest
from handmade import make_trace

from moeviz.charts.what_if import ablation_list, moved_bars, prediction_list, route_list
from moeviz.charts.what_if_words import (
    ablation_sentence,
    control_sentence,
    cost_sentence,
    first_layer_sentence,
    prediction_sentence,
    route_sentence,
    writing_sentence,
)
from moeviz.metrics.compare import ablations, compare, control
from moeviz.rules.predictions import Predictions
from moeviz.rules.reading import parse_rule


@pytest.fixture
def plain():
    loss = np.array([1.0, 2.0, 3.0, np.nan])
    return make_trace([[[0, 1], [0, 1], [2, 1], [3, 2]], [[0, 1]] * 4], loss=loss)


@pytest.fixture
def changed(plain):
    """Expert 0 of the first layer muted; one token goes another way afterwards."""
    routes = [[[3, 1], [2, 1], [2, 1], [3, 2]], [[0, 2], [0, 1], [0, 1], [0, 1]]]
    return make_trace(routes, loss=np.array([1.5, 2.5, 3.5, np.nan]))


def test_the_invariant_is_spelled_out(plain, changed):
    name = plain.layers[0]
    rule = parse_rule(f"mute {name}:0")
    assert first_layer_sentence(plain, compare(plain, changed), rule) == (
        f"At layer {name}, the first that changed, only the 2 tokens that used expert 0 changed; "
        "the other 2 kept their experts and weights. After it, 1 token went other ways in later "
        "layers."
    )
    other = parse_rule(f"mute {name}:1")  # which is not what these runs show
    assert f"At layer {name}, the first that changed, 2 of 4 tokens went to other experts." in (
        first_layer_sentence(plain, compare(plain, changed), other)
    )
    assert first_layer_sentence(plain, compare(plain, plain), rule) == (
        "No token changed its experts in any layer."
    )


def test_the_cost_is_said_with_its_interval(plain, changed):
    assert cost_sentence(compare(plain, changed), plain.loss) == (
        "With the rule in force the mean next-token loss rises by 0.500 nats, from 2.000 to 2.500 "
        "(95 % interval +0.500 to +0.500, a real loss for this text)."
    )
    assert cost_sentence(compare(plain, plain), plain.loss) == (
        "The rule changes nothing on this text: the run is the plain run, bit for bit."
    )
    mute = dataclasses.replace(plain, loss=None)
    assert cost_sentence(compare(mute, mute), None) == (
        "This model predicts no next token, so there is no loss to compare."
    )


def test_control_and_sweep_are_set_beside_chance(plain, changed):
    cost = compare(plain, changed)
    losses = [plain.loss + x for x in (0.1, -0.2)]
    assert control_sentence(cost, control(plain, losses)) == (
        "Control: as many other experts of the same layers, muted at random, change the mean loss "
        "by −0.200 to +0.100 nats (2 draws). The rule's +0.500 lies outside that range."
    )
    found = ablations(plain, 0, np.stack([plain.loss + x for x in (0.3, 0.0, -0.1, 0.05)]))
    assert ablation_sentence(found, control(plain, losses), "0") == (
        "In layer 0, losing expert 0 costs most: +0.300 nats a token (95 % interval +0.300 to "
        "+0.300). 1 of 4 experts costs more than every random mute."
    )
    picture = ablation_list(plain, 0, found, control(plain, losses), drop=False)
    assert [row[0] for row in picture.meta["rows"]] == [
        "Expert 0 · 2 tokens", "Expert 3 · 1 token", "Expert 1 · 3 tokens", "Expert 2 · 2 tokens"
    ]  # fmt: skip
    assert picture.arrays["at"].tolist() == [0, 3, 1, 2]
    ends = picture.meta["value"]["low"], picture.meta["value"]["high"]
    assert ends == pytest.approx((-0.2, 0.3))


def test_predictions_and_the_true_token_are_shown(plain):
    true = int(plain.tokens.ids[1])
    other = true + 1
    found = Predictions(
        kl=np.array([0.0, 0.4, 0.0, 0.0], np.float32),
        before_ids=np.array([[true, other]] * 4),
        before=np.array([[0.7, 0.2]] * 4),
        after_ids=np.array([[other, true]] * 4),
        after=np.array([[0.6, 0.3]] * 4),
        pieces={true: "<b>", other: " x"},
    )
    assert [row[0] for row in prediction_list(plain, 0, found, False).meta["rows"]] == [
        "<b>  ← the true one", "·x"
    ]  # fmt: skip
    np.testing.assert_allclose(
        prediction_list(plain, 0, found, True).arrays["values"], [0.6, 0.3], rtol=1e-6
    )
    said = prediction_sentence(plain, compare(plain, plain, predictions=found))
    assert said.startswith(
        "What the model predicts moves by 0.100 nats of KL divergence a token (95 % interval "
    )
    assert "token 2: 0.40 nats." in said


def test_routes_are_ranked_with_the_own_one_among_them(plain):
    routes = [((0, 1), 2.0), ((2, 3), 1.5), ((0, 2), 2.5)]
    assert route_sentence(routes, "0") == (
        "In layer 0, experts 2 and 3 in place of 0 and 1 would have made the next token's loss "
        "1.500 nats instead of 2.000, at the same compute."
    )
    assert route_sentence(routes[::2], "0") == (
        "In layer 0, no route tried is better for the next token than its own."
    )
    picture = route_list(plain, 0, 0, routes)
    assert [row[0] for row in picture.meta["rows"]] == [
        "Experts 2, 3", "Experts 0, 1 · the model's own", "Experts 0, 2"
    ]  # fmt: skip
    np.testing.assert_allclose(picture.arrays["values"], [-0.5, 0.0, 0.5])
    assert picture.arrays["at"].tolist() == [1, 0, 2]


def test_the_bars_are_the_share_of_tokens_with_other_experts(plain, changed):
    picture = moved_bars(plain, compare(plain, changed))
    assert picture.arrays["changed"].tolist() == [0.5, 0.25]
    assert picture.meta["x"]["long"] == ["2 of 4 tokens", "1 of 4 tokens"]


def test_two_texts_part_where_they_differ():
    assert writing_sentence("abcd", "abX", True) == "Both write the same 2 characters, then part."
    assert writing_sentence("abc", "abc", True) == "Both write the same."
    assert writing_sentence("abc", "a", False) == "Both write the same so far."
