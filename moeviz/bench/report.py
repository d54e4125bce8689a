"""The page that says how fast MoEViz is: docs/speed.md, written from one run of the benchmarks."""

from __future__ import annotations

import ast
import os
import platform
import re
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path

from moeviz import __version__
from moeviz.bench.part import Part
from moeviz.bench.timing import HEAD, Ratio, cells

LIBRARIES = ("torch", "transformers", "streamlit", "numpy", "nnsight", "plotly", "matplotlib",
             "ray")  # fmt: skip

HOW = """\
Each thing and what it is set against run in turn, in one process, after one round that does not
count. *ratio* is how long the first takes in units of the second, the median over rounds; half of
the rounds lie in *middle half*. *at most* is the limit that we set ourselves, where there is one.
*median* is the time the first took here, which another machine will not repeat. Where an allowed
time stands in the place of the second, the ratio is the part of it that was used up."""


def as_markdown(parts: Sequence[Part], functions: dict[str, tuple[str, str]]) -> str:
    """The page. functions: module and name of each part's function, whose words explain it."""
    blocks = [
        "# Speed",
        "Written by `moeviz bench --out docs/speed.md`.",
        HOW,
        f"Measured on {machine()}.",
    ]
    for part in parts:
        question, answer = told(*functions[part.name])
        blocks += [f"## `moeviz bench {part.name}`", f"**{question}**", answer, _table(part)]
    return "\n\n".join(blocks) + "\n"


def machine() -> str:
    """Cores, kind of processor and versions, without names of the machine."""
    found = [f"{name} {_version(name)}" for name in LIBRARIES]
    cores = os.cpu_count() or 1
    return (
        f"{cores} {platform.machine()} core{'s' * (cores > 1)}, {platform.system()}, "
        f"Python {platform.python_version()}, MoEViz {__version__}, {', '.join(found)}"
    )


def told(module: str, function: str) -> tuple[str, str]:
    """The question that a module answers and how its function does, read without running it."""
    tree = ast.parse(Path(find_spec(module).origin).read_text("utf-8"))
    (found,) = (
        node for node in tree.body if isinstance(node, ast.FunctionDef) and node.name == function
    )
    question, *_ = ast.get_docstring(tree).split("\n\n")
    return " ".join(question.split()), ast.get_docstring(found)


def reading(row: Ratio) -> str:
    """The ratio in words, and whether its median keeps the limit."""
    if re.fullmatch(r"[\d,]+ ms", row.against):
        words = f"{1000 * row.seconds:,.0f} of {row.against}"
    elif row.low <= 1 <= row.high:
        words = "no clear difference"
    elif row.ratio >= 1.995:
        words = f"{row.ratio:.1f} times as long"
    else:
        words = f"{100 * abs(row.ratio - 1):.0f} % {'more' if row.ratio > 1 else 'less'} time"
    if row.limit is None:
        return words
    return f"{words}; {'within' if row.ratio <= row.limit else '**over**'} the limit"


def _table(part: Part) -> str:
    if part.trouble:
        return f"Not measured: {_escaped(part.trouble)}"
    head = (*HEAD, "in words")
    rows = [(*map(_escaped, cells(row)), reading(row)) for row in part.ratios]
    rule = ("---", "---", *("---:" for _ in HEAD[2:]), "---")
    return "\n".join(f"| {' | '.join(row)} |" for row in (head, rule, *rows))


def _escaped(text: str) -> str:
    """Text that Markdown shows letter by letter."""
    return re.sub(r"([\\`*_|<>\[\]])", r"\\\1", text)


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "not installed"
