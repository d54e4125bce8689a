"""Two runs side by side, by hand."""

import dataclasses

import numpy as np
import pytest
from handmade import make_trace

from moeviz.metrics.compare import ablations, compare, control
from moeviz.rules.predictions import Predictions
from moeviz.trace import TraceError


@pytest.fixture
def plain():
    return make_trace([[[0, 1]] * 4, [[0, 1]] * 4], loss=np.array([1.0, 2.0, 3.0, np.nan]))


def test_changes_worked_by_hand(plain):
    changed = make_trace(
        [[[0, -1], [0, 1], [1, 0], [-1, -1]], [[0, 2], [0, 1], [1, -1], [3, 2]]],
        loss=np.array([1.5, 2.0, 2.5, np.nan]),
    )
    found = compare(plain, changed)
    assert found.loss_change[:3].tolist() == [0.5, 0.0, -0.5]
    assert found.mean_change == 0
    assert found.low < 0 < found.high
    assert found.rerouted.tolist() == [[False] * 4, [True, False, False, True]]
    assert found.dropped.sum(axis=(1, 2)).tolist() == [3, 1]
    assert found.moved.tolist() == [[True, False, False, True], [True, False, True, True]]


def test_a_run_against_itself_changes_nothing(plain):
    found = compare(plain, plain)
    assert (found.mean_change, found.low, found.high) == (0.0, 0.0, 0.0)
    assert not found.rerouted.any()
    assert not found.dropped.any()


def test_without_loss_the_routes_are_still_compared(plain):
    found = compare(dataclasses.replace(plain, loss=None), plain)
    assert found.loss_change is None
    assert np.isnan(found.mean_change)
    assert not found.rerouted.any()


def test_runs_of_another_k_are_compared(plain):
    fewer = make_trace([[[0]] * 4, [[2]] * 4], loss=plain.loss)
    more = make_trace([[[0, 1, 2]] * 4, [[0, 3, 2]] * 4], loss=plain.loss)
    found = compare(plain, fewer)
    assert found.rerouted.all(axis=1).tolist() == [False, True]
    assert found.moved.all()
    assert found.dropped.sum(axis=(1, 2)).tolist() == [4, 4]
    found = compare(plain, more)
    assert found.rerouted.all() and found.moved.all()
    assert not found.dropped.any()


def test_predictions_are_summed_up_with_an_interval(plain):
    kl = np.array([0.0, 0.1, 0.2, 0.5], np.float32)
    none = np.zeros((4, 0))
    found = compare(plain, plain, predictions=Predictions(kl, none, none, none, none, {}))
    assert found.mean_kl == pytest.approx(0.2)
    assert 0 <= found.kl_low < 0.2 < found.kl_high <= 0.5


def test_the_control_is_the_range_of_its_runs(plain):
    runs = [plain.loss + x for x in (0.1, 0.4, -0.2)]
    found = control(plain, runs)
    np.testing.assert_allclose(found.mean_changes, [0.1, 0.4, -0.2], atol=1e-6)
    assert (found.mean, found.low, found.high) == pytest.approx((0.1, -0.2, 0.4))


def test_ablations_are_ranked_by_what_is_lost(plain):
    losses = np.stack([plain.loss + x for x in (0.0, 0.3, -0.1, 0.3)])
    found = ablations(plain, 0, losses)
    np.testing.assert_allclose(found.mean_change, [0.0, 0.3, -0.1, 0.3], atol=1e-6)
    assert found.order.tolist() == [1, 3, 0, 2]
    assert found.used.tolist() == [4, 4, 0, 0]
    assert (found.low <= found.mean_change).all() and (found.mean_change <= found.high).all()


def test_other_tokens_are_refused(plain):
    other = make_trace([[[0, 1]] * 3, [[0, 1]] * 3], text="abc")
    with pytest.raises(TraceError) as caught:
        compare(plain, other)
    assert str(caught.value) == "Only two runs of one model over the same tokens can be compared."


def test_the_interval_covers_the_true_mean_about_as_often_as_it_says():
    from moeviz.metrics.compare import _bootstrap

    rng = np.random.default_rng(0)
    inside = 0
    for seed in range(200):
        low, high = _bootstrap(rng.normal(0.3, 1.0, size=60), seed)
        inside += low <= 0.3 <= high
    assert 0.89 <= inside / 200 <= 0.99
