"""The page of a whole run, and parts that end well, badly or not at all."""

import dataclasses
import json
import sys

import pytest

from moeviz.bench.part import Part, part_apart
from moeviz.bench.report import as_markdown, machine, reading, told
from moeviz.bench.timing import Ratio
from moeviz.cli import BENCHES, main

SLOWER = Ratio("capture | a *b*", "plain forward", 1.25, 1.2, 1.3, 1.03, 0.5, 0.4, 7)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({}, "25 % more time; **over** the limit"),
        ({"limit": 1.3}, "25 % more time; within the limit"),
        ({"limit": None, "ratio": 0.5, "low": 0.4, "high": 0.6}, "50 % less time"),
        ({"limit": None, "low": 0.9}, "no clear difference"),
        ({"limit": None, "ratio": 4.28, "high": 5.0}, "4.3 times as long"),
        ({"against": "1,000 ms", "ratio": 0.5, "limit": 1.0}, "500 of 1,000 ms; within the limit"),
    ],
)
def test_a_ratio_in_words(changes, words):
    assert reading(dataclasses.replace(SLOWER, **changes)) == words


def test_the_page_explains_each_part_and_says_what_is_missing():
    page = as_markdown([Part("capture", (SLOWER,)), Part("ray", trouble="No *Ray*.")], BENCHES)
    capture, ray = page.split("\n## ")[1:]
    question, answer = told(*BENCHES["capture"])
    assert capture.startswith(f"`moeviz bench capture`\n\n**{question}**\n\n{answer}\n\n| what |")
    assert capture.rstrip().endswith(
        "| capture \\| a \\*b\\* | plain forward | 1.250 | 1.200 to 1.300 | 1.03 | 500.0 ms | 7 "
        "| 25 % more time; **over** the limit |"
    )
    assert ray.endswith("\n\nNot measured: No \\*Ray\\*.\n")
    assert f"Measured on {machine()}." in page


def test_every_benchmark_asks_a_question_and_says_how_it_is_answered():
    for place in BENCHES.values():
        question, answer = told(*place)
        assert "?" in question and len(answer) > 40


def test_a_part_that_ends_well(capsys):
    printed = json.dumps([dataclasses.asdict(SLOWER)])
    code = f"import sys; print('noise\\nmoeviz: no peer', file=sys.stderr); print({printed!r})"
    part = part_apart("capture", [sys.executable, "-c", code])
    assert (part.ratios, part.trouble) == ((SLOWER,), "")
    assert capsys.readouterr().err == "moeviz: no peer\n"


@pytest.mark.parametrize(
    ("code", "trouble"),
    [
        ("raise ValueError('too hot')", "ValueError: too hot"),
        ("import sys; sys.exit('moeviz: There is no Chromium.')", "There is no Chromium."),
        ("import os; os._exit(3)", "It ended with exit code 3."),
        ("import time; time.sleep(600)", "It was ended after 2 seconds."),
        ("print('no JSON')", "It printed no ratios."),
    ],
)
def test_a_part_that_does_not(code, trouble):
    part = part_apart("ray", [sys.executable, "-c", code], most=2.0 if "sleep" in code else 60.0)
    assert (part.ratios, part.trouble) == ((), trouble)


def test_one_part_that_fails_does_not_lose_the_others(monkeypatch, tmp_path, capsys):
    printed = json.dumps([dataclasses.asdict(SLOWER)])
    script = tmp_path / "stand_in.py"  # for Python, whose parts take minutes
    script.write_text(
        f"#!{sys.executable}\nimport sys\n"
        "if 'ray' in sys.argv: sys.exit('moeviz: Ray is missing.')\n"
        f"print({printed!r})\n"
    )
    script.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(script))
    page = tmp_path / "speed.md"
    assert main(["bench", "ray", "balance", "--out", str(page)]) == 1
    told = capsys.readouterr()
    assert "failed: Ray is missing." in told.err and "2 of 2: balance" in told.err
    assert (
        "25 % more time" in page.read_text() and "Not measured: Ray is missing." in page.read_text()
    )
    assert "plain forward" in told.out
