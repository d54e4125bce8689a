"""Ribbons between layers: their tokens, what chance would send there, and their limit."""

import numpy as np
import pytest
from handmade import make_trace

from moeviz.charts.flow import MOST_A_GAP, MOST_LINKS, flow_picture
from moeviz.trace import TraceError


def links(picture):
    a = picture.arrays
    return list(zip(a["row"], a["source"], a["target"], a["tokens"], strict=True))


def test_ribbons_are_first_choices_from_layer_to_layer(tiny_trace):
    picture = flow_picture(tiny_trace)  # first choices 0 0 0 3, then 2 1 2 2
    assert set(links(picture)) == {(0, 0, 2, 2), (0, 0, 1, 1), (0, 3, 2, 1)}
    assert picture.arrays["counts"].reshape(2, 4).tolist() == [[3, 0, 0, 1], [0, 1, 3, 0]]
    expected = dict(zip(links(picture), picture.arrays["expected"], strict=True))
    assert expected[(0, 0, 2, 2)] == pytest.approx(3 * 3 / 4)
    assert expected[(0, 0, 1, 1)] == pytest.approx(3 * 1 / 4)
    assert picture.meta["facts"] == [["Tokens", "4"], ["Ribbons drawn", "3, 100 % of all steps"]]
    assert picture.meta["place"] == "all tokens"


def test_a_selection_flows_alone(tiny_trace):
    picture = flow_picture(tiny_trace, (1, 2))
    assert set(links(picture)) == {(0, 0, 1, 1), (0, 0, 2, 1)}
    assert picture.meta["place"] == "tokens 2 to 3"
    assert picture.meta["from"] == 1
    assert picture.arrays["first"].reshape(2, 2).tolist() == [[0, 0], [1, 2]]


@pytest.mark.parametrize("layers", [3, 48])
def test_only_the_strongest_ribbons_are_drawn(layers):
    rng = np.random.default_rng(0)
    trace = make_trace(rng.integers(0, 64, (layers, 2000, 1)), number=64, text="a" * 2000)
    picture = flow_picture(trace)
    assert len(links(picture)) <= MOST_LINKS
    assert np.bincount(picture.arrays["row"]).max() <= MOST_A_GAP
    assert picture.arrays["counts"].sum() == layers * 2000  # blocks count every token


def test_dropped_tokens_take_no_way():
    picture = flow_picture(make_trace([[[0], [-1], [1], [2]], [[1], [1], [-1], [3]]]))
    assert set(links(picture)) == {(0, 0, 1, 1), (0, 2, 3, 1)}


def test_one_layer_has_no_ways():
    with pytest.raises(TraceError) as caught:
        flow_picture(make_trace([[[0, 1]] * 4]))
    assert str(caught.value) == (
        "This model routes in one layer only, so there are no ways between layers to draw."
    )
