"""Groups on the sphere and their purity, against points and tables worked by hand."""

import numpy as np
import pytest

from moeviz.corpora.atlas import load_atlas
from moeviz.corpora.bundled import bundled
from moeviz.metrics.clusters import purity, sphere_clusters
from moeviz.metrics.map import MapError, pca_map, routing_features


def test_directions_make_groups_whatever_the_length():
    points = np.array([[1, 0.1], [9, 0], [0, 1], [0.1, 7], [0, 2.0]])
    assert sphere_clusters(points, 2).tolist() == [1, 1, 0, 0, 0]  # the largest first


def test_purity_by_hand():
    groups = np.array([0, 0, 0, 1, 1, 1])
    labels = np.array(["a", "a", "b", "b", "b", "b"])
    found = purity(groups, labels)
    assert found.share == pytest.approx(5 / 6)
    assert found.groups == ("a", "b")
    assert np.allclose(found.of, [2 / 3, 1])
    assert found.low == pytest.approx(4 / 6)  # b alone is 4 of 6, whatever the deal


def test_the_atlas_falls_into_languages_more_than_chance():
    routing = bundled(load_atlas()).routing
    reduced = pca_map(routing_features(routing.counts)).reduced
    groups = sphere_clusters(reduced, 20)
    found = purity(groups, routing.labels["language"])
    assert found.share > 0.8
    assert found.high < 0.3
    shuffled = np.random.default_rng(0).permutation(routing.labels["language"])
    assert purity(groups, shuffled).share < 0.3


def test_more_groups_than_points_are_refused():
    with pytest.raises(MapError) as error:
        sphere_clusters(np.eye(3), 4)
    assert str(error.value) == "3 passages can make 2 to 3 groups, not 4."
