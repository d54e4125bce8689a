"""Corpus runs on real Ray clusters of two workers: one that was running, and our own."""

import dataclasses
import json
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import time
from contextlib import ExitStack, suppress
from pathlib import Path

import pandas as pd
import pytest
from same_counts import same_counts

from moeviz.corpora.corpus import Corpus, CorpusError
from moeviz.corpora.parts import PartFolder
from moeviz.corpora.stream import InMemory
from moeviz.engines import cluster
from moeviz.engines.blocks import LocalEngine, Settings, route_blocks
from moeviz.engines.cluster import ray_engine
from moeviz.models import load_model

pytestmark = pytest.mark.xdist_group("ray")

ROOT = Path(__file__).parent.parent.parent
TEXTS = tuple(f"le routeur choisit {number} experts " * 4 for number in range(60))
CORPUS = Corpus("sixty", TEXTS, {"language": ["fr", ""] * 30})
STREAM = InMemory(CORPUS, size=5)


@pytest.fixture
def elsewhere(tmp_path):
    """A Ray cluster that somebody else started, with two slots and a token in their home:
    the environment to reach it from, and its address."""
    (tmp_path / ".ray").mkdir()
    (tmp_path / ".ray" / "auth_token").write_text(secrets.token_hex(32))
    outside = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}
    home = {**outside, "HOME": str(tmp_path), "RAY_AUTH_MODE": "token",
            "RAY_USAGE_STATS_ENABLED": "0"}  # fmt: skip
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = ["start", "--head", "--block", "--num-cpus=2", "--include-dashboard=false",
               f"--port={port}", "--object-store-memory=100000000",
               f"--plasma-directory={tmp_path}"]  # fmt: skip
    ray = Path(sys.executable).with_name("ray")
    head = subprocess.Popen([ray, *command], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                            start_new_session=True, env=home)  # fmt: skip
    try:
        deadline = time.monotonic() + 60
        while head.poll() is None and time.monotonic() < deadline:
            with suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
                break
            time.sleep(0.2)
        yield home, f"127.0.0.1:{port}"
    finally:
        os.killpg(head.pid, signal.SIGKILL)  # all that it started is in its group
        head.wait(30)


def test_the_command_line_counts_on_a_cluster_that_runs(folder, tmp_path, elsewhere):
    """What it writes there is what one process writes here, but for sums of gates."""
    home, address = elsewhere
    rows = ["text,language", *(f"{text},{'fr' if i % 2 else 'en'}" for i, text in enumerate(TEXTS))]
    (tmp_path / "a.csv").write_text("\n".join(rows))
    command = [sys.executable, "-m", "moeviz", "corpus", tmp_path / "a.csv", "--model", folder,
               "--device", "cpu", "--label-columns", "language", "--draws", "19", "--block", "5",
               "--json"]  # fmt: skip
    told = {}
    at = ["--engine", "ray", "--address", address]
    untold = {name: value for name, value in home.items() if name != "RAY_AUTH_MODE"}
    refused = subprocess.run([*command, *at], env=untold, cwd=ROOT, capture_output=True, text=True)
    assert refused.returncode == 1
    assert "set RAY_AUTH_MODE=token and try again." in refused.stderr.splitlines()[-1]
    for name, engine in (("local", []), ("ray", at)):
        done = subprocess.run([*command, "--out", tmp_path / name, *engine], env=home, cwd=ROOT,
                              capture_output=True, text=True)  # fmt: skip
        assert done.returncode == 0, done.stderr
        told[name] = json.loads(done.stdout)
    assert "2 workers on Ray" in done.stderr
    assert told["ray"]["passages"] == told["local"]["passages"] == len(TEXTS)
    tables = [Path(file).name for file in told["local"]["files"] if file.endswith(".parquet")]
    assert "specialisation.parquet" in tables
    for table in tables:
        here, there = (pd.read_parquet(tmp_path / name / table) for name in ("local", "ray"))
        pd.testing.assert_frame_equal(here, there, rtol=1e-4)


@pytest.fixture(scope="module")
def engine(folder):
    with ExitStack() as stack:
        # One cluster for the whole file, and its object store on disk, as where /dev/shm is small.
        stack.enter_context(pytest.MonkeyPatch.context()).setattr(
            shutil, "disk_usage", lambda path: shutil._ntuple_diskusage(2**26, 0, 2**26)
        )
        stack.enter_context(pytest.MonkeyPatch.context()).setattr(cluster, "STORE_BYTES", 10**8)
        yield stack.enter_context(ray_engine(folder, workers=2, threads=1, device="cpu"))


