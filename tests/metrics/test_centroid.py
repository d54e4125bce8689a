"""Nearest centroid by hand, against chance, and with halves that share no text."""

import numpy as np
import pytest
from handmade import make_routing

from moeviz.corpora.corpus import CorpusError
from moeviz.metrics.centroid import (
    centroid_recall,
    fit_centroids,
    halves,
    passage_features,
    routing_recall,
)


def test_the_nearest_centroid_by_hand():
    features = np.array([[0.0, 0], [2, 0], [10, 0], [3, 0], [9, 0], [7, 0]])
    labels = np.array(["a", "a", "b", "a", "b", "a"])
    fit = np.array([True, True, True, False, False, False])
    found = centroid_recall(features, labels, fit, whiten=False)
    # Centroids at 1 and 10: 3 is nearer to a, 9 to b, and 7 (an a) to b.
    assert found.confusion.tolist() == [[1, 1], [0, 1]]
    assert found.accuracy == (0.5 + 1) / 2
    assert found.chance == 0.5
    assert found.right == 2 / 3
    assert found.right_chance == pytest.approx((1 * 2 + 2 * 1) / 9)


def test_whitening_sees_a_small_but_steady_difference():
    rng = np.random.default_rng(0)
    labels = np.array(["a", "b"] * 200)
    features = rng.normal(size=(400, 2)) * [10, 0.1]
    features[:, 1] += np.where(labels == "a", 0.2, -0.2)
    fit = np.arange(400) < 200
    plain = centroid_recall(features, labels, fit, whiten=False).accuracy
    white = centroid_recall(features, labels, fit, shrinkage=1e-4).accuracy
    assert plain < 0.7
    assert white > 0.95


def test_a_metric_without_whitening_is_the_plain_distance():
    rng = np.random.default_rng(0)
    features = rng.normal(size=(9, 3))
    found = fit_centroids(features, np.array(["a", "b", "c"] * 3), whiten=False)
    want = ((features[:, None] - found.centroids) ** 2).sum(-1)
    assert np.allclose(found.distances(features), want)


def test_finer_groups_answer_with_their_label():
    # Law is at -1 in German and at 3 in Greek, news at 1: one centroid a label would fail.
    features = np.array([[-1.0], [3], [1], [-1], [3], [1]])
    labels = np.array(["law", "law", "news"] * 2)
    groups = np.array(["de", "el", "de"] * 2)
    fit = np.arange(6) < 3
    assert centroid_recall(features, labels, fit, whiten=False).accuracy == 0.75 - 0.25
    assert centroid_recall(features, labels, fit, whiten=False, groups=groups).accuracy == 1


def test_halves_keep_families_together():
    families = np.array(["b", "a", "b", "c", "a", "d"])
    assert halves(families).tolist() == [True, False, True, True, False, False]
    for seed in range(5):
        fit = halves(families, seed)
        assert fit[0] == fit[2]
        assert fit[1] == fit[4]
        assert fit.sum() in (2, 3, 4)


def test_features_are_roots_of_shares():
    features = passage_features(np.array([[[1, 3], [4, 0]]]))
    assert features.tolist() == [[0.5, pytest.approx(0.75**0.5), 1, 0]]
    assert passage_features(np.array([[[1, 3], [4, 0]]]), root=False).tolist() == [
        [0.25, 0.75, 1, 0]
    ]


def test_meaningless_labels_are_told_no_better_than_chance():
    rng = np.random.default_rng(0)
    counts = rng.multinomial(64, rng.dirichlet(np.ones(8), size=(600, 2)))
    routing = make_routing(counts, {"topic": rng.integers(0, 4, 600).astype(str)})
    found = routing_recall(routing, "topic")
    assert found.passages == 300
    assert found.accuracy == pytest.approx(found.chance, abs=0.08)  # 3 sd of 300 answers


def test_short_passages_and_missing_halves_are_refused():
    routing = make_routing([[[3, 1]]] * 4, {"topic": ["a", "b", "a", "b"]})
    with pytest.raises(CorpusError) as refused:
        routing_recall(routing, "topic")
    assert str(refused.value) == (
        "No value of 'topic' has passages of 64 tokens or more in two documents that could be kept "
        "apart, so hand cannot test whether routing tells it."
    )
