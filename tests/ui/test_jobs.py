"""Work in the background: its progress, its result, and the ways it ends."""

import threading

from moeviz.trace import MoevizError
from moeviz.ui import jobs
from moeviz.ui.jobs import Job


class Stopped(MoevizError):
    pass


def finished(job: Job) -> Job:
    job._thread.join(20)
    assert job.over
    return job


def test_a_result_and_how_far_it_is():
    go, there = threading.Event(), threading.Event()

    def work(progress):
        progress(1, 4)
        there.set()
        go.wait(20)
        return "done"

    job = Job(work, Stopped)
    assert there.wait(20)
    assert (job.look(), job.over) == (0.25, False)
    go.set()
    assert finished(job).result == "done"
    assert job.trouble == ""


def test_it_stops_when_told_to():
    go = threading.Event()

    def work(progress):
        go.wait(20)
        progress(1, 2)
        return "never"

    job = Job(work, Stopped)
    job.cancel()
    go.set()
    assert finished(job).result is None
    assert (job.cancelled, job.trouble) == (True, "")


def test_it_stops_when_nobody_looks_any_more(monkeypatch):
    monkeypatch.setattr(jobs, "PATIENCE", -1)
    job = finished(Job(lambda progress: progress(1, 2), Stopped))
    assert job.cancelled


def test_trouble_is_one_sentence():
    def fails(progress):
        raise MoevizError("The file is broken.")

    def breaks(progress):
        raise RuntimeError("oh")

    assert finished(Job(fails, Stopped)).trouble == "The file is broken."
    assert finished(Job(breaks, Stopped)).trouble == "The run failed: oh"
