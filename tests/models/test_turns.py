"""Turns at one model: in a fair order, whoever breaks off, fails or vanishes meanwhile."""

import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from moeviz.models.turns import Turns, taking_turns

SOON = 20


class Clock:
    """Time that passes only when the test says so."""

    def __init__(self):
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


class Crowd:
    """People who stand in one line, each of them a thread; what they did is in `served`.

    A turn of `who` takes `length` seconds of the clock.
    """

    def __init__(self):
        self.clock = Clock()
        self.turns = Turns(self.clock)
        self.served: list[str] = []
        self.threads: list[threading.Thread] = []

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for thread in self.threads:
            thread.join(SOON)
            assert not thread.is_alive()

    def joins(self, who: str, length: float = 1.0, steps: int = 1, watch=None):
        """`who` asks for turns one after another, and is in line for the first."""
        before = self.turns.waiting

        def work():
            try:
                with taking_turns(who, watch):
                    for _ in range(steps):
                        with self.turns:
                            self.served.append(who)
                            self.clock.now += length
            except Gone:
                pass

        self.threads.append(threading.Thread(target=work))
        self.threads[-1].start()
        until(lambda: self.turns.waiting > before)


class Gone(BaseException):
    """As Streamlit ends the script of a visitor who has left."""


def until(condition) -> None:
    end = time.monotonic() + SOON
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.001)


def test_who_asks_first_is_first():
    with Crowd() as crowd:
        with crowd.turns:
            for who in "abcd":
                crowd.joins(who)
        until(lambda: len(crowd.served) == 4)
    assert crowd.served == list("abcd")


def test_a_short_request_waits_for_one_step_of_long_work_at_most():
    """Three long jobs are under way for a while when somebody pastes a text."""
    crowd = Crowd()
    turns, clock = crowd.turns, crowd.clock
    for _ in range(50):  # what they had before, in turn
        for who in "abc":
            with taking_turns(who), turns:
                clock.now += 1
    with crowd, taking_turns("a"), turns:
        for who in "bc":
            crowd.joins(who, steps=5)
        crowd.joins("paste", length=0.1)
        clock.now += 1
    assert crowd.served.index("paste") <= 2  # b and c came before it and were level with it
    assert len(crowd.served) == 11


def test_one_visitor_with_many_requests_gets_no_more_than_one_with_few():
    with Crowd() as crowd:
        with crowd.turns:
            for _ in range(6):
                crowd.joins("greedy")
            crowd.joins("modest")
        until(lambda: len(crowd.served) == 7)
    assert crowd.served[:2] == ["greedy", "modest"]


@settings(max_examples=15, deadline=None)
@given(
    lengths=st.lists(st.floats(0.01, 1.0), min_size=2, max_size=5),
    steps=st.integers(3, 12),
)
def test_time_is_shared_evenly_while_all_are_busy(lengths, steps):
    """Nobody who stands in line is ever more than one turn each behind anybody else."""
    crowd = Crowd()
    used = dict.fromkeys(range(len(lengths)), 0.0)
    spread = []
    left = dict.fromkeys(used, steps)
    turns, clock = crowd.turns, crowd.clock
    gate = threading.Barrier(len(lengths))
    guard = threading.Lock()

    def work(who: int) -> None:
        gate.wait(SOON)
        with taking_turns(who):
            for _ in range(steps):
                with turns:
                    until(lambda: turns.waiting >= sum(map(bool, left.values())) - 1)
                    clock.now += lengths[who]
                    with guard:
                        used[who] += lengths[who]
                        left[who] -= 1
                        if all(left.values()):
                            spread.append(max(used.values()) - min(used.values()))

    with ThreadPoolExecutor(len(lengths)) as pool:
        list(pool.map(work, used))
    assert max(spread, default=0) <= 2 * max(lengths) + 1e-9
    assert not turns.waiting


def test_who_waits_is_told_how_many_come_first_and_then_that_the_wait_is_over():
    told = []
    with Crowd() as crowd:
        with crowd.turns:
            crowd.joins("a")
            crowd.joins("b", watch=told.append)
            until(lambda: told)
            assert told[0] == 2  # who has the turn, and a
        until(lambda: len(crowd.served) == 2)
    assert told[-1] == 0
    assert sorted(told, reverse=True) == told


def test_a_visitor_who_vanishes_leaves_the_line():
    def gone(before):
        raise Gone

    with Crowd() as crowd:
        with crowd.turns:
            crowd.threads.append(threading.Thread(target=_stand, args=(crowd.turns, gone)))
            crowd.threads[-1].start()
            crowd.threads[-1].join(SOON)
            assert not crowd.turns.waiting
            crowd.joins("next")
        until(lambda: crowd.served == ["next"])


def _stand(turns, watch):
    with pytest.raises(Gone), taking_turns("lost", watch), turns:
        pytest.fail("the turn of somebody who is gone was taken")


def test_a_visitor_who_vanishes_as_the_turn_comes_hands_it_on():
    told = []

    def gone(before):
        told.append(before)
        if before == 0:
            raise Gone

    with Crowd() as crowd:
        with crowd.turns:
            crowd.joins("lost", watch=gone)
            crowd.joins("next")
            until(lambda: told)
        until(lambda: crowd.served == ["next"])


def test_an_exception_in_a_turn_ends_it():
    turns = Turns()
    with pytest.raises(ZeroDivisionError), turns:
        _ = 1 / 0
    assert turns.acquire(blocking=False)
    turns.release()


def test_a_turn_may_hold_turns():
    turns = Turns()
    with turns, turns, ThreadPoolExecutor(1) as pool:
        assert not pool.submit(turns.acquire, blocking=False).result(SOON)
    with ThreadPoolExecutor(1) as pool:
        assert pool.submit(turns.acquire, blocking=False).result(SOON)


def test_a_turn_that_was_not_had_cannot_be_given_back():
    with pytest.raises(RuntimeError):
        Turns().release()


def test_nothing_is_remembered_of_those_who_are_gone():
    turns = Turns()
    for who in range(1000):
        with taking_turns(who), turns:
            pass
    assert len(turns._used) <= 1


def test_dozens_of_threads_never_hold_it_at_once_and_all_are_served():
    turns, inside, most, done = Turns(), 0, 0, []

    def work(who: int) -> None:
        nonlocal inside, most
        with taking_turns(who % 30):
            for _ in range(10):
                with turns:
                    inside += 1
                    most = max(most, inside)
                    time.sleep(0)
                    inside -= 1
        done.append(who)

    with ThreadPoolExecutor(30) as pool:
        list(pool.map(work, range(60)))
    assert (most, len(done), turns.waiting) == (1, 60, 0)
