"""The oldest transformers that MoEViz supports and the newest release, each in a folder of its own.

Run by `bash tests/run.sh -m versions`: it installs both from the package registry and tries a tiny
model of every architecture that each ships.
"""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent.parent
OLDEST = "5.16.0"


def newest() -> str:
    listed = subprocess.run(
        [sys.executable, "-m", "pip", "index", "versions", "transformers"],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    return re.search(r"transformers \(([\d.]+)\)", listed.stdout).group(1)


@pytest.mark.versions
@pytest.mark.parametrize("version", [OLDEST, "newest"])
def test_every_architecture_of_this_release_is_proven(version, tmp_path):
    wanted = newest() if version == "newest" else version
    install = [sys.executable, "-m", "pip", "install", "--quiet", "--target", str(tmp_path)]
    subprocess.run([*install, f"transformers=={wanted}"], check=True)
    done = subprocess.run(
        [sys.executable, "-m", "moeviz", "doctor", "--all", "--json"],
        capture_output=True, text=True, cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(tmp_path), "HF_HUB_OFFLINE": "1"},
    )  # fmt: skip
    answers = [json.loads(line) for line in done.stdout.splitlines()]
    releases = {a["detail"]["transformers"] for a in answers if isinstance(a["detail"], dict)}
    assert releases == {wanted}
    failed = {a["type"] for a in answers if not a["passed"]}
    print(f"transformers {wanted}: {len(answers) - len(failed)} of {len(answers)} passed")
    assert len(answers) >= 50
    excused = KNOWN_FAULTS | (OLDEST_FAULTS if version == OLDEST else set())
    assert failed <= excused, json.dumps(
        [a for a in answers if a["type"] in failed - excused], indent=1
    )


KNOWN_FAULTS = {"deepseek_v4", "doge", "nllb-moe"}
"""Faults of the shipped code; test_every_architecture names each with its reason."""
OLDEST_FAULTS = {"diffusion_gemma"}
"""Its default configuration in 5.16 lacks a vision part that the model needs."""
