"""A selected run of tokens keeps its numbers, and counts only itself."""

import numpy as np
import pytest

from moeviz.metrics.expert import expert_tokens
from moeviz.metrics.load import expert_load
from moeviz.metrics.selection import selected
from moeviz.trace import TraceError


def test_a_selection_is_a_slice_of_every_array(tiny_trace):
    part = selected(tiny_trace, 1, 2)
    assert part.experts.tolist() == [[[0, 1], [0, 2]], [[1, 3], [2, 1]]]
    assert part.logits.tolist() == tiny_trace.logits[:, 1:3].tolist()
    assert part.loss.tolist() == [2.0, 3.0]
    assert part.tokens.texts == ["b", "c"]
    assert part.tokens.source == "abcd"
    assert expert_load(part).counts.tolist() == [[2, 1, 1, 0], [0, 2, 1, 1]]


def test_all_tokens_selected_are_the_same_trace(tiny_trace):
    assert selected(tiny_trace, 0, 3).key == tiny_trace.key


def test_tokens_that_are_not_there_cannot_be_selected(tiny_trace):
    for first, last in ((2, 4), (3, 2), (-1, 0)):
        with pytest.raises(TraceError) as caught:
            selected(tiny_trace, first, last)
        assert str(caught.value) == (
            f"Tokens {first} to {last} cannot be selected: this trace has tokens 0 to 3."
        )


def test_an_experts_tokens_come_with_choice_and_gate(tiny_trace):
    found = expert_tokens(tiny_trace, 0, 0)
    assert found.tokens.tolist() == [0, 1, 2, 3]
    assert found.slot.tolist() == [0, 0, 0, 1]
    assert found.gate == pytest.approx(np.float32([0.7, 0.6, 0.9, 0.5]))
    assert expert_tokens(tiny_trace, 1, 0).tokens.tolist() == [3]


def test_an_expert_that_is_not_there(tiny_trace):
    with pytest.raises(TraceError) as caught:
        expert_tokens(tiny_trace, 0, 4)
    assert str(caught.value) == "There is no expert 4: this trace has experts 0 to 3."
