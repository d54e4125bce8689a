"""One benchmark in a process of its own, so that what fails or hangs takes nothing else with it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass

from moeviz.bench.timing import Ratio

MOST_SECONDS = 600
"""After so long a part is ended."""

TO_TIDY_UP = 30
"""Seconds that a part which is ended has to stop what it started."""


@dataclass(frozen=True)
class Part:
    """What one benchmark gave: its ratios, or in one sentence why there are none."""

    name: str
    ratios: tuple[Ratio, ...] = ()
    trouble: str = ""
    seconds: float = 0.0


def part_apart(name: str, command: Sequence[str], most: float = MOST_SECONDS) -> Part:
    """The part that `command` prints as a JSON list of ratios.

    What it says on standard error in the name of moeviz is said here too.
    """
    start = time.perf_counter()
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, encoding="utf-8",
        start_new_session=True,  # so that all it starts can be ended with it
    )  # fmt: skip
    try:
        printed, said = process.communicate(timeout=most)
        took = time.perf_counter() - start
    except subprocess.TimeoutExpired:
        return Part(name, trouble=f"It was ended after {most:g} seconds.", seconds=most)
    finally:
        _end(process)
    lines = [line for line in said.splitlines() if line.strip()]
    if process.returncode:
        last = lines[-1] if lines else f"It ended with exit code {process.returncode}."
        return Part(name, trouble=last.removeprefix("moeviz: "), seconds=took)
    for line in lines:
        if line.startswith("moeviz: "):
            print(line, file=sys.stderr)
    try:
        return Part(name, tuple(Ratio(**row) for row in json.loads(printed)), seconds=took)
    except (ValueError, TypeError):
        return Part(name, trouble="It printed no ratios.", seconds=took)


def _end(process: subprocess.Popen) -> None:
    """Stop the process, if it still runs, and all that it started."""
    if process.poll() is not None:
        return
    process.send_signal(signal.SIGINT)  # it closes its browser and servers itself
    with suppress(subprocess.TimeoutExpired):
        process.communicate(timeout=TO_TIDY_UP)
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.communicate()
