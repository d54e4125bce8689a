"""Clouds carry every point, class and place as they are."""

import numpy as np
import pytest

from moeviz.charts.cloud import MOST_CLASSES, cloud_picture, on_screen, tint_picture
from moeviz.metrics.map import pca_map, with_layout

POINTS = np.array([[0, 0], [4, 0], [4, 2], [0, 2], [2, 1]], np.float32)


@pytest.fixture
def shown():
    return with_layout(pca_map(POINTS), POINTS, 3)


def picture(shown, labels, texts=("a", "b", "c", "d", "e")):
    return cloud_picture("passages", shown, texts, {"language": labels}, "demo", "k")


def test_points_keep_their_proportions(shown):
    made = picture(shown, np.array(list("aabbb")))
    assert (made.meta["width"], made.meta["height"]) == (1.0, 0.5)
    assert made.arrays["x"].tolist() == [0, 65534, 65534, 0, 32767]
    assert made.arrays["y"].tolist() == [0, 0, 65534, 65534, 32767]
    assert np.allclose(on_screen(shown, np.array([[2.0, 1.0], [90, 1]])), [[0.5, 0.5], [1.02, 0.5]])


def test_classes_are_named_largest_first(shown):
    made = picture(shown, np.array(["de", "de", "xy_z", "de", ""]))
    classes = made.meta["columns"][0]["classes"]
    assert [(c["name"], c["count"]) for c in classes] == [("de", 3), ("none", 1), ("xy z", 1)]
    assert made.arrays["c0"].tolist() == [0, 0, 2, 0, 1]


def test_more_classes_than_marks_share_the_last():
    many = np.random.default_rng(0).normal(size=(200, 2)).astype(np.float32)
    labels = np.array([f"{n:03}" for n in range(200)])
    texts = ["t"] * 200
    made = cloud_picture("passages", pca_map(many), texts, {"id": labels}, "demo", "k")
    classes = made.meta["columns"][0]["classes"]
    assert len(classes) == MOST_CLASSES
    assert classes[-1] == {"name": "other", "count": 200 - MOST_CLASSES + 1}


def test_a_name_stands_where_its_class_is_thick_and_nowhere_else():
    rng = np.random.default_rng(0)
    thick, thin = rng.normal(0.2, 0.01, (50, 2)), rng.uniform(0, 1, (50, 2))
    labels = np.array(["thick"] * 50 + ["thin"] * 50)
    points = np.vstack([thick, thin]).astype(np.float32)
    shown = with_layout(pca_map(points), points, 0)
    spots = cloud_picture("passages", shown, ["t"] * 100, {"k": labels}, "d", "k").meta["spots"][
        "k"
    ]
    assert np.allclose(spots[0], on_screen(shown, thick.mean(axis=0)[None])[0], atol=0.05)
    assert spots[1] is None


def test_long_texts_are_cut_and_flattened(shown):
    made = picture(shown, np.array(list("aaaaa")), ("x\n y" + "z" * 500, "b", "c", "d", "e"))
    assert made.meta["texts"][0].startswith("x yzz")
    assert len(made.meta["texts"][0]) == 100


def test_a_tint_says_its_scale():
    made = tint_picture("passages", "load", value=np.array([0.0, 0.25, 0.5]), label="share")
    assert made.arrays["value"].tolist() == [0, 128, 255]
    assert made.meta["ends"] == ["0 %", "50 %"]


def test_a_tint_of_factors_says_so():
    made = tint_picture("experts", "load", value=np.array([0.5, 2.0]), label="Load", times=True)
    assert made.meta["ends"] == ["0", "2.0 ×"]
    assert made.meta["times"]
    assert made.arrays["value"].tolist() == [64, 255]
