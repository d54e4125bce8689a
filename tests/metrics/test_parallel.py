"""Load and traffic of spread experts, by hand."""

import numpy as np
import pytest
from handmade import make_trace

from moeviz.metrics.parallel import parallel_load
from moeviz.rules.placement import PlacementError


@pytest.fixture
def trace():
    """Four tokens, top-2 of four experts; tokens 0 and 1 live on device 0, 2 and 3 on device 1."""
    return make_trace([[[0, 1], [0, 2], [0, 3], [2, 3]]])


def test_contiguous_by_hand(trace):
    found = parallel_load(trace, devices=2, hidden=8)  # experts 0, 1 | 2, 3
    assert found.assignments.tolist() == [[4, 4]]
    assert found.straggler.tolist() == [1.0]
    # Token 1 goes to device 1 for expert 2, token 2 to device 0 for expert 0.
    assert found.transfers.tolist() == [2]
    assert found.bytes.tolist() == [2 * 2 * 8 * 2]


def test_round_robin_by_hand(trace):
    found = parallel_load(trace, devices=2, placement="round-robin")  # experts 0, 2 | 1, 3
    assert found.assignments.tolist() == [[5, 3]]
    assert found.straggler.tolist() == [1.25]
    # Token 0 needs expert 1 elsewhere; token 2 expert 0; token 3 expert 2.
    assert found.transfers.tolist() == [3]
    assert np.isnan(found.bytes).all()


def test_replicas_even_out_a_busy_expert():
    trace = make_trace([[[0]] * 6 + [[1], [2]]], text="abcdefgh", number=4)
    plain = parallel_load(trace, devices=2)
    spread = parallel_load(trace, devices=2, placement="balanced", spare=1)
    assert plain.straggler.tolist() == [7 / 4]
    assert spread.assignments.sum() == 8
    assert spread.straggler[0] == 1.0


def test_one_device_sends_nothing(trace):
    found = parallel_load(trace, devices=1, hidden=8)
    assert found.transfers.tolist() == [0]
    assert found.bytes.tolist() == [0]


def test_bad_requests_are_refused(trace):
    with pytest.raises(PlacementError) as caught:
        parallel_load(trace, devices=3)
    assert str(caught.value) == (
        "4 places cannot be shared evenly by 3 devices. Choose a number of devices that divides 4."
    )
    with pytest.raises(PlacementError) as caught:
        parallel_load(trace, devices=2, placement="best")
    assert str(caught.value) == "'best' is not one of contiguous, round-robin, balanced."
