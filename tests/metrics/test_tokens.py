"""One token's path is the same numbers as the whole trace holds."""

import numpy as np
import pytest
from handmade import make_trace

from moeviz.metrics.router import choice_margin, router_probabilities
from moeviz.metrics.tokens import token_path
from moeviz.trace import RouterSpec, TraceError


def test_a_path_is_a_slice_of_the_trace(tiny_trace):
    path = token_path(tiny_trace, 2)
    assert path.experts.tolist() == [[0, 2], [2, 1]]
    assert path.gates[0] == pytest.approx([0.9, 0.1])
    assert path.share == pytest.approx(path.gates)
    assert path.loss == 3.0
    whole = np.stack([router_probabilities(tiny_trace, row)[2] for row in range(2)])
    assert (path.probability == whole).all()


def test_without_logits_and_loss_the_choices_remain():
    path = token_path(make_trace([[[0, 1], [2, 3], [0, 2], [1, 0]]]), 3)
    assert path.probability is None
    assert np.isnan(path.loss)
    assert path.experts.tolist() == [[1, 0]]
    assert path.runner_up.tolist() == [-1]
    assert np.isnan(path.behind).all()


def test_the_runner_up_is_the_best_expert_left_out():
    logits = np.float32([[[3.0, 1.0, 2.5, 2.0]], [[0.0, 4.0, 1.0, 3.5]]])
    trace = make_trace([[[0, 2]], [[1, 3]]], logits=logits, text="a")
    path = token_path(trace, 0)
    assert path.runner_up.tolist() == [3, 2]
    assert path.behind.tolist() == [0.5, 2.5]
    assert path.behind.tolist() == [float(choice_margin(trace, row)[0]) for row in (0, 1)]


def test_a_runner_up_needs_an_unhidden_choice():
    logits = np.zeros((1, 1, 4), np.float32)
    biased = RouterSpec(experts=4, chosen=2, bias=True)
    every = RouterSpec(experts=2, chosen=2)
    for trace in (
        make_trace([[[0, 2]]], logits=logits, text="a", router=biased),
        make_trace([[[0, 1]]], logits=logits[..., :2], text="a", router=every),
        make_trace([[[0, -1]]], logits=logits, text="a"),
    ):
        path = token_path(trace, 0)
        assert path.runner_up.tolist() == [-1]
        assert np.isnan(path.behind).all()


def test_recorded_scores_decide_who_the_runner_up_is():
    logits, scores = np.float32([[[9.0, 1.0, 2.0, 3.0]]]), np.float32([[[0.1, 0.9, 0.8, 0.3]]])
    biased = RouterSpec(experts=4, chosen=2, bias=True)
    trace = make_trace([[[1, 2]]], logits=logits, scores=scores, text="a", router=biased)
    path = token_path(trace, 0)
    assert path.runner_up.tolist() == [3]
    assert path.behind[0] == pytest.approx(0.5)


def test_a_token_that_is_not_there(tiny_trace):
    with pytest.raises(TraceError) as caught:
        token_path(tiny_trace, 4)
    assert str(caught.value) == "This trace has tokens 0 to 3; there is no token 4."
