"""Who waits for a model is told so; who leaves gives up the place."""

import threading

import pytest

from moeviz.models.turns import Turns
from moeviz.trace import MoevizError
from moeviz.ui import line
from moeviz.ui.jobs import Job
from moeviz.ui.trials import Trials
from moeviz.ui.writing import Writing


class Board:
    def __init__(self):
        self.said = []

    def tell(self, sentence: str) -> None:
        self.said.append(sentence)

    def wipe(self) -> None:
        self.said.append("")


def test_a_short_wait_is_not_worth_a_word_and_a_long_one_is(monkeypatch):
    now = [10.0]
    monkeypatch.setattr("time.monotonic", lambda: now[0])
    board = Board()
    words = line._Words(board)

    def told(before: int, at: float) -> list[str]:
        now[0] = at
        words(before)
        return board.said

    assert told(3, 10.0) == told(3, 10.4) == []
    assert told(3, 10.6) == ["Others are using the model: 3 runs come before yours."]
    assert len(told(2, 10.8)) == 1  # a sentence stays long enough to be read
    assert told(1, 11.7)[1:] == ["Others are using the model: 1 run comes before yours."]
    assert told(0, 11.8)[2:] == [""]


def test_a_script_that_is_no_page_waits_in_silence():
    with line.in_line():
        assert line.visitor() is None


class Held:
    """A model that somebody else has, until `free`."""

    def __init__(self):
        self.turns, self._free, taken = Turns(), threading.Event(), threading.Event()

        def hold():
            with self.turns:
                taken.set()
                self._free.wait(20)

        self._thread = threading.Thread(target=hold)
        self._thread.start()
        taken.wait(20)

    def steps(self, *_):
        while True:
            with self.turns:
                pass
            yield 1

    def free(self):
        self._free.set()
        self._thread.join(20)


@pytest.fixture
def held():
    model = Held()
    yield model
    model.free()


def until(condition) -> None:
    for _ in range(2000):
        if condition():
            return
        threading.Event().wait(0.01)
    raise AssertionError("it did not happen within 20 s")


def test_trials_that_wait_say_so_and_can_be_cancelled(held):
    here = Trials("mark", held.steps(), 5, lambda: True, "somebody")
    until(lambda: held.turns.waiting == 1)
    here.cancel()
    until(lambda: not here._thread.is_alive())
    assert held.turns.waiting == 0
    assert (here.found, here.trouble, here.finished) == ([], "", False)


def test_trials_of_a_visitor_who_has_left_give_up_their_place(held):
    there = [True]
    here = Trials("mark", held.steps(), 5, lambda: there[0], "somebody")
    until(lambda: held.turns.waiting == 1)
    there[0] = False
    until(lambda: not here._thread.is_alive())
    assert here.cancelled and held.turns.waiting == 0


def test_a_job_that_waits_can_be_cancelled(held):
    class Stopped(MoevizError):
        pass

    job = Job(lambda progress: next(held.steps()), Stopped)
    until(lambda: held.turns.waiting == 1)
    job.cancel()
    until(lambda: job.over)
    assert (job.result, job.trouble, held.turns.waiting) == (None, "", 0)


def test_writing_that_nobody_wants_any_more_gives_up_its_place(held):
    work = Writing(held.steps, who="somebody")
    work.go_on()
    until(lambda: held.turns.waiting == 1)
    work.give_up()
    until(lambda: not work.running)
    assert (work.trouble, held.turns.waiting) == ("", 0)


def test_a_job_says_with_how_many_it_shares_the_model():
    sharing = line.Sharing(lambda: None)
    assert sharing.words() == ""
    for before in (3, 2, 0):
        sharing(before)
    sharing.step()
    assert sharing.words() == ", in turns with 3 others"
    sharing.step()
    assert sharing.words() == ""
