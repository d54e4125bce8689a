"""Capacity and priority, against tables worked by hand."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from moeviz.metrics.load import random_choices
from moeviz.rules.capacity import (
    CONVENTIONS,
    PRIORITIES,
    CapacityRule,
    RuleError,
    dropped_slots,
    windows,
)

# Six tokens, top-2 of three experts; gates chosen so that every priority has its own answer.
IDS = np.array([[0, 1], [0, 2], [1, 0], [0, 1], [0, 2], [2, 0]])
GATES = np.array(
    [[0.60, 0.40], [0.55, 0.45], [0.80, 0.20], [0.70, 0.30], [0.95, 0.05], [0.52, 0.48]]
)


def marked(dropped: np.ndarray) -> list[tuple[int, int]]:
    return [(int(token), int(slot)) for token, slot in np.argwhere(dropped)]


@pytest.mark.parametrize(
    ("convention", "tokens", "experts", "chosen", "factor", "capacity"),
    [
        ("switch", 10, 4, 1, 1.0, 2),  # 2.5 rounded down
        ("switch", 10, 4, 1, 1.25, 3),  # 3.125
        ("switch", 100, 10, 1, 1.1, 11),  # 11.000000000000002 in binary fractions
        ("gshard", 10, 4, 2, 1.0, 5),  # 2 * 10 / 4, whatever the factor
        ("gshard", 10, 4, 2, 3.0, 5),
        ("gshard", 11, 4, 2, 1.0, 6),  # 5.5 rounded up
        ("vmoe", 10, 4, 2, 1.0, 5),
        ("vmoe", 11, 4, 2, 1.25, 7),  # 6.875
        ("deepspeed", 10, 4, 2, 1.0, 5),
        ("deepspeed", 11, 4, 2, 1.25, 7),  # 6.875 rounded up
        ("deepspeed", 8, 8, 1, 1.0, 4),  # never below 4
        ("deepspeed", 100, 10, 1, 1.1, 11),
        ("tutel", 10, 4, 2, 1.0, 6),  # 2 * int(1 * 3)
        ("tutel", 10, 4, 2, 1.25, 6),  # 2 * int(3.75)
        ("tutel", 10, 4, 2, 1.5, 8),  # 2 * int(4.5)
        ("absolute", 10, 4, 2, 1.0, 64),
    ],
)
def test_capacity_of_each_convention(convention, tokens, experts, chosen, factor, capacity):
    rule = CapacityRule(factor=factor, convention=convention)
    assert rule.capacity(tokens, experts, chosen) == capacity


@pytest.mark.parametrize(
    ("priority", "dropped"),
    [
        # Expert 0 is sent tokens 0, 1, 2, 3, 4, 5, expert 1 tokens 0, 2, 3, expert 2 tokens 1, 4,
        # 5; each takes two.
        ("position", [(2, 1), (3, 0), (3, 1), (4, 0), (5, 0), (5, 1)]),
        # First choices first: expert 0 keeps 0 and 1; expert 1 keeps 2, then 0; expert 2 keeps 5,
        # then 1.
        ("slot", [(2, 1), (3, 0), (3, 1), (4, 0), (4, 1), (5, 1)]),
        # Tokens by best gate: 4, 2, 3, 0, 1, 5. Expert 0 keeps 4 and 3; expert 1 keeps 2, then 3;
        # expert 2 keeps 5, then 4.
        ("score", [(0, 0), (0, 1), (1, 0), (1, 1), (2, 1), (5, 1)]),
        # Each expert keeps its two largest gates: 0: .95, .70; 1: .80, .40; 2: .52, .45.
        ("gate", [(0, 0), (1, 0), (2, 1), (3, 1), (4, 1), (5, 1)]),
    ],
)
def test_who_is_dropped_under_each_priority(priority, dropped):
    rule = CapacityRule(convention="absolute", absolute=2, priority=priority)
    assert marked(dropped_slots(IDS, GATES, 3, rule)) == dropped


def test_random_priority_follows_its_seed_and_drops_as_many():
    def drop(seed):
        rule = CapacityRule(convention="absolute", absolute=2, priority="random", seed=seed)
        return dropped_slots(IDS, GATES, 3, rule)

    np.testing.assert_array_equal(drop(1), drop(1))
    assert any((drop(0) != drop(seed)).any() for seed in range(1, 10))
    assert {int(drop(seed).sum()) for seed in range(10)} == {6}


def test_each_window_counts_for_itself():
    rule = CapacityRule(convention="absolute", absolute=1, group=2)
    assert windows(5, rule) == [slice(0, 2), slice(2, 4), slice(4, 5)]
    ids = np.array([[0], [0], [0], [1], [0]])
    dropped = dropped_slots(ids, np.ones((5, 1)), 2, rule)
    assert marked(dropped) == [(1, 0)]


def test_the_last_window_has_a_capacity_of_its_own_length():
    ids = np.zeros((6, 1), int)  # windows of 4 and 2 tokens, two experts, CF 1: 2 and 1 fit
    rule = CapacityRule(factor=1.0, group=4)
    assert marked(dropped_slots(ids, np.ones((6, 1)), 2, rule)) == [(2, 0), (3, 0), (5, 0)]


def test_gshard_sends_a_second_choice_with_probability_twice_its_gate():
    tokens = 20_000
    ids = np.tile([0, 1], (tokens, 1))
    for gate, sent in ((0.1, 0.2), (0.25, 0.5), (0.5, 1.0)):
        gates = np.tile([1 - gate, gate], (tokens, 1))
        rule = CapacityRule(convention="gshard", priority="slot")
        dropped = dropped_slots(ids, gates, 2, rule)  # capacity is 2 T / 2 = T: nothing is full
        assert not dropped[:, 0].any()
        assert 1 - dropped[:, 1].mean() == pytest.approx(sent, abs=0.012)


def test_empty_slots_are_neither_dropped_nor_counted():
    ids = np.array([[0, -1], [0, -1], [-1, -1], [0, -1]])
    rule = CapacityRule(convention="absolute", absolute=2)
    assert marked(dropped_slots(ids, np.ones(ids.shape), 2, rule)) == [(3, 0)]


@given(
    tokens=st.integers(1, 60),
    experts=st.integers(1, 9),
    chosen=st.integers(1, 4),
    convention=st.sampled_from(CONVENTIONS),
    priority=st.sampled_from(PRIORITIES),
    factor=st.floats(0.25, 4),
    seed=st.integers(0, 9),
)
def test_what_holds_for_any_routing(tokens, experts, chosen, convention, priority, factor, seed):
    chosen = min(chosen, experts)
    rng = np.random.default_rng(seed)
    ids = random_choices(rng, tokens, experts, chosen)
    gates = -np.sort(-rng.random((tokens, chosen)), axis=1)
    rule = CapacityRule(factor=factor, convention=convention, priority=priority, absolute=3)
    dropped = dropped_slots(ids, gates, experts, rule)
    capacity = rule.capacity(tokens, experts, chosen)
    kept = np.bincount(ids[~dropped], minlength=experts)
    sent = np.bincount(ids.ravel(), minlength=experts)
    assert kept.max() <= capacity
    if convention != "gshard":  # whose second choices may stay away by chance
        np.testing.assert_array_equal(kept, np.minimum(sent, capacity))
    renamed = (experts - 1 - ids).astype(int)
    np.testing.assert_array_equal(dropped, dropped_slots(renamed, gates, experts, rule))


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        ({"factor": 0}, "The capacity factor must be a number above 0, not 0."),
        ({"factor": -1.5}, "The capacity factor must be a number above 0, not -1.5."),
        ({"factor": float("nan")}, "The capacity factor must be a number above 0, not nan."),
        ({"factor": "two"}, "The capacity factor must be a number above 0, not 'two'."),
        (
            {"convention": "mine"},
            "convention 'mine' is not one of switch, gshard, vmoe, deepspeed, tutel, absolute.",
        ),
        (
            {"priority": "luck"},
            "priority 'luck' is not one of position, slot, score, gate, random.",
        ),
        ({"group": 0}, "group must be a whole number of at least 1, not 0."),
        ({"absolute": 0}, "absolute must be a whole number of at least 1, not 0."),
    ],
)
def test_rules_that_mean_nothing_are_refused(values, sentence):
    with pytest.raises(RuleError) as caught:
        CapacityRule(**values)
    assert str(caught.value) == sentence


def test_a_group_larger_than_the_text_is_refused():
    with pytest.raises(RuleError) as caught:
        windows(3, CapacityRule(group=4))
    assert str(caught.value) == "A group of 4 tokens is larger than the text, which has 3."
