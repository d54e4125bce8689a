"""Writes docs/python.md and docs/cli.md from the docstrings and the command line's own help.

python docs/references.py
"""

import argparse
import inspect
import os
import sys
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path

DOCS = Path(__file__).parent
sys.path.insert(0, str(DOCS.parent))

import moeviz  # noqa: E402
from moeviz.cli import _parser  # noqa: E402

ROOMS = {
    "models": "text in, trace out",
    "trace": "the record of what one model did with one text",
    "store": "traces to and from files, and routing that other programs recorded",
    "rules": "the arithmetic of routing",
    "metrics": "numbers from traces, beside what chance gives",
    "corpora": "labelled texts",
    "engines": "one model over many texts",
    "serving": "models that a server runs",
    "charts": "pictures",
}
SKIPPED = {"MoevizError", "__version__"}


def python_page() -> str:
    """Every public name of the package with its signature and docstring, room by room."""
    parts = [
        "# Python reference",
        "Written from the docstrings by `docs/references.py`. Axes are always L routed layers, "
        "T tokens, E experts, K chosen, in this order. What the user can mend raises a subclass of "
        "`moeviz.MoevizError` (a `ValueError`) whose message is one sentence.",
    ]
    homes = moeviz._HOMES
    rooms = sorted({home.split(".")[1] for home in homes.values()}, key=list(ROOMS).index)
    for room in rooms:
        parts.append(f"## {room}: {ROOMS[room]}")
        for name, home in homes.items():
            if home.split(".")[1] == room and name not in SKIPPED:
                parts += entry(name, getattr(import_module(home), name))
    return "\n\n".join(parts) + "\n"


def entry(name: str, thing: object) -> Iterator[str]:
    """The heading, signature, docstring and methods of one public name."""
    yield f"### `moeviz.{name}`"
    yield f"```text\n{signature(name, thing)}\n```"
    yield inspect.getdoc(thing) or ""
    if inspect.isclass(thing):
        methods = [
            (word, value)
            for word, value in vars(thing).items()
            if not word.startswith("_") and inspect.getdoc(value) and is_ours(value)
        ]
        yield "\n".join(
            f"- `.{word}{bare(value)}`: {inspect.getdoc(value).splitlines()[0]}"
            for word, value in methods
        )


def is_ours(value: object) -> bool:
    return inspect.isfunction(value) or hasattr(value, "func") or isinstance(value, property)


def bare(value: object) -> str:
    """The arguments of a method; nothing for what is read without a call."""
    if not inspect.isfunction(value):
        return ""
    return f"({', '.join(map(argument, list(inspect.signature(value).parameters.values())[1:]))})"


def argument(each: inspect.Parameter) -> str:
    """`name: kind = default`, with stars; annotations are strings already."""
    stars = {inspect.Parameter.VAR_POSITIONAL: "*", inspect.Parameter.VAR_KEYWORD: "**"}
    words = stars.get(each.kind, "") + each.name
    words += "" if each.annotation is each.empty else f": {each.annotation}"
    return words + ("" if each.default is each.empty else f" = {each.default!r}")


def signature(name: str, thing: object) -> str:
    """`name(argument, ...)`, an argument a line where they are many."""
    asked = inspect.signature(thing)
    arguments = [argument(each) for each in asked.parameters.values()]
    known = asked.return_annotation
    gives = "" if known is inspect.Signature.empty or inspect.isclass(thing) else f" -> {known}"
    line = f"{name}({', '.join(arguments)}){gives}"
    if len(line) <= 90:
        return line
    inner = "".join(f"    {argument},\n" for argument in arguments)
    return f"{name}(\n{inner}){gives}"


def command_page() -> str:
    """The help of `moeviz` and of each of its commands."""
    os.environ["COLUMNS"] = "96"  # argparse breaks lines at the terminal's width
    parser = _parser()
    parts = [
        "# Command line reference",
        "Written from the commands' own help by `docs/references.py`. Exit code 0 means success; "
        "anything else comes with one sentence on standard error.",
        f"```text\n{plain(parser)}```",
    ]
    (commands,) = [a for a in parser._actions if isinstance(a, argparse._SubParsersAction)]
    for name, command in commands.choices.items():
        parts += [f"## `moeviz {name}`", f"```text\n{plain(command)}```"]
    return "\n\n".join(parts) + "\n"


def plain(parser: argparse.ArgumentParser) -> str:
    """Its help without the colours of newer Pythons."""
    if hasattr(parser, "color"):
        parser.color = False
    return parser.format_help()


PAGES = {"python.md": python_page, "cli.md": command_page}


def main() -> None:
    for name, page in PAGES.items():
        (DOCS / name).write_text(page(), encoding="utf-8")


if __name__ == "__main__":
    main()
