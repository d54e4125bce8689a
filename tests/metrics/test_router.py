"""Probabilities, entropy and margins on logits whose answers are known."""

import math

import numpy as np
import pytest
from handmade import make_trace

from moeviz.metrics.router import (
    choice_margin,
    gate_share,
    probability_recipe,
    router_entropy,
    router_probabilities,
    top_probability,
)
from moeviz.trace import RouterSpec, TraceError

NO_LOGITS = (
    "This trace holds the chosen experts but not the router's logits, so only choices and gates "
    "can be shown. Trace the text again with logits to see the rest."
)


def one_token(logits, chosen=2, **facts):
    """A trace of one layer and one token with these logits, the top `chosen` picked."""
    logits = np.array(logits, np.float32)
    ids = np.argsort(-logits)[:chosen]
    router = RouterSpec(experts=len(logits), chosen=chosen, **facts)
    return make_trace([[ids]], logits=logits[None, None], text="a", router=router)


def test_softmax_by_hand():
    p = router_probabilities(one_token([math.log(1), math.log(2), math.log(5), -np.inf]), 0)
    assert p[0].tolist() == pytest.approx([1 / 8, 2 / 8, 5 / 8, 0])


def test_sigmoids_are_scaled_to_sum_to_one():
    trace = one_token([0.0, math.log(3), -np.inf], scoring="sigmoid")
    p = router_probabilities(trace, 0)  # sigmoids 1/2, 3/4 and 0
    assert p[0].tolist() == pytest.approx([0.4, 0.6, 0])
    assert probability_recipe(trace) == "sigmoids of the router logits, scaled to sum to 1"


def test_large_logits_do_not_overflow():
    p = router_probabilities(one_token([1e4, 0, -1e4]), 0)
    assert p[0].tolist() == [1, 0, 0]


def test_entropy_runs_from_one_expert_to_all_alike():
    assert router_entropy(one_token([3, 3, 3, 3]), 0)[0] == pytest.approx(1)
    assert router_entropy(one_token([100, 0, 0, 0]), 0)[0] == pytest.approx(0)
    half = router_entropy(one_token([0, 0, -np.inf, -np.inf]), 0)[0]
    assert half == pytest.approx(math.log(2) / math.log(4))


def test_margin_is_the_lead_of_the_last_chosen():
    assert choice_margin(one_token([5, 1, 4, 2.5]), 0)[0] == pytest.approx(4 - 2.5)


def test_margin_uses_the_scores_the_choice_was_made_on():
    trace = make_trace(
        [[[0, 1]]],
        logits=np.zeros((1, 1, 3), np.float32),
        scores=np.array([[[3.0, 2.0, 0.5]]]),
        text="a",
        router=RouterSpec(experts=3, chosen=2, bias=True),
    )
    assert choice_margin(trace, 0)[0] == 1.5


def test_margin_is_refused_where_an_unrecorded_bias_decides():
    with pytest.raises(TraceError) as caught:
        choice_margin(one_token([1, 2, 3], bias=True), 0)
    assert str(caught.value) == (
        "This model adds a bias before it chooses, and the trace does not hold the biased scores, "
        "so how close the choice was is not known."
    )


def test_no_margin_where_nothing_is_left_out():
    assert np.isnan(choice_margin(one_token([1, 2], chosen=2), 0)).all()


def test_without_logits_the_sentence_says_what_is_missing():
    for measure in (router_probabilities, router_entropy, choice_margin):
        with pytest.raises(TraceError) as caught:
            measure(make_trace([[[0, 1]]], text="a"), 0)
        assert str(caught.value) == NO_LOGITS
    assert top_probability(make_trace([[[0, 1]]], text="a")) == 1


def test_one_layer_without_logits_is_named():
    logits = np.zeros((2, 1, 4), np.float32)
    logits[1] = np.nan
    trace = make_trace([[[0, 1]], [[3, 0]]], logits=logits, text="a", layers=(2, 5))
    assert top_probability(trace) == 0.25
    with pytest.raises(TraceError) as caught:
        router_probabilities(trace, 1)
    assert str(caught.value) == (
        "Layer 5 of this model chooses without logits that could be read, so only its choices "
        "and gates can be shown."
    )


def test_top_probability_looks_at_every_layer():
    logits = np.zeros((2, 1, 4), np.float32)
    logits[1, 0, 3] = math.log(9)
    trace = make_trace([[[0, 1]], [[3, 0]]], logits=logits, text="a")
    assert top_probability(trace) == pytest.approx(9 / 12)


def test_gate_shares_sum_to_one_but_for_a_dropped_token():
    trace = make_trace([[[0, 1], [1, -1], [-1, -1], [2, 3]]],
                       [[[1.5, 0.5], [2.0, 0], [0, 0], [0.1, 0.3]]])  # fmt: skip
    assert gate_share(trace)[0] == pytest.approx(
        np.array([[0.75, 0.25], [1, 0], [0, 0], [0.25, 0.75]])
    )
