"""A corpus on many workers at once, on this machine or a cluster, by Ray Data.

One task reads the files where the run was started and streams blocks of text to a pool of actors;
each holds the model on a GPU or some CPU cores of its own and gives back the file of a part. A
worker that dies is started again and its block with it; the ledger counts how often a block was
begun, so that one which kills every worker is left out in the end.

Ray passes values between its own processes by pickle. What goes through it from a user's file is
text in JSON, and what comes back is a safetensors file.
"""

from __future__ import annotations

import contextlib
import copy
import functools
import json
import logging
import os
import re
import secrets
import shutil
import socket
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from moeviz.corpora.corpus import Corpus, CorpusError
from moeviz.corpora.stream import Stream
from moeviz.engines.blocks import Outcome, Progress, Settings, wanted
from moeviz.trace import MoevizError

TRIES = 3
"""Times a block is begun before it is given up."""

STORE_BYTES = 2**28
"""Room for what is on its way between the processes of a cluster that is started here."""

_QUIET = {
    "RAY_USAGE_STATS_ENABLED": "0",  # nothing is reported to anybody
    "RAY_ENABLE_UV_RUN_RUNTIME_ENV": "0",  # the folder that the run starts in is not shipped
    "RAY_BACKEND_LOG_LEVEL": "fatal",  # what goes wrong reaches us as an error
}
_ALONE = {
    "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",  # on Linux too: listen on the loopback address only
    "RAY_AUTH_MODE": "token",  # and let in nobody else on this machine
    "RAY_worker_niceness": "0",  # a worker is no less urgent than a run in this process
}


@contextlib.contextmanager
def ray_engine(
    model: str = "demo",
    address: str = "",
    workers: int | None = None,
    threads: int | None = None,
    **choice: Any,
) -> Iterator[RayEngine]:
    """An engine whose workers each load `model` with the `choice` that `load_model` takes.

    address: of a running cluster ("auto", or host:port), which must have moeviz installed and find
    the model under the same name; "" starts one on this machine alone, which ends with the run.
    workers: how many; unless given, one a GPU, or one a core where there are none. threads: of each
    worker on CPU cores, its share of them unless given.

    Raises CorpusError where Ray is missing or no cluster answers, MoevizError as `load_model` does.
    """
    for number, what in ((workers, "workers"), (threads, "threads")):
        if number is not None and number < 1:
            raise CorpusError(f"There must be at least 1 of {what}, not {number}.")
    with _connected(address, workers) as ray:
        yield RayEngine(ray, {"name": model, **choice}, workers, threads)


