"""Loads counted by hand, and chance against the binomial it must be."""

import math

import numpy as np
import pytest
from handmade import make_trace

from moeviz.metrics.load import (
    expert_load,
    filled_tokens,
    layer_chance,
    layer_sizes,
    load_chance,
    random_choices,
    random_loads,
)
from moeviz.trace import RouterSpec


def test_counts_and_shares_by_hand(tiny_trace):
    load = expert_load(tiny_trace)
    assert load.counts.tolist() == [[4, 2, 1, 1], [1, 2, 3, 2]]
    assert load.share[0].tolist() == [0.5, 0.25, 0.125, 0.125]
    assert load.assignments.tolist() == [8, 8]


def test_empty_slots_are_no_assignments():
    load = expert_load(make_trace([[[0, 1], [0, -1], [-1, -1], [3, 0]]]))
    assert load.counts.tolist() == [[3, 1, 0, 1]]
    assert load.assignments.tolist() == [5]
    assert load.share[0, 0] == 3 / 5


def test_an_expert_a_layer_does_not_have_is_not_an_idle_one():
    router = RouterSpec(experts=4, chosen=2, experts_per_layer=(4, 2), chosen_per_layer=(2, 1))
    trace = make_trace(
        [[[0, 1], [2, 3], [0, 1], [0, 1]], [[0, -1], [1, -1], [0, -1], [0, -1]]], router=router
    )
    load = expert_load(trace)
    assert load.counts[1].tolist() == [3, 1, -1, -1]
    assert np.isnan(load.share[1, 2:]).all()
    assert np.nansum(load.share, axis=1).tolist() == [1, 1]
    assert [x.tolist() for x in layer_sizes(trace)] == [[4, 2], [2, 1]]


def test_renaming_experts_renames_the_shares_and_nothing_else(tiny_trace):
    names = np.array([2, 0, 3, 1])
    renamed = expert_load(make_trace(names[tiny_trace.experts]))
    assert (renamed.share[:, names] == expert_load(tiny_trace).share).all()


def test_results_cannot_be_written_to(tiny_trace):
    with pytest.raises(ValueError, match="read-only"):
        expert_load(tiny_trace).share[0, 0] = 1


def test_random_routes_are_distinct_and_every_set_is_equally_likely():
    ids = random_choices(np.random.default_rng(0), 60_000, experts=5, chosen=3)
    assert (np.diff(np.sort(ids), axis=1) > 0).all()
    codes = (1 << ids).sum(axis=1)
    counts = np.bincount(codes)[np.bincount(codes) > 0]
    assert len(counts) == math.comb(5, 3)
    assert abs(counts - 6000).max() < 5 * math.sqrt(6000)


def test_the_count_of_one_expert_is_binomial():
    tokens, experts, chosen = 50, 8, 2
    counts = random_loads(tokens, experts, chosen, draws=4000, seed=1)
    assert (counts.sum(axis=1) == tokens * chosen).all()
    p = chosen / experts
    assert counts.mean() == pytest.approx(tokens * p)
    assert counts.var() == pytest.approx(tokens * p * (1 - p), rel=0.05)


def test_chance_is_seeded_and_says_how_often_it_drew():
    first, again = load_chance(40, 16, 2), load_chance(40, 16, 2)
    assert first == again
    assert first.draws == 200
    assert first.low < first.even == 1 / 16 < first.high <= first.busiest_high


def test_chance_narrows_as_the_text_grows():
    short, long = load_chance(20, 8, 2), load_chance(2000, 8, 2)
    assert long.high - long.low < (short.high - short.low) / 5


def test_draws_in_chunks_are_as_many_as_asked(monkeypatch):
    monkeypatch.setattr("moeviz.metrics.load._CHUNK", 100)
    assert random_loads(30, 4, 2, draws=7, seed=0).shape == (7, 4)


def test_where_every_expert_is_chosen_there_is_no_chance():
    chance = load_chance(9, 3, 3)
    assert (chance.low, chance.high, chance.busiest_high) == pytest.approx((1 / 3,) * 3)


def test_chance_counts_only_slots_that_are_filled():
    """A model that dropped most tokens itself: 4 of 40 slots are filled."""
    ids = np.full((1, 40, 1), -1)
    ids[0, :4, 0] = range(4)
    trace = make_trace(ids, np.where(ids >= 0, 1.0, 0.0), text="a" * 40)
    load = expert_load(trace)
    assert filled_tokens(load, 1, 0) == 4
    assert layer_chance(trace, load, 0) == load_chance(4, 4, 1)
