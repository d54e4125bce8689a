"""Overflow of a whole trace, by hand, by what must hold, and by published numbers."""

import dataclasses

import numpy as np
import pytest
from handmade import make_trace

from moeviz.metrics.overflow import (
    overflow,
    overflow_by_position,
    overflow_chance,
    overflow_curve,
)
from moeviz.rules.capacity import CapacityRule


@pytest.fixture
def trace():
    """Four tokens, top-1 of two experts. Layer 0 sends three to expert 0; layer 1 is even."""
    return make_trace([[[0], [0], [1], [0]], [[0], [1], [0], [1]]], number=2)


def test_a_table_worked_by_hand(trace):
    found = overflow(trace, CapacityRule(factor=1.0))  # capacity 4 / 2 = 2
    assert found.capacity.tolist() == [2]
    assert found.dropped[..., 0].tolist() == [[False, False, False, True], [False] * 4]
    assert found.rate.tolist() == [0.25, 0.0]
    assert found.kept.tolist() == [[2, 1], [2, 2]]
    assert found.lost.tolist() == [[1, 0], [0, 0]]
    assert found.fully_dropped.tolist() == [[False, False, False, True], [False] * 4]
    assert found.padding_waste.tolist() == [0.25, 0.0]  # one of four places empty in layer 0
    assert found.dropless_factor.tolist() == [1.5, 1.0]  # 3 = 4 / 2 * 1.5


def test_nothing_is_dropped_at_the_dropless_factor_and_something_just_below(tiny_trace):
    for convention in ("switch", "vmoe", "tutel"):
        rule = CapacityRule(convention=convention)
        for row, factor in enumerate(overflow(tiny_trace, rule).dropless_factor):
            at = overflow(tiny_trace, dataclasses.replace(rule, factor=float(factor)))
            below = overflow(tiny_trace, dataclasses.replace(rule, factor=float(factor) - 0.01))
            assert at.rate[row] == 0
            assert below.rate[row] > 0


def test_a_token_is_fully_dropped_only_when_every_slot_is(tiny_trace):
    found = overflow(tiny_trace, CapacityRule(convention="absolute", absolute=1))
    np.testing.assert_array_equal(found.fully_dropped, found.dropped.all(axis=2))
    assert found.fully_dropped.any()
    assert np.isnan(found.dropless_factor).all()


def test_the_curve_agrees_with_the_rule_at_every_factor(tiny_trace):
    rule = CapacityRule(convention="vmoe")
    factors = [0.25, 0.5, 1.0, 1.5, 2.0]
    curve = overflow_curve(tiny_trace, rule, factors)
    for row, factor in zip(curve, factors, strict=True):
        expected = overflow(tiny_trace, dataclasses.replace(rule, factor=factor)).rate
        np.testing.assert_allclose(row, expected)


def test_position_priority_drops_towards_the_end():
    trace = make_trace([[[0]] * 20], number=2, text="a" * 20)
    found = overflow(trace, CapacityRule(factor=1.0))  # 10 of 20 fit
    assert overflow_by_position(found.dropped, 4).tolist() == [[0, 0, 1, 1]]


@pytest.mark.parametrize(
    ("tokens", "rule", "published"),
    [
        (16, CapacityRule(1.0, "vmoe"), 0.251),
        (16, CapacityRule(convention="absolute", absolute=3), 0.092),  # ceil(2.5)
        (2048, CapacityRule(1.0, "vmoe"), 0.025),
        (2048, CapacityRule(1.25, "vmoe"), 0.0),
    ],
)
def test_chance_reproduces_the_random_router_figures(tokens, rule, published):
    """Random top-8 of 64, from the design's table; the capacity is rounded up there."""
    chance = overflow_chance(tokens, 64, 8, rule)
    assert chance.mean == pytest.approx(published, abs=0.0025)
    assert chance.low <= chance.mean <= chance.high


def test_layers_with_fewer_experts_keep_their_own_capacity():
    router = dataclasses.replace(
        make_trace([[[0]] * 4]).router, experts=4, experts_per_layer=(4, 2)
    )
    trace = make_trace([[[0]] * 4, [[0]] * 4], router=router)
    found = overflow(trace, CapacityRule(factor=1.0))  # 4 / 4 = 1 and 4 / 2 = 2
    assert found.kept[:, 0].tolist() == [1, 2]