class RayEngine:
    """An `Engine` on a connected Ray; `ray_engine` makes it. ledger: what the run that is under way
    has begun."""

    def __init__(self, ray, load: dict[str, Any], workers: int | None, threads: int | None):
        self._ray, self._load = ray, load
        there = ray.cluster_resources()
        cores, gpus = int(there.get("CPU", 1)), int(there.get("GPU", 0))
        if gpus and load.get("device") != "cpu":
            self.workers, self.threads = workers or gpus, threads or 0
            self._need = {"num_gpus": 1, "num_cpus": 0}
        else:
            self.workers = workers or max(1, cores // (threads or 1))
            self.threads = threads or max(1, cores // self.workers)
            self._need = {"num_cpus": min(self.threads, cores / self.workers)}
        self.ledger = None
        with _plain_errors(ray):
            told = ray.remote(_key).options(**self._need).remote(load, self.threads)
            self._key, error = ray.get(told)
        if error:
            raise MoevizError(error)

    def key(self) -> str:
        return self._key

    def run(
        self, stream: Stream, todo: Mapping[int, str], settings: Settings, told: Progress
    ) -> Iterator[Outcome]:
        data, kind = self._ray.data, self._ray.remote(_Ledger)
        self.ledger = kind.options(num_cpus=0, label_selector=_here(self._ray)).remote()
        with _plain_errors(self._ray), _one_row_a_block(data):
            pool = data.ActorPoolStrategy(
                size=min(self.workers, len(todo)), max_tasks_in_flight_per_actor=2
            )
            results = self._texts(stream, todo, settings).map_batches(
                _Worker,
                fn_constructor_args=(self._load, settings, self._key, self.threads, self.ledger),
                batch_size=1,
                batch_format="pyarrow",
                compute=pool,
                **self._need,
            )
            for table in results.iter_batches(batch_size=1, batch_format="pyarrow"):
                (row,) = table.to_pylist()
                if row["number"] < 0:
                    raise CorpusError(row["error"])
                yield Outcome(row["number"], row["data"] or None, row["error"], row["begun"])

    def _texts(self, stream: Stream, todo: Mapping[int, str], settings: Settings):
        """A dataset of one row a block, read where this process runs."""
        from ray.data.block import BlockMetadata

        data, key = self._ray.data, self._key
        held = self._ray.put((stream, todo))  # a corpus in memory is too large to go with the task
        about = BlockMetadata(num_rows=len(todo), size_bytes=None, exec_stats=None)

        class Blocks(data.Datasource):
            def get_read_tasks(self, parallelism, per_task_row_limit=None, data_context=None):
                return [data.ReadTask(lambda: _rows(held, key, settings), about)]

            def estimate_inmemory_data_size(self):
                return None

        return data.read_datasource(
            Blocks(), override_num_blocks=1, num_cpus=0, label_selector=_here(self._ray)
        )


class _Ledger:
    """How often each block was begun, and which process has it in hand."""

    def __init__(self):
        self.begun: Counter[int] = Counter()
        self.in_hand: dict[int, int] = {}

    def begin(self, number: int, process: int) -> int:
        self.begun[number] += 1
        self.in_hand[number] = process
        return self.begun[number]

    def end(self, number: int) -> None:
        del self.in_hand[number]

    def under_way(self) -> dict[int, int]:
        return self.in_hand


class _Worker:
    """A model that counts the blocks it is handed."""

    def __init__(self, load: dict, settings: Settings, key: str, threads: int, ledger):
        self.settings, self.ledger = settings, ledger
        self.counter = _counter(load, threads)
        if self.counter.key != key:
            raise RuntimeError(
                f"A worker on {os.uname().nodename} has another model, or other versions of its "
                "libraries, than the first worker had."
            )

    def __call__(self, table):
        import pyarrow as pa

        (row,) = table.to_pylist()
        number = row["number"]
        answer = {"number": number, "data": b"", "error": row["text"], "begun": 0}
        if number >= 0:
            answer |= self._tried(number, row["identity"], json.loads(row["text"]))
        return pa.table({name: [value] for name, value in answer.items()})

    def _tried(self, number: int, identity: str, columns: dict) -> dict[str, Any]:
        import ray

        corpus = Corpus(**columns)
        error = "Its worker was lost each time."
        while True:
            begun = ray.get(self.ledger.begin.remote(number, os.getpid()))
            data, again = b"", False
            if begun <= TRIES:
                data, error, again = self._counted(corpus, identity)
            ray.get(self.ledger.end.remote(number))
            if not again or begun == TRIES:
                return {"data": data, "error": error, "begun": min(begun, TRIES)}

    def _counted(self, corpus: Corpus, identity: str) -> tuple[bytes, str, bool]:
        """(file of the part, what went wrong, whether it may go better)."""
        from moeviz.models.memory import free_unused

        try:
            return self.counter.count(corpus, self.settings, identity), "", False
        except MoevizError as error:
            return b"", str(error), False
        except Exception as error:
            free_unused()
            first = next(iter(str(error).strip().splitlines()), "")
            return b"", f"{type(error).__name__}: {first}", True


def _rows(held, key: str, settings: Settings):
    """The blocks to count as tables of one row; what is wrong with a file as a row too.

    held: reference to the stream and what is to be done of it.
    """
    import pyarrow as pa
    import ray

    stream, todo = ray.get(held)
    try:
        for number, corpus in wanted(stream, todo, key, settings):
            labels = {label: corpus.labels[label].tolist() for label in settings.labels}
            text = json.dumps({"name": corpus.name, "texts": corpus.texts, "labels": labels})
            yield pa.table({"number": [number], "identity": [todo[number]], "text": [text]})
    except CorpusError as error:
        yield pa.table({"number": [-1], "identity": [""], "text": [str(error)]})


def _key(load: dict, threads: int) -> tuple[str, str]:
    """(key of the model, or what is wrong with it)."""
    try:
        return _counter(load, threads).key, ""
    except MoevizError as error:
        return "", str(error)


def _counter(load: dict, threads: int):
    import torch

    from moeviz.engines.counting import BlockCounter
    from moeviz.models.load import load_model

    if threads:
        torch.set_num_threads(threads)
    return BlockCounter(load_model(**load))


def _here(ray) -> dict[str, str]:
    """Labels that keep a task or an actor on the machine of this process."""
    return {"ray.io/node-id": ray.get_runtime_context().get_node_id()}


@contextlib.contextmanager
def _connected(address: str, workers: int | None):
    """Ray, connected; what is started for it here ends here too."""
    with _environment(_QUIET if address else {**_QUIET, **_alone()}):
        ray = _imported()
        if ray.is_initialized():
            yield ray
            return
        _start(ray, address, workers)
        try:
            yield ray
        finally:
            ray.shutdown()


@functools.cache
def _alone() -> dict[str, str]:
    """`_ALONE` and a secret, the same each time, since Ray reads them only when it is imported;
    nothing where it was imported before, and then its own defaults hold."""
    if sys.modules.get("ray") is not None:
        return {}
    return {**_ALONE, "RAY_AUTH_TOKEN": secrets.token_hex(32)}


def _start(ray, address: str, workers: int | None) -> None:
    """Connects. Ray gives up on a busy machine after 30 seconds, so what starts here is tried
    again."""
    _knock(address)
    for last in (True,) if address else (False, False, True):
        try:
            ray.init(**_options(address, workers))
            return
        except Exception as error:  # of a start that takes too long Ray says no more than that
            ray.shutdown()
            if last:
                first = next(iter(str(error).strip().splitlines()), "")
                where = address or "this machine"
                raise CorpusError(
                    f"No Ray cluster answers at {where}: {first}{_perhaps_a_token(address)}"
                ) from error


def _perhaps_a_token(address: str) -> str:
    """What to try where the cluster may want a token: Ray shows it only when told to, and says of a
    refusal no more than that it could not connect."""
    if not address or "RAY_AUTH_MODE" in os.environ:
        return ""
    return ". If it was started with a token, set RAY_AUTH_MODE=token and try again."


def _knock(address: str) -> None:
    """Raises CorpusError at once where nobody answers; Ray itself would try for minutes."""
    host, _, port = address.rpartition(":")
    if not host or not port.isdigit():
        return  # "auto", or nothing
    try:
        socket.create_connection((host.removeprefix("ray://"), int(port)), timeout=5).close()
    except (OSError, OverflowError) as error:
        reason = getattr(error, "strerror", None) or error
        raise CorpusError(f"No Ray cluster answers at {address}: {reason}.") from error


def _imported():
    try:
        import ray
        import ray.data
    except ImportError as error:
        raise CorpusError(
            "The engine ray needs the package Ray. Install it by: pip install 'moeviz[ray]'"
        ) from error
    return ray


@contextlib.contextmanager
def _environment(wanted: Mapping[str, str]) -> Iterator[None]:
    """Variables for the processes that are started meanwhile; those set stay as they are."""
    new = {name: value for name, value in wanted.items() if name not in os.environ}
    os.environ.update(new)
    try:
        yield
    finally:
        for name in new:
            os.environ.pop(name, None)


def _options(address: str, workers: int | None) -> dict[str, Any]:
    """What `ray.init` is given."""
    quiet = {"log_to_driver": False, "logging_level": logging.ERROR}
    if address:
        return {"address": address, **quiet}
    options = {
        "address": "local",
        "num_cpus": max(workers or 1, _cores()),
        "include_dashboard": False,
        "object_store_memory": STORE_BYTES,
    }
    shared = Path("/dev/shm")
    if shared.exists() and shutil.disk_usage(shared).free < 2 * STORE_BYTES:
        options["_plasma_directory"] = tempfile.gettempdir()  # slower, and there is room
    return {**options, **quiet}


def _cores() -> int:
    """Cores that this process may use; macOS does not tell, and means all."""
    found = getattr(os, "sched_getaffinity", lambda process: range(os.cpu_count() or 1))
    return len(found(0))


@contextlib.contextmanager
def _one_row_a_block(data) -> Iterator[None]:
    """Ray Data hands on each row as it comes, without a word."""
    context = data.DataContext.get_current()
    before = copy.copy(vars(context))
    context.target_max_block_size = 1
    context.enable_progress_bars = False
    context.print_on_execution_start = False
    logging.getLogger("ray.data").setLevel(logging.ERROR)
    try:
        yield
    finally:
        vars(context).update(before)


@contextlib.contextmanager
def _plain_errors(ray) -> Iterator[None]:
    try:
        yield
    except ray.exceptions.RayError as error:
        lines = str(error).strip().splitlines() or [type(error).__name__]
        named = [line for line in lines if re.match(r"[\w.]+(Error|Exception): ", line)]
        reason = (named or lines[-1:])[0].rstrip(".")
        raise CorpusError(
            f"The workers could not go on: {reason}. Blocks that were finished are kept."
        ) from error
