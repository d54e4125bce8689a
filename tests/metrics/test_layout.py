"""UMAP in its own process: groups stay groups, copies share a place, trouble is one sentence."""

import os
import signal

import numpy as np
import pytest

from moeviz.metrics.layout import LayoutProcess
from moeviz.metrics.map import MapError, nearest


@pytest.fixture(scope="module")
def process():
    started = LayoutProcess()
    yield started
    started.close()


@pytest.fixture(scope="module")
def points():
    rng = np.random.default_rng(0)
    centres = np.repeat([[0, 0, 0, 0], [9, 0, 0, 0], [0, 9, 0, 0]], 30, axis=0)
    made = (centres + rng.normal(size=(90, 4))).astype(np.float32)
    made[-1] = made[-2]
    return made


def test_groups_stay_together_and_copies_share_a_place(process, points):
    said = []
    found = process.layout(points, 3, said.append)
    assert found.shape == (90, 2)
    assert np.isfinite(found).all()
    groups = np.repeat(range(3), 30)
    around = nearest(found, found, 6)[0][:, 1:]
    assert (groups[around] == groups[:, None]).mean() > 0.99
    assert np.array_equal(found[-1], found[-2])
    assert said[0] == "Starting umap-learn"
    assert said[-1].startswith("Laying out, round ")
    assert np.array_equal(process.layout(points, 3, said.append), found)


def test_too_few_points_are_refused_and_the_process_stays(process, points):
    with pytest.raises(MapError) as error:
        process.layout(np.repeat(points[:3], 4, axis=0), 0, print)
    assert str(error.value) == "UMAP needs at least 5 different points; there are 3."
    assert process._process.poll() is None


def test_a_process_that_dies_is_one_sentence_and_then_started_anew(process, points):
    def kill(words: str) -> None:
        os.kill(process._process.pid, signal.SIGKILL)

    with pytest.raises(MapError) as error:
        process.layout(points, 4, kill)
    assert str(error.value) == "The layout was given up: its process ended."
    assert process._running().poll() is None
