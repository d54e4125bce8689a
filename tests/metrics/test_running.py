"""Overflow while a text grows: at every length the same as overflow of the whole text so far."""

import dataclasses

import numpy as np
import pytest
from handmade import make_trace
from hypothesis import given, settings
from hypothesis import strategies as st

from moeviz.metrics.load import random_choices
from moeviz.metrics.overflow import overflow, overflow_chance
from moeviz.metrics.running import RunningOverflow
from moeviz.rules.capacity import CONVENTIONS, CapacityRule, RuleError


@given(
    convention=st.sampled_from(CONVENTIONS),
    factor=st.sampled_from([0.25, 0.5, 1.0, 1.25, 2.0]),
    group=st.sampled_from([None, 1, 4, 7]),
    priority=st.sampled_from(["position", "gate"]),
    first=st.integers(7, 20),
    seed=st.integers(0, 20),
)
@settings(max_examples=40, deadline=None)
def test_it_equals_overflow_at_every_length(convention, factor, group, priority, first, seed):
    rng = np.random.default_rng(seed)
    count, experts, chosen = first + 12, 5, 2
    ids = random_choices(rng, 2 * count, experts, chosen).reshape(2, count, chosen)
    ids[rng.random(ids.shape) < 0.1] = -1
    gates = np.where(ids >= 0, -np.sort(-rng.random(ids.shape), axis=-1), 0)
    gates = gates.astype(np.float32)
    rule = CapacityRule(factor, convention, priority, group=group, absolute=2, seed=seed)
    running = RunningOverflow(rule, [experts] * 2, [chosen] * 2, draws=5)
    for start, end in [(0, first), *((t, t + 1) for t in range(first, count))]:
        running.add(ids[:, start:end], gates[:, start:end])
        trace = make_trace(ids[:, :end], gates[:, :end], number=experts, text="x" * end)
        found = running.now()
        assert found.tokens == end
        np.testing.assert_allclose(found.rate, overflow(trace, rule).rate)


def test_a_table_worked_by_hand():
    # Top-1 of two experts, CF 1: room for half the tokens, rounded down.
    running = RunningOverflow(CapacityRule(factor=1.0), [2], [1])
    rates = []
    for expert in (0, 0, 1, 0):
        running.add(np.array([[[expert]]]), np.ones((1, 1, 1)))
        rates.append(float(running.now().rate[0]))
    assert rates == [1, 1 / 2, 1 / 3, 1 / 4]  # room for 0, 1, 1 and 2 tokens: always one is lost


def test_its_chance_band_is_that_of_random_routers_of_the_same_length():
    rule = CapacityRule(1.0, "vmoe", group=16)
    running = RunningOverflow(rule, [8], [2], draws=2000, seed=1)
    ids = np.tile([0, 1], (1, 40, 1))
    running.add(ids[:, :30], ids[:, :30] * 0.5)
    for t in range(30, 40):
        running.add(ids[:, t : t + 1], ids[:, t : t + 1] * 0.5)
    found, whole = running.now(), overflow_chance(40, 8, 2, rule, draws=2000, seed=2)
    assert found.low[0] == pytest.approx(whole.low, abs=0.01)
    assert found.high[0] == pytest.approx(whole.high, abs=0.01)
    assert found.low[0] < found.high[0]


def test_layers_of_different_sizes_have_their_own_band():
    running = RunningOverflow(CapacityRule(1.0, "vmoe"), [4, 2], [1, 1])
    running.add(np.zeros((2, 12, 1), int), np.ones((2, 12, 1)))
    found = running.now()
    assert found.rate.tolist() == [9 / 12, 6 / 12]  # room for 3 and for 6
    assert found.high[0] > found.high[1]


def test_a_text_shorter_than_a_group_is_one_sentence_until_it_is_long_enough():
    running = RunningOverflow(dataclasses.replace(CapacityRule(), group=3), [2], [1])
    running.add(np.zeros((1, 2, 1), int), np.ones((1, 2, 1)))
    with pytest.raises(RuleError) as caught:
        running.now()
    assert str(caught.value) == "A group of 3 tokens is larger than the text, which has 2."
    running.add(np.zeros((1, 1, 1), int), np.ones((1, 1, 1)))
    assert running.now().tokens == 3
