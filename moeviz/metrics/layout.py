"""A layout of points in two dimensions by UMAP, in a process of its own.

The first layout of a process compiles for half a minute and more, holding Python's lock all the
while; in a process apart no page waits for it. The process stays for the next layouts, which take
seconds, and ends when nothing came for a while.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import re
import select
import subprocess
import sys
import threading
import warnings
from collections.abc import Callable

import numpy as np

from moeviz.metrics.map import MapError

SEED = 42
"""Seed of a layout unless another is asked for; the same seed gives the same layout."""

NEAREST = 15
"""Neighbours that UMAP tries to keep together, its own default."""

SPREAD, LEAST = 2.5, 0.8
"""UMAP's spread and min_dist. Its own 1 and 0.1 shrink each language of the atlas to a dot."""

START = 3.0
"""Half the width of the picture that the layout starts from."""

IDLE = 600
"""Seconds after which a layout process without work ends."""

Say = Callable[[str], None]


def umap_layout(reduced: np.ndarray, seed: int = SEED, say: Say | None = None) -> np.ndarray:
    """[P, 2] float32: points [P, C] laid out so that near ones stay near.

    It starts from the first two columns, so a layout of principal components keeps their broad
    arrangement. Equal points are laid out once and share their place: copies would otherwise be
    each other's only neighbours (umap#1080). say: hears how far it is.
    Raises MapError for fewer than five different points. McInnes et al. 2018 (arXiv:1802.03426).
    """
    points, back = np.unique(np.round(reduced, 5), axis=0, return_inverse=True)
    if len(points) < 5:
        raise MapError(f"UMAP needs at least 5 different points; there are {len(points)}.")
    say = say or (lambda words: None)
    say("Starting umap-learn")
    from sklearn.neighbors import NearestNeighbors
    from umap import UMAP  # late: it takes seconds, and minutes the very first time

    say("Looking for neighbours")
    count = min(NEAREST, len(points) - 1)
    distance, ids = NearestNeighbors(n_neighbors=count).fit(points).kneighbors(points)
    say("Compiling, which only the first layout has to do")
    start = points[:, :2] * START / np.abs(points[:, :2]).max()
    layout = UMAP(
        n_neighbors=count,
        spread=SPREAD,
        min_dist=LEAST,
        precomputed_knn=(ids, distance.astype(np.float32)),
        init=start.astype(np.float32),
        random_state=seed,
        n_jobs=1,
        verbose=True,
        tqdm_kwds={"file": _Rounds(say), "bar_format": "{n_fmt}/{total_fmt}", "disable": False},
    )
    with contextlib.redirect_stdout(io.StringIO()), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that UMAP's own transform will not work: `place` does it
        found = layout.fit_transform(points)
    return np.ascontiguousarray(found[back.ravel()], dtype=np.float32)


class _Rounds(io.StringIO):
    """Where UMAP's progress bar writes: "120/500" becomes words."""

    def __init__(self, say: Say):
        super().__init__()
        self._say = say

    def write(self, text: str) -> int:
        found = re.search(r"(\d+)/(\d+)", text)
        if found:
            self._say(f"Laying out, round {found[1]} of {found[2]}")
        return len(text)


class LayoutProcess:
    """The process that lays out, started when first needed and asked one thing at a time."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._process: subprocess.Popen | None = None

    def layout(self, reduced: np.ndarray, seed: int, say: Say) -> np.ndarray:
        """`umap_layout` over there; raises MapError when it fails or the process dies."""
        with self._lock:
            process = self._running()
            try:
                _send(process.stdin, {"shape": reduced.shape, "seed": seed}, reduced)
                return _answer(process.stdout, say)
            except MapError:
                raise
            except (OSError, EOFError, ValueError) as error:
                self.close()
                raise MapError("The layout was given up: its process ended.") from error

    def close(self) -> None:
        """Ends the process, also in the middle of a layout."""
        process, self._process = self._process, None
        if process is not None:
            process.kill()
            process.wait()
            process.stdin.close()
            process.stdout.close()

    def _running(self) -> subprocess.Popen:
        if self._process is None or self._process.poll() is not None:
            self.close()
            self._process = subprocess.Popen(
                [sys.executable, "-m", "moeviz.metrics.layout"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                cwd=os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__)))),
            )
        return self._process


def _send(stream, head: dict, array: np.ndarray | None = None) -> None:
    """One line of JSON and the array's bytes as float32."""
    stream.write(json.dumps(head).encode() + b"\n")
    if array is not None:
        stream.write(np.ascontiguousarray(array, dtype=np.float32).tobytes())
    stream.flush()


def _answer(stream, say: Say) -> np.ndarray:
    while line := stream.readline():
        head = json.loads(line)
        if "say" in head:
            say(head["say"])
        elif "trouble" in head:
            raise MapError(head["trouble"])
        else:
            return _array(stream, head["shape"])
    raise EOFError


def _array(stream, shape: list[int]) -> np.ndarray:
    data = stream.read(4 * int(np.prod(shape)))
    return np.frombuffer(data, dtype=np.float32).reshape(shape)


def main() -> None:
    """Answers layouts on standard input until it closes or nothing comes for IDLE seconds."""
    os.nice(10)  # whoever looks at a page goes first
    inlet, outlet = sys.stdin.buffer, sys.stdout.buffer
    while select.select([inlet], [], [], IDLE)[0] and (line := inlet.readline()):
        head = json.loads(line)
        reduced = _array(inlet, head["shape"])
        try:
            found = umap_layout(reduced, head["seed"], lambda words: _send(outlet, {"say": words}))
            _send(outlet, {"shape": found.shape}, found)
        except MapError as error:
            _send(outlet, {"trouble": str(error)})


if __name__ == "__main__":
    main()
