"""Ensembles on one curve: each does what its name says."""

import numpy as np
import pytest

from moeviz.lessons.committee import LEARNERS, TEST, contest, curve


@pytest.fixture(scope="module")
def contests():
    return [contest(seed) for seed in range(4)]


def test_errors_are_against_the_true_curve(contests):
    for found in contests:
        assert np.array_equal(found.truth, curve(found.xs))
        for member in found.members:
            assert member.fit.shape == (TEST,)
            assert member.error == pytest.approx(np.mean((member.fit - found.truth) ** 2))


def test_a_mixture_asks_one_and_an_average_asks_all(contests):
    asked = {member.name: member.asked for member in contests[0].members}
    assert asked["Mixture of experts, top-1"] == asked["One learner"] == 1
    assert asked["Bagging"] == asked["Boosting"] == asked["Stacking"] == LEARNERS


def test_a_mixture_beats_an_average_where_the_task_has_regions(contests):
    for found in contests:
        error = {member.name: member.error for member in found.members}
        assert error["Mixture of experts, top-1"] < error["Averaging"]
        assert error["Boosting"] < error["One learner"]


def test_averaging_biased_learners_removes_no_bias(contests):
    for found in contests:
        error = {member.name: member.error for member in found.members}
        assert error["Bagging"] == pytest.approx(error["One learner"], rel=0.1)
