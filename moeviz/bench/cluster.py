"""What do two Ray workers gain on one, on one process and on bare forward passes?"""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np
import torch

from moeviz.bench.corpus import BARE, plain_forwards
from moeviz.bench.timing import Ratio, ratio
from moeviz.corpora.atlas import load_atlas
from moeviz.corpora.stream import InMemory, survey
from moeviz.engines.blocks import Engine, LocalEngine, Settings, identity
from moeviz.engines.cluster import RayEngine, ray_engine
from moeviz.engines.local import corpus_batches
from moeviz.models.load import LoadedModel, load_model
from moeviz.trace import MoevizError

TWO = "corpus run, 2 Ray workers of 1 thread"


def ray_speed(
    blocks: int = 60, size: int = 12, rounds: int = 3, model: str = "demo"
) -> list[Ratio]:
    """Two workers of one thread each, against one of one thread, one of two threads, one process
    of two threads, and plain forward passes of the same batches with two threads,
    without next-token logits, as a run leaves them out.

    What is timed is a block of `size` passages, from text to the file of its part, over
    the last two thirds of them, when every worker has its model: Ray takes seconds to start, which
    a long run forgets. Two workers on two cores share them with the process that reads and merges.
    """
    threads = torch.get_num_threads()
    torch.set_num_threads(2)
    atlas = load_atlas()
    rows = np.random.default_rng(0).permutation(len(atlas))[: blocks * size]
    stream = InMemory(atlas.where(rows), size)
    try:
        with ray_engine(model, workers=2, threads=1, device="cpu") as engine:
            ways = _ways(stream, engine, load_model(model, device="cpu"))
            turns = [{name: way() for name, way in ways.items()} for _ in range(rounds)]
    finally:
        torch.set_num_threads(threads)
    took = {name: np.array([turn[name] for turn in turns]) for name in ways}
    return [ratio(took, TWO, other) for other in took if other != TWO]


def _ways(stream: InMemory, engine: RayEngine, model: LoadedModel) -> dict[str, Callable]:
    """Each way, and its seconds a block."""
    batches = [batch for block in stream.blocks() for batch in corpus_batches(model, block.corpus)]
    blocks = len(list(stream.blocks()))
    plain = plain_forwards(model, batches)

    def by_ray(workers: int, threads: int) -> float:
        engine.workers, engine.threads = workers, threads
        return _steady(engine, stream)

    def bare() -> float:
        start = time.perf_counter()
        plain(logits_to_keep=1)
        return (time.perf_counter() - start) / blocks

    return {
        TWO: lambda: by_ray(2, 1),
        "1 Ray worker of 1 thread": lambda: by_ray(1, 1),
        "1 Ray worker of 2 threads": lambda: by_ray(1, 2),
        "1 process of 2 threads": lambda: _steady(LocalEngine(model), stream),
        f"{BARE}, 2 threads": bare,
    }


def _steady(engine: Engine, stream: InMemory) -> float:
    """Seconds a block over the last two thirds: by then every worker has its model."""
    settings = Settings()
    names = enumerate(survey(stream).keys)
    todo = {number: identity(engine.key(), settings, key) for number, key in names}
    run = engine.run(stream, todo, settings, lambda done, total: None)
    ends = []
    for outcome in run:
        if outcome.error:
            raise MoevizError(f"Block {outcome.number} was not counted: {outcome.error}")
        ends.append(time.perf_counter())
    first = len(ends) // 3
    return (ends[-1] - ends[first]) / (len(ends) - 1 - first)
