"""The thread that writes: it pauses, goes on, stops, and ends when nobody is there."""

import threading
import time
from dataclasses import dataclass

import pytest

from moeviz.trace import MoevizError
from moeviz.ui import writing
from moeviz.ui.writing import Writing


@dataclass(frozen=True)
class Step:
    number: int
    finished: bool = False


class Source:
    """Steps that come when the test lets them, so that nothing hangs on a model's speed."""

    def __init__(self, most: int = 1000, error: Exception | None = None):
        self.gate, self.most, self.error, self.threads = threading.Semaphore(0), most, error, set()

    def __call__(self, stop):
        for number in range(self.most):
            self.threads.add(threading.get_ident())
            assert self.gate.acquire(timeout=20)
            if stop():
                yield Step(number - 1, finished=True)
                return
            if self.error and number == 2:
                raise self.error
            yield Step(number, finished=number == self.most - 1)

    def let(self, steps: int) -> None:
        self.gate.release(steps)


def until(condition) -> None:
    end = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < end, "it did not happen within 20 s"
        time.sleep(0.005)


def gathered(work: Writing, count: int) -> list[int]:
    """Numbers of the next `count` steps."""
    found = []

    def more() -> bool:
        found.extend(step.number for step in work.collect())
        return len(found) >= count

    until(more)
    return found


def test_steps_come_in_order_and_it_ends_with_the_last():
    source = Source(most=5)
    work = Writing(source)
    work.go_on()
    source.let(5)
    assert gathered(work, 5) == [0, 1, 2, 3, 4]
    until(lambda: work.finished)
    assert not work.running


def test_after_a_pause_nothing_is_made_until_it_goes_on():
    source = Source()
    work = Writing(source)
    work.go_on()
    source.let(2)
    assert gathered(work, 2) == [0, 1]
    work.pause()
    source.let(1)  # the step that was being made
    assert gathered(work, 1) == [2]
    until(lambda: not work.running)
    source.let(3)
    time.sleep(0.05)
    assert work.collect() == [] and not work.finished
    work.go_on()
    assert gathered(work, 3) == [3, 4, 5]
    work.pause()
    source.let(1)


def test_going_on_before_the_pause_took_hold_starts_no_second_thread():
    source = Source()
    work = Writing(source)
    work.go_on()
    work.pause()
    work.go_on()
    source.let(4)
    assert gathered(work, 4) == [0, 1, 2, 3]
    assert len(source.threads) == 1
    work.pause()
    source.let(1)


def test_a_stop_ends_it_even_from_a_pause():
    source = Source()
    work = Writing(source)
    work.go_on()
    source.let(1)
    gathered(work, 1)
    work.pause()
    source.let(1)
    gathered(work, 1)
    until(lambda: not work.running)
    work.stop()
    source.let(1)
    until(lambda: work._over)
    (last,) = work.collect()
    assert last.finished and work.finished


def test_it_ends_when_the_visitor_is_gone_and_could_go_on():
    here = [True]
    source = Source()
    work = Writing(source, there=lambda: here[0])
    work.go_on()
    source.let(1)
    gathered(work, 1)
    here[0] = False
    source.let(1)
    until(lambda: work._thread is None)
    here[0] = True
    work.go_on()
    source.let(1)
    assert gathered(work, 2) == [1, 2]
    work.pause()
    source.let(1)


def test_a_page_that_nobody_looks_at_gets_no_further_than_its_queue(monkeypatch):
    monkeypatch.setattr(writing, "PATIENCE", 0.3)
    monkeypatch.setattr(writing, "GLANCE", 0.05)
    source = Source()
    work = Writing(source)
    work.go_on()
    source.let(writing.AHEAD + 10)
    until(lambda: work._thread is None)
    assert source.gate._value == 9  # one more step was made than fits, and is held
    assert gathered(work, writing.AHEAD) == list(range(writing.AHEAD))
    work.go_on()
    assert gathered(work, 10) == list(range(writing.AHEAD, writing.AHEAD + 10))
    work.pause()
    source.let(1)


def test_giving_up_ends_the_thread():
    source = Source()
    work = Writing(source)
    work.go_on()
    work.give_up()
    source.let(1)
    until(lambda: work._thread is None)
    assert source.gate._value == 0


@pytest.mark.parametrize(
    ("error", "sentence"),
    [
        (MoevizError("The cache is full."), "The cache is full."),
        (RuntimeError("out of\n  memory"), "The model stopped writing: out of memory"),
        (RuntimeError(), "The model stopped writing: RuntimeError"),
    ],
)
def test_an_error_is_one_sentence_after_the_steps_before_it(error, sentence):
    source = Source(error=error)
    work = Writing(source)
    work.go_on()
    source.let(3)
    assert gathered(work, 2) == [0, 1]
    until(lambda: work.finished)
    assert work.trouble == sentence
