"""Placements by hand, and the worked example that EPLB publishes."""

import numpy as np
import pytest

from moeviz.rules.placement import (
    PlacementError,
    balanced,
    contiguous,
    device_load,
    pack,
    replicas,
    round_robin,
)

# github.com/deepseek-ai/EPLB, README: 2 layers, 12 experts, 16 places, 4 groups, 2 nodes, 8 GPUs.
EPLB_LOAD = np.array(
    [
        [90, 132, 40, 61, 104, 165, 39, 4, 73, 56, 183, 86],
        [20, 107, 104, 64, 19, 197, 187, 157, 172, 86, 16, 27],
    ]
)
EPLB_PLACES = [
    [5, 6, 5, 7, 8, 4, 3, 4, 10, 9, 10, 2, 0, 1, 11, 1],
    [7, 10, 6, 8, 6, 11, 8, 9, 2, 4, 5, 1, 5, 0, 3, 1],
]


@pytest.mark.parametrize("layer", [0, 1])
def test_the_example_that_eplb_publishes(layer):
    places = balanced(EPLB_LOAD[layer], places=16, devices=8, nodes=2, groups=4)
    assert places.tolist() == EPLB_PLACES[layer]


def test_simple_placements():
    assert contiguous(6, 3).reshape(3, 2).tolist() == [[0, 1], [2, 3], [4, 5]]
    assert round_robin(6, 3).reshape(3, 2).tolist() == [[0, 3], [1, 4], [2, 5]]


def test_the_busiest_expert_is_replicated_first():
    assert replicas(np.array([10, 4, 30]), 6).tolist() == [0, 1, 2, 2, 2, 0]


def test_packing_is_even_where_it_can_be():
    assert pack(np.array([5, 4, 3, 2]), 2) == [[0, 3], [1, 2]]


def test_replicas_share_their_load_and_nothing_is_lost():
    load = np.array([8.0, 2.0, 2.0])
    places = balanced(load, places=4, devices=2)
    carried = device_load(load, places, 2)
    assert carried.tolist() == [6.0, 6.0]
    rng = np.random.default_rng(0)
    for _ in range(50):
        load = rng.random(12)
        places = balanced(load, places=16, devices=4)
        assert set(places.tolist()) == set(range(12))
        assert device_load(load, places, 4).sum() == pytest.approx(load.sum())


@pytest.mark.parametrize(
    ("call", "sentence"),
    [
        (
            lambda: contiguous(6, 4),
            "6 places cannot be shared evenly by 4 devices. "
            "Choose a number of devices that divides 6.",
        ),
        (lambda: balanced(np.ones(8), 4, 2), "8 experts do not fit in 4 places."),
        (
            lambda: balanced(np.ones(12), 12, 4, nodes=2, groups=3),
            "12 experts in 3 groups cannot be kept together on 2 nodes of 4 devices: each number "
            "must divide the one before.",
        ),
    ],
)
def test_numbers_that_do_not_divide_are_refused(call, sentence):
    with pytest.raises(PlacementError) as caught:
        call()
    assert str(caught.value) == sentence
