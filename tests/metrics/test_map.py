"""The map: components against numpy, placing against hand-worked points, and what ships."""

import numpy as np
import pytest

from moeviz.corpora.atlas import load_atlas
from moeviz.corpora.bundled import bundled
from moeviz.metrics.map import (
    MapError,
    expert_features,
    nearest,
    open_map,
    pca_map,
    place,
    routing_features,
    save_map,
    with_layout,
)


@pytest.fixture(scope="module")
def features():
    rng = np.random.default_rng(0)
    return rng.dirichlet(np.ones(8), 60).astype(np.float32).reshape(30, 16)


@pytest.fixture(scope="module")
def shipped():
    return bundled(load_atlas())


def test_features_are_shares_of_each_layer():
    counts = np.array([[[2, 2, 0], [3, 1, -1]], [[0, 0, 5], [0, 0, -1]]])
    expected = [[0.5, 0.5, 0, 0.75, 0.25, 0], [0, 0, 1, 0, 0, 0]]
    assert np.allclose(routing_features(counts), expected)


def test_components_are_those_of_the_singular_values(features):
    found = pca_map(features, components=4)
    centred = features - features.mean(axis=0)
    _, sizes, axes = np.linalg.svd(centred, full_matrices=False)
    assert np.allclose(np.abs(found.components @ axes[:4].T), np.eye(4), atol=1e-3)
    assert np.allclose(found.explained, sizes[:4] ** 2 / (sizes**2).sum(), atol=1e-4)
    assert np.allclose(found.reduced, centred @ found.components.T, atol=1e-6)
    assert np.array_equal(found.coordinates, found.reduced[:, :2])


def test_few_or_equal_points_are_refused(features):
    with pytest.raises(MapError) as few:
        pca_map(features[:2])
    assert str(few.value) == "A map needs at least 3 passages; there are 2."
    with pytest.raises(MapError) as same:
        pca_map(np.ones((5, 4)))
    assert str(same.value) == ("All passages are routed exactly alike, so there is nothing to map.")


def test_nearest_agrees_with_sorting_all_distances(features):
    ids, distances = nearest(features, features[:5], 4)
    every = np.linalg.norm(features[:5, None] - features, axis=-1)
    assert np.array_equal(ids, np.argsort(every, axis=1)[:, :4])
    assert np.allclose(distances, np.sort(every, axis=1)[:, :4], atol=1e-6)


def test_a_new_point_lies_between_its_neighbours_by_weight():
    line = np.zeros((4, 2), np.float32)
    line[:, 0] = [0, 1, 10, 11]
    found = with_layout(pca_map(line), np.array([[0, 0], [4, 0], [50, 50], [60, 60]], float), 7)
    placed = place(found, np.array([[0.25, 0]], np.float32), neighbours=2)
    assert placed.neighbours.tolist() == [[0, 1]]
    assert np.allclose(placed.distances, [[0.25, 0.75]])
    assert np.allclose(placed.coordinates, [[1.0, 0]])  # weights 4 and 4/3: a quarter of the way
    assert not placed.unlike[0]
    assert place(found, np.array([[-90, 0]], np.float32)).unlike[0]


def test_a_known_point_lands_on_itself(features):
    layout = np.random.default_rng(1).normal(size=(30, 2))
    placed = place(with_layout(pca_map(features), layout, 0), features)
    assert np.allclose(placed.coordinates, layout, atol=1e-3)
    plain = pca_map(features)
    assert np.allclose(place(plain, features).coordinates, plain.coordinates, atol=1e-6)


def test_another_models_features_are_refused(features):
    with pytest.raises(MapError) as error:
        place(pca_map(features), np.zeros((1, 96), np.float32))
    assert str(error.value) == (
        "The passage has 96 routing features, but this map was made from 16: it belongs to "
        "another model."
    )


def test_experts_that_move_together_lie_together():
    share = np.array([[0.1, 0.2, 0.7], [0.2, 0.4, 0.4], [0.3, 0.6, 0.1], [0.4, 0.8, 0.0]])
    rows, places = expert_features(np.hstack([share, np.full((4, 1), 0.5)]))
    assert places.tolist() == [0, 1, 2]  # the fourth never changes
    assert np.allclose(rows[0], rows[1], atol=1e-6)
    assert rows[0] @ rows[2] < -0.9


def test_a_map_is_saved_and_opened_again(features, tmp_path):
    made = with_layout(pca_map(features), np.ones((30, 2), np.float32), 5)
    again = open_map(save_map(made, tmp_path / "a.safetensors"))
    assert (again.kind, again.seed, again.key) == ("umap", 5, made.key)
    assert np.array_equal(place(again, features).coordinates, place(made, features).coordinates)
    (tmp_path / "b").write_bytes(b"no map")
    with pytest.raises(MapError, match=r"b is not a map that MoEViz wrote: "):
        open_map(tmp_path / "b")


def test_the_shipped_layout_keeps_neighbours_together(shipped):
    from sklearn.manifold import trustworthiness

    made = pca_map(routing_features(shipped.routing.counts))
    some = np.random.default_rng(0).permutation(len(made.reduced))[:1200]
    assert trustworthiness(made.reduced[some], shipped.passages[some], n_neighbors=15) > 0.95
    experts = pca_map(expert_features(routing_features(shipped.routing.counts))[0])
    assert shipped.experts.shape == experts.coordinates.shape == (96, 2)
    assert trustworthiness(experts.reduced, shipped.experts, n_neighbors=5) > 0.8


def test_held_out_passages_land_nearest_their_own_language(shipped):
    """Whole families are held out, so no translation or other part of a text helps."""
    languages, families = shipped.routing.labels["language"], shipped.routing.families
    held = np.unique(families, return_inverse=True)[1] % 4 == 0
    features = routing_features(shipped.routing.counts)
    made = with_layout(pca_map(features[~held]), shipped.passages[~held], shipped.seed)
    placed = place(made, features[held])
    around = nearest(made.coordinates, placed.coordinates, 15)[0]
    named = [_most(row) for row in languages[~held][around]]
    right = np.array(named) == languages[held]
    print(f"{right.mean():.4f} of {held.sum()} held-out passages")
    assert right.mean() >= 0.95


def _most(labels: np.ndarray) -> str:
    names, counts = np.unique(labels, return_counts=True)
    return names[counts.argmax()]
