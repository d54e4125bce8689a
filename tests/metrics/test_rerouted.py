"""Another algorithm on the same logits: against the model's own route, and against chance."""

import numpy as np
import pytest
from handmade import make_trace

import moeviz
from moeviz.metrics.rerouted import own_route, rerouted, rerouted_layer
from moeviz.rules.routing import ALGORITHMS, RoutingRule
from moeviz.trace import RouterSpec, TraceError
from moeviz.ui.examples import MIXED


@pytest.fixture(scope="module")
def trace():
    return moeviz.trace_text(moeviz.load_model("demo"), MIXED)


def by_hand():
    """Three tokens, top-1 of four experts; logits that favour expert 0, then 1."""
    logits = np.log(np.tile([[[8.0, 4.0, 2.0, 2.0]]], (1, 3, 1)))
    return make_trace([[[0], [0], [1]]], [[[1.0], [1.0], [1.0]]], logits=logits, text="abc")


def test_token_choice_with_the_models_own_k_is_its_own_route(trace):
    for row, found in enumerate(rerouted(trace, RoutingRule(chosen=trace.shape[3]))):
        assert (found.assignment.ids == trace.experts[row]).all()
        assert found.assignment.gates == pytest.approx(trace.gates[row], abs=1e-6)
        assert (found.kept, found.own_weight) == (1, pytest.approx(1))


def test_overlap_by_hand():
    found = rerouted_layer(by_hand(), 0, RoutingRule(chosen=2))
    assert found.kept == 1  # experts 0 and 1 for everyone
    assert found.chance == 0.5  # two of four experts, drawn at random
    assert found.own_weight == pytest.approx((0.5 + 0.5 + 0.25) / (3 * 0.75))
    top = rerouted_layer(by_hand(), 0, RoutingRule(chosen=1))
    assert (top.kept, top.chance) == (pytest.approx(2 / 3), 0.25)
    dense = rerouted_layer(by_hand(), 0, RoutingRule("dense"))
    assert (dense.kept, dense.chance, dense.low, dense.high) == (1, 1, 1, 1)


def test_chance_counts_tokens_that_get_more_or_fewer_experts():
    # One token an expert: all like expert 0 equally, so the first token gets all four.
    found = rerouted_layer(by_hand(), 0, RoutingRule("expert-choice", factor=4 / 3))
    sizes = found.assignment.taken.sum(axis=1)
    assert sizes.tolist() == [4, 0, 0]
    assert found.chance == pytest.approx(sizes.sum() / 4 / 3)
    assert found.assignment.left_out == 2


def test_random_experts_keep_what_chance_keeps(trace):
    found = [rerouted_layer(trace, 0, RoutingRule("random", seed=s)) for s in range(40)]
    inside = [f.low <= f.kept <= f.high for f in found]
    assert np.mean([f.kept for f in found]) == pytest.approx(found[0].chance, abs=0.01)
    assert 0.8 < np.mean(inside) <= 1
    assert found[0].chance == trace.shape[3] / trace.shape[2]


def test_every_algorithm_runs_on_every_layer_of_a_real_trace(trace):
    for name in ALGORITHMS:
        for found in rerouted(trace, RoutingRule(name)):
            assert found.assignment.weights.shape == trace.shape[1:3]
            assert 0 <= found.kept <= 1 and found.low <= found.chance <= found.high


def test_experts_that_a_layer_does_not_have_are_left_out():
    logits = np.array([[[3.0, 2.0, 1.0, -np.inf], [1.0, 2.0, 3.0, -np.inf]]])
    router = RouterSpec(experts=4, chosen=1, experts_per_layer=(3,))
    trace = make_trace([[[0], [2]]], logits=logits, text="ab", router=router)
    found = rerouted_layer(trace, 0, RoutingRule("dense"))
    assert found.assignment.weights.shape == (2, 3)
    assert own_route(trace, 0).weights.shape == (2, 3)


def test_without_logits_there_is_one_sentence():
    with pytest.raises(TraceError) as error:
        rerouted_layer(make_trace([[[0, 1]] * 4]), 0, RoutingRule())
    assert str(error.value) == (
        "This trace holds the chosen experts but not the router's logits, so only choices and "
        "gates can be shown. Trace the text again with logits to see the rest."
    )