@pytest.fixture(scope="module")
def local(folder):
    return LocalEngine(load_model(folder, device="cpu"))


@pytest.fixture(scope="module")
def truth(local):
    return route_blocks(STREAM, local, Settings())


def test_two_workers_one_of_them_killed_count_what_one_process_counts(engine, truth, tmp_path):
    """A block that no worker can count, and one whose worker is killed while it has it in hand."""
    import ray

    broken = InMemory(dataclasses.replace(CORPUS, texts=(*TEXTS[:59], "bro\ud800ken")), size=5)
    killed = []

    def kill_once(done, total):
        while not killed:
            in_hand = ray.get(engine.ledger.under_way.remote())
            for number, process in in_hand.items():
                os.kill(process, signal.SIGSTOP)  # now it cannot finish meanwhile
                if number != 11 and process in ray.get(engine.ledger.under_way.remote()).values():
                    killed.append(process)
                os.kill(process, signal.SIGKILL if killed else signal.SIGCONT)
                if killed:
                    return
            time.sleep(0.01)

    run = route_blocks(broken, engine, Settings(), PartFolder(tmp_path), kill_once)
    assert len(killed) == 1
    assert run.again == 1
    assert run.failed == (
        "Passages 56 to 60 of sixty could not be counted and are left out: A text of sixty holds "
        "broken characters (lone surrogates): 'bro?ken'. Leave it out.",
    )
    assert run.routing.notes[-2:] == (*run.failed, "Blocks begun again after a failure: 1.")
    whole = InMemory(CORPUS.where(range(55)), size=5)
    assert len(list(tmp_path.iterdir())) == 11
    again = route_blocks(whole, _Idle(engine.key()), Settings(), PartFolder(tmp_path))
    assert again.found == 11
    assert same_counts(run.routing, again.routing)
    assert (run.routing.counts == truth.routing.counts[:55]).all()
    assert (run.routing.gates == truth.routing.gates[:55]).all()  # to the last bit


def test_a_run_that_was_stopped_goes_on_where_it_was(engine, local, truth, tmp_path, monkeypatch):
    """One worker, then none at all: one process takes over what the worker had finished.

    The engine has run before, but what was begun then is no part of this run.
    """
    engine.workers = 1
    begun, real = [], engine.run

    def heard(*arguments):
        for outcome in real(*arguments):
            begun.append((outcome.error, outcome.begun))
            yield outcome

    monkeypatch.setattr(engine, "run", heard)

    def stop(done, total):
        if done >= 30:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        route_blocks(STREAM, engine, Settings(), PartFolder(tmp_path), stop)
    assert len(list(tmp_path.iterdir())) == 6
    assert set(begun) == {("", 1)}
    run = route_blocks(STREAM, local, Settings(), PartFolder(tmp_path))
    assert run.found == 6
    assert same_counts(run.routing, truth.routing)
    assert (run.routing.gates == truth.routing.gates).all()
    assert (run.words["language"] == truth.words["language"]).all()


def test_a_model_that_cannot_be_loaded_is_told_in_its_own_words():
    """By the task that is the first to load it."""
    assert cluster._key({"name": "./nowhere"}, 1) == (
        "",
        "There is no folder ./nowhere. Check the path, or give a hub id.",
    )


def test_missing_ray_is_named_with_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(CorpusError) as refused, ray_engine():
        pass
    assert str(refused.value) == (
        "The engine ray needs the package Ray. Install it by: pip install 'moeviz[ray]'"
    )


def test_an_address_where_nobody_answers_is_refused_at_once():
    for address in ("127.0.0.1:1", "127.0.0.1:99999"):
        with pytest.raises(CorpusError) as refused:
            cluster._knock(address)
        assert str(refused.value).startswith(f"No Ray cluster answers at {address}: ")
    cluster._knock("auto")


def test_there_must_be_a_worker():
    with pytest.raises(CorpusError) as refused, ray_engine(workers=0):
        pass
    assert str(refused.value) == "There must be at least 1 of workers, not 0."


class _Idle:
    """An engine that must not be asked for anything but its name."""

    def __init__(self, key):
        self._key = key

    def key(self):
        return self._key
