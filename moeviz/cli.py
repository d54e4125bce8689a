"""The command line: `moeviz app`, `moeviz trace`.

Exit code 0 only on success; what goes wrong is one sentence on standard error.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from moeviz import __version__
from moeviz.trace import MoevizError, RoutingTrace


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and give its exit code."""
    arguments = _parser().parse_args(argv)
    try:
        return arguments.run(arguments)
    except MoevizError as error:
        print(f"moeviz: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="moeviz", description="See how a Mixture-of-Experts model routes every token."
    )
    parser.add_argument("--version", action="version", version=f"moeviz {__version__}")
    commands = parser.add_subparsers(required=True, metavar="command")

    app = commands.add_parser("app", help="start the web app")
    app.add_argument("--port", type=int, default=8501, help="port to serve on (8501)")
    app.set_defaults(run=_app)

    trace = commands.add_parser("trace", help="run a model on a text and save its routing")
    text = trace.add_mutually_exclusive_group(required=True)
    text.add_argument("--text", help="the text itself")
    text.add_argument("--file", help="a UTF-8 text file, or - for standard input")
    trace.add_argument("--out", help="trace file to write, for example a.moetrace")
    trace.add_argument("--truncate", action="store_true", help="cut a text that is too long")
    trace.add_argument("--no-logits", action="store_true", help="keep choices and gates only")
    _add_model_options(trace)
    trace.set_defaults(run=_trace)
    return parser


def _add_model_options(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--model", default="demo", help='"demo", a hub id or a local folder (demo)'
    )
    command.add_argument("--revision", help="branch, tag or commit of the hub")
    command.add_argument("--device", default="auto", help="auto, cuda, mps or cpu (auto)")
    command.add_argument(
        "--dtype", default="auto", help="auto, float32, bfloat16 or float16 (auto)"
    )
    command.add_argument(
        "--allow-code",
        action="store_true",
        help="run Python code that ships with the model: only for a source you trust",
    )
    command.add_argument("--json", action="store_true", help="print JSON instead of a table")


def _load(arguments: argparse.Namespace):
    from moeviz.models import load_model  # late: `moeviz --help` needs no torch

    return load_model(
        arguments.model,
        device=arguments.device,
        dtype=arguments.dtype,
        revision=arguments.revision,
        allow_code=arguments.allow_code,
    )


def _app(arguments: argparse.Namespace) -> int:
    script = Path(__file__).parent.parent / "app.py"
    if not script.exists():
        raise MoevizError(f"The app's start page {script} is missing; run from a checkout.")
    command = [sys.executable, "-m", "streamlit", "run", str(script)]
    return subprocess.call([*command, "--server.port", str(arguments.port)])


def _trace(arguments: argparse.Namespace) -> int:
    from moeviz.models import trace_text

    text = arguments.text if arguments.text is not None else _read(arguments.file)
    model = _load(arguments)
    trace = trace_text(model, text, logits=not arguments.no_logits, truncate=arguments.truncate)
    written = str(trace.save(arguments.out)) if arguments.out else None
    report = summary(trace)
    if arguments.json:
        print(json.dumps({**report, "file": written}, ensure_ascii=False))
    else:
        print(_as_table(report))
        if written:
            print(f"\nSaved to {written}")
    return 0


def summary(trace: RoutingTrace) -> dict:
    """Plain facts on a trace: per layer the busiest expert, its share, and chance's range."""
    from moeviz.metrics.load import expert_load, layer_sizes, load_chance

    load = expert_load(trace)
    experts, chosen = layer_sizes(trace)
    rows = []
    for row, layer in enumerate(trace.layers):
        chance = load_chance(len(trace.tokens), int(experts[row]), int(chosen[row]))
        busiest = int(load.counts[row].argmax())
        rows.append(
            {
                "layer": layer,
                "busiest_expert": busiest,
                "share": round(float(load.share[row, busiest]), 4),
                "chance_low": round(chance.busiest_low, 4),
                "chance_high": round(chance.busiest_high, 4),
            }
        )
    layers, tokens, experts_most, chosen_most = trace.shape
    return {
        "model": trace.source.model,
        "tokens": tokens,
        "routed_layers": layers,
        "experts": experts_most,
        "chosen": chosen_most,
        "key": trace.key,
        "notes": list(trace.source.notes),
        "layers": rows,
    }


def _as_table(report: dict) -> str:
    lines = [
        f"{report['model']}: {report['tokens']} tokens, {report['routed_layers']} routed layers, "
        f"top-{report['chosen']} of {report['experts']} experts",
        *report["notes"],
        "",
        "layer  busiest expert   share   busiest by chance (95 %)",
    ]
    for row in report["layers"]:
        lines.append(
            f"{row['layer']:>5}  {row['busiest_expert']:>14}  {row['share']:>6.1%}"
            f"   {row['chance_low']:.1%} to {row['chance_high']:.1%}"
        )
    return "\n".join(lines)


def _read(name: str) -> str:
    try:
        data = sys.stdin.buffer.read() if name == "-" else Path(name).read_bytes()
        return data.decode()
    except OSError as error:
        raise MoevizError(f"Cannot read {name}: {error.strerror}.") from error
    except UnicodeDecodeError as error:
        raise MoevizError(f"{name} is not UTF-8 text.") from error
