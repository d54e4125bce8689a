"""What is kept for visitors: bounded in bytes, fair between them, and nobody else's to see."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from moeviz.ui.memory import Memory, Visit, held


def test_a_visit_finds_what_it_kept_and_nothing_of_others():
    memory, one, other = Memory(1000), Visit(), Visit()
    memory.keep(one, "text", b"mine")
    memory.keep(other, "text", b"theirs")
    assert memory.get(one, "text") == b"mine"
    assert memory.get(other, "text") == b"theirs"
    assert memory.get(one, "more") is memory.get(Visit(), "text") is None


def test_a_visit_that_ends_leaves_nothing():
    memory, one, other = Memory(1000), Visit(), Visit()
    memory.keep(one, "text", b"mine")
    memory.keep(other, "text", b"theirs")
    memory.forget(one)
    assert memory.get(one, "text") is None
    assert memory.bytes == len(b"theirs")
    memory.forget(one)


def test_what_was_not_looked_at_for_longest_makes_room():
    memory, visit = Memory(30), Visit()
    for key in "abc":
        memory.keep(visit, key, bytes(10))
    memory.get(visit, "a")
    memory.keep(visit, "d", bytes(10))
    assert [key for key in "abcd" if memory.get(visit, key)] == ["a", "c", "d"]


def test_who_holds_most_makes_room_for_the_others():
    memory, greedy, modest = Memory(100), Visit(), Visit()
    memory.keep(modest, "first", bytes(10))
    for key in range(9):
        memory.keep(greedy, key, bytes(10))
    memory.keep(modest, "second", bytes(10))
    assert memory.get(modest, "first") and memory.get(modest, "second")
    assert memory.get(greedy, 0) is None


def test_one_value_beyond_the_limit_is_kept_alone():
    memory, one, other = Memory(10), Visit(), Visit()
    memory.keep(other, "small", bytes(5))
    memory.keep(one, "large", bytes(50))
    assert memory.get(one, "large") and memory.get(other, "small") is None
    memory.keep(one, "next", bytes(5))
    assert memory.get(one, "next") and memory.get(one, "large") is None


def test_the_size_of_a_trace_is_that_of_its_arrays_and_its_text(tiny_trace):
    arrays = sum(array.nbytes for array in tiny_trace.arrays().values())
    assert arrays < held(tiny_trace) < arrays + 2000
    assert held([tiny_trace, (tiny_trace, None)]) == 2 * held(tiny_trace) + 8
    assert held({"a": np.zeros(4), "b": "xyz"}) == 32 + 3 + 2


@settings(max_examples=50, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 5), st.integers(0, 40))))
def test_never_more_than_the_limit_but_for_the_newest(steps):
    memory, visits = Memory(60), [Visit() for _ in range(4)]
    for who, key, size in steps:
        memory.keep(visits[who], key, bytes(size))
        assert memory.get(visits[who], key) == bytes(size)
        assert memory.bytes <= 60
