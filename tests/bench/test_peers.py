"""The grids and counts that are timed are what they say, at a size small enough for a test."""

import io
import json
import math
import re

import numpy as np
from PIL import Image

from moeviz.bench import heatmap
from moeviz.bench.balance import balance_speed
from moeviz.metrics.router import router_probabilities


def sane(row) -> bool:
    return 0 < row.low <= row.ratio <= row.high < math.inf


def test_balance_and_load_are_set_against_bare_counting():
    rows = balance_speed(tokens=2_000, layers=2, experts=16, chosen=4, rounds=3)
    assert [row.what for row in rows] == [
        "expert_load of 2,000 tokens x 2 layers", "balance of 2,000 tokens x 2 layers",
    ]  # fmt: skip
    assert all(sane(row) and row.against == "numpy.bincount" for row in rows)


def test_all_grids_hold_the_same_probabilities():
    trace = heatmap._trace(40, 16)
    grid = router_probabilities(trace, 0)
    assert np.array_equal(trace.experts[0, :, 0], grid.argmax(axis=1)), "choices follow the logits"

    (drawn,) = json.loads(heatmap._plotly(trace)())["data"]
    assert drawn["type"] == "heatmap" and drawn["z"]["shape"] == "40, 16"

    picture = Image.open(io.BytesIO(heatmap._png(trace)()))
    assert picture.size == (16, 40), "a pixel a cell"
    brightness = np.asarray(picture.convert("L"), float)
    assert np.corrcoef(brightness.ravel(), grid.ravel())[0, 1] > 0.9

    ours = heatmap._ours(trace)()
    length = int.from_bytes(ours[:4], "little")
    described = json.loads(ours[4 : 4 + length])["arrays"]
    (at,) = (at for name, _, at, _ in described if name == "values")
    steps = np.frombuffer(ours, np.uint16, 40 * 16, 4 + length + at)
    assert np.allclose(steps.reshape(40, 16) / 65534, grid, atol=1e-5)


def test_time_and_bytes_of_a_grid_are_told():
    rows = heatmap.heatmap_speed(tokens=200, experts=16, rounds=3)
    assert rows and all(sane(row) for row in rows)
    for row in rows:
        assert re.fullmatch(r"grid, \d\.\d\d MB, 200 tokens x 16 experts", row.what)
        assert re.fullmatch(r"(plotly Heatmap|matplotlib imshow), \d\.\d\d MB", row.against)
