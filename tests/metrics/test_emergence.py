"""Growth over training, against a run worked by hand and the model card's own table."""

import re
from pathlib import Path

import numpy as np
import pytest

from moeviz.corpora.emergence import FILE, Emergence, load_emergence
from moeviz.metrics.emergence import (
    grouped,
    label_divergence,
    max_violation,
    passage_counts,
    saturation,
)


@pytest.fixture(scope="module")
def tiny():
    """Two moments, one layer, two passages of a first token and two more, top-1 of two."""
    experts = np.array([[[[[0], [0], [0]], [[1], [0], [1]]]], [[[[1], [0], [0]], [[1], [1], [1]]]]])
    labels = {"language": np.array(["a", "b"])}
    return Emergence(experts.astype(np.uint8), 2, np.array([0, 9]), np.array([2.0, 1.0]), labels)


def test_by_hand(tiny):
    assert passage_counts(tiny).tolist() == [[[[2, 0], [1, 1]]], [[[2, 0], [0, 2]]]]
    assert saturation(tiny).values.tolist() == [[0.75], [1.0]]
    assert max_violation(tiny).values.tolist() == [[0.5], [0.0]]
    bits = label_divergence(tiny, "language").values
    assert bits[1, 0] == pytest.approx(1.0)
    assert bits[0, 0] == pytest.approx(0.8112781 - 0.5)  # H(3/4, 1/4) less the mean of 0 and 1
    counts = passage_counts(tiny)
    assert np.array_equal(grouped(counts, np.array([0, 0]))[:, :, 0], counts.sum(axis=2))


def test_saturation_is_that_of_the_model_card():
    """The card counts the first token of each passage too, a 48th of them."""
    card = (Path(FILE).parent / "MODEL_CARD.md").read_text()
    rows = re.findall(r"\| \d+\.\d\d M \| [\d.]+ \| (.*) \|", card)
    table = np.array([[float(cell.strip(" %")) / 100 for cell in row.split("|")] for row in rows])
    found = saturation(load_emergence())
    assert table.shape == found.values.shape
    assert np.abs(table - found.values).max() < 0.025
    assert found.chance[0, 0] == 2 / 16


def test_languages_part_beyond_chance_only_once_trained():
    found = label_divergence(load_emergence(), "language")
    assert (found.values[-1] > found.chance[-1, 1]).all()
    assert found.values[-1].min() > 2 * found.values[0].min()
    assert found.values[0, 0] <= found.chance[0, 1]
