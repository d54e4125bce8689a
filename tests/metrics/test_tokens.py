"""One token's path is the same numbers as the whole trace holds."""

import numpy as np
import pytest
from handmade import make_trace

from moeviz.metrics.router import router_probabilities
from moeviz.metrics.tokens import token_path
from moeviz.trace import TraceError


def test_a_path_is_a_slice_of_the_trace(tiny_trace):
    path = token_path(tiny_trace, 2)
    assert path.experts.tolist() == [[0, 2], [2, 1]]
    assert path.gates[0] == pytest.approx([0.9, 0.1])
    assert path.share == pytest.approx(path.gates)
    assert path.loss == 3.0
    whole = np.stack([router_probabilities(tiny_trace, row)[2] for row in range(2)])
    assert (path.probability == whole).all()


def test_without_logits_and_loss_the_choices_remain():
    path = token_path(make_trace([[[0, 1], [2, 3], [0, 2], [1, 0]]]), 3)
    assert path.probability is None
    assert np.isnan(path.loss)
    assert path.experts.tolist() == [[1, 0]]


def test_a_token_that_is_not_there(tiny_trace):
    with pytest.raises(TraceError) as caught:
        token_path(tiny_trace, 4)
    assert str(caught.value) == "This trace has tokens 0 to 3; there is no token 4."
