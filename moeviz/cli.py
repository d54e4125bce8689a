"""The command line: `moeviz app`, `moeviz trace`, `moeviz import`, `moeviz corpus`,
`moeviz doctor`, `moeviz facts`, `moeviz bench`.

Exit code 0 only on success; what goes wrong is one sentence on standard error.
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import json
import os
import socket
import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from moeviz import __version__
from moeviz.place import start_page
from moeviz.trace import MoevizError, RoutingTrace

BENCHES = {
    "capture": ("moeviz.bench.capture", "capture_speed"),
    "capacity": ("moeviz.bench.capacity", "capacity_speed"),
    "balance": ("moeviz.bench.balance", "balance_speed"),
    "heatmap": ("moeviz.bench.heatmap", "heatmap_speed"),
    "writing": ("moeviz.bench.writing", "writing_speed"),
    "what-if": ("moeviz.bench.what_if", "what_if_speed"),
    "corpus": ("moeviz.bench.corpus", "corpus_speed"),
    "ray": ("moeviz.bench.cluster", "ray_speed"),
    "screen": ("moeviz.bench.screen", "screen_speed"),
    "map": ("moeviz.bench.maps", "map_speed"),
    "dial": ("moeviz.bench.dial", "dial_speed"),
    "crowd": ("moeviz.bench.crowd", "crowd_speed"),
    "file": ("moeviz.bench.file", "file_speed"),
}
"""Name of each benchmark, and the function that gives its ratios."""


HOSTED_UPLOAD = 10
"""Megabytes of an upload on a hosted server unless set, as in moeviz/ui/house.py."""


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
    for add in (
        _add_app,
        _add_trace,
        _add_import,
        _add_corpus,
        _add_doctor,
        _add_facts,
        _add_bench,
    ):
        add(commands)
    return parser


def _add_app(commands) -> None:
    app = commands.add_parser("app", help="start the web app")
    app.add_argument("--port", type=int, default=8501, help="port to serve on (8501)")
    app.add_argument("--hide", default="", help="pages to leave out, for example lab,compare")
    app.add_argument("--max-characters", type=int, help="longest text that a visitor may run")
    app.add_argument(
        "--servers",
        default="",
        help="addresses of model servers that visitors may ask, comma-separated, or none; any "
        "unless given",
    )
    app.add_argument("--model", default="", help="the model that a visit starts with (demo)")
    app.add_argument("--models", type=int, help="models kept in memory at once (2)")
    app.add_argument(
        "--trace-memory", type=int,
        help="megabytes of traces and pictures kept, of all visitors together (1000)",
    )  # fmt: skip
    _add_hosted(app)
    app.set_defaults(run=_app)


def _add_trace(commands) -> None:
    trace = commands.add_parser("trace", help="run a model on a text and save its routing")
    text = trace.add_mutually_exclusive_group(required=True)
    text.add_argument("--text", help="the text itself")
    text.add_argument("--file", help="a UTF-8 text file, or - for standard input")
    trace.add_argument("--out", help="trace file to write, for example a.moetrace")
    trace.add_argument("--truncate", action="store_true", help="cut a text that is too long")
    trace.add_argument(
        "--long",
        default="",
        choices=("windows", "beyond"),
        help="read a text that is longer than the model takes all the same: in windows, each a "
        "text of its own, or beyond what the model was trained for (rotary positions only)",
    )
    trace.add_argument(
        "--logits",
        default=None,
        action=argparse.BooleanOptionalAction,
        help="keep the router logits, or choices and gates only; unless said, the logits of up to "
        "4,096 tokens are kept, and of a longer text what they take is told before it is read",
    )
    trace.add_argument(
        "--compact",
        action="store_true",
        help="write gates and logits in 2 bytes each, rounded to float16 where they need more",
    )
    _add_server_options(trace)
    _add_model_options(trace)
    trace.set_defaults(run=_trace)


def _add_corpus(commands) -> None:
    corpus = commands.add_parser(
        "corpus", help="run a model over many labelled texts and say what its experts are for"
    )
    corpus.add_argument(
        "file",
        help=".csv, .tsv, .jsonl, .parquet or .txt, a folder of them, or a quoted pattern with *; "
        'or "atlas", the texts that ship with MoEViz; or "olmoe" or "mixtral", counts published '
        "by their authors (no model is run)",
    )
    corpus.add_argument("--text-column", default="text", help="column of the texts (text)")
    corpus.add_argument(
        "--label-columns", help="comma-separated; language, domain and source unless given"
    )
    corpus.add_argument("--max-tokens", type=int, default=512, help="read of each text (512)")
    corpus.add_argument(
        "--new-tokens", type=int, default=0,
        help="count what the model itself writes after each text, so many tokens, instead of "
        "what it reads",
    )  # fmt: skip
    corpus.add_argument("--draws", type=int, default=199, help="deals behind chance bands (199)")
    corpus.add_argument("--seed", type=int, default=0, help="of the deals (0)")
    corpus.add_argument(
        "--out", help="folder for report.html, the Parquet tables and, as they are finished, the "
        "counts of each block of passages, which a later run takes over",
    )  # fmt: skip
    corpus.add_argument("--max-passages", type=int, help="passages to stop after (all)")
    corpus.add_argument("--block", type=int, default=512, help="passages in a block (512)")
    corpus.add_argument(
        "--engine", choices=("local", "ray"), default="local",
        help="one process, or many workers by Ray (local)",
    )  # fmt: skip
    corpus.add_argument(
        "--address", default="", help="of a running Ray cluster, auto or host:port; unless given, "
        "one is started on this machine for the run",
    )  # fmt: skip
    corpus.add_argument(
        "--workers", type=int, help="Ray workers that each hold the model (one a GPU, else a core)"
    )
    _add_model_options(corpus)
    corpus.set_defaults(run=_corpus)


def _add_doctor(commands) -> None:
    doctor = commands.add_parser("doctor", help="say what a model's router is, and prove it")
    doctor.add_argument("--all", action="store_true", help="a tiny model of every architecture")
    doctor.add_argument("name", nargs="?", help="the model, as for --model")
    _add_model_options(doctor)
    doctor.set_defaults(run=_doctor)


def _add_bench(commands) -> None:
    bench = commands.add_parser(
        "bench", help="measure speed side by side with what it is built on and with its peers"
    )
    bench.add_argument(
        "only", nargs="*", metavar="part", help=f"all unless given, of: {', '.join(BENCHES)}"
    )
    bench.add_argument("--out", help="Markdown page to write too, for example docs/speed.md")
    bench.add_argument(
        "--size", default="", help="of the model of the part capture: tiny, small (unless given) "
        "or olmoe, 6.9 billion parameters in bfloat16 and 4,096 tokens",
    )  # fmt: skip
    bench.add_argument("--device", default="", help="of the part capture: cuda, auto or cpu (cpu)")
    bench.add_argument("--json", action="store_true", help="print JSON instead of a table")
    bench.set_defaults(run=_bench)


def _add_hosted(app: argparse.ArgumentParser) -> None:
    app.add_argument(
        "--hosted", action="store_true",
        help="for strangers: no models but those named here, no folders, no downloads of other "
        "models, no servers unless named, and the limits below from the start",
    )  # fmt: skip
    app.add_argument(
        "--allow", default="", help="models that strangers may use besides the first, "
        "comma-separated",
    )  # fmt: skip
    for name, words in (
        ("max-tokens", "tokens read of a text (2048 if hosted, else what the model takes)"),
        ("max-new-tokens", "tokens written at a time (200 if hosted, else 2000)"),
        ("max-upload", "megabytes of a file (10 if hosted, else 100)"),
        ("max-rows", "texts read of a file (1000 if hosted, else 20000)"),
        ("sessions", "visitors at once (50 if hosted, else any number)"),
    ):
        app.add_argument(f"--{name}", type=int, help=words)


def _add_facts(commands) -> None:
    facts = commands.add_parser("facts", help="a model's size from its configuration alone")
    facts.add_argument("name", nargs="?", default="demo", help="hub id, folder or config.json")
    facts.add_argument("--revision", help="branch, tag or commit of the hub")
    facts.add_argument("--all", action="store_true", help="every model of the bundled table")
    facts.add_argument("--json", action="store_true", help="print JSON instead of a table")
    facts.set_defaults(run=_facts)


def _add_import(commands) -> None:
    record = commands.add_parser(
        "import", help="read routing that vLLM, SGLang, llama.cpp or another program recorded"
    )
    record.add_argument("file", help=".npy, .npz, .csv or .parquet; see moeviz.store.readers")
    record.add_argument("--experts", type=int, default=0, help="in a layer, if nothing says so")
    record.add_argument("--chosen", type=int, default=0, help="experts a token takes, likewise")
    record.add_argument("--layers", help="the routed ones, counted from 0, such as 1-26 or 0,2,4")
    record.add_argument(
        "--model", default="", help="hub id, folder or config.json: its configuration tells the "
        "numbers of layers and experts; any other name is only shown",
    )  # fmt: skip
    record.add_argument("--tokens", help="JSON list of all tokens' ids, or of their texts")
    record.add_argument("--names", action="store_true",
                        help="spell the token ids by the tokenizer of --model")  # fmt: skip
    record.add_argument("--start", type=int, default=0, help="token of the first row (0)")
    record.add_argument("--prompt", type=int, help="tokens that were given; the rest was written")
    record.add_argument("--engine", default="", help='what recorded it, such as "vLLM 0.22"')
    record.add_argument("--out", help="trace file to write, for example a.moetrace")
    record.add_argument("--json", action="store_true", help="print JSON instead of a table")
    record.set_defaults(run=_import)


def _add_server_options(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--endpoint",
        help="ask a vLLM or SGLang server, such as http://localhost:8000, instead of running a "
        "model; --model is then a name that it serves, and MOEVIZ_API_KEY the key it wants",
    )
    command.add_argument(
        "--kind", default="auto", help="of the server: vllm, sglang, or what it says (auto)"
    )
    command.add_argument(
        "--config", help="of the server's model, if it has no hub id: folder or config.json"
    )
    command.add_argument(
        "--new-tokens", type=int, default=0, help="let the server write so many and show them too"
    )


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
    from moeviz.models import load_model, plan_load  # late: `moeviz --help` needs no torch

    choice = _choice(arguments)
    print(plan_load(arguments.model, **choice), file=sys.stderr)
    return load_model(arguments.model, **choice)


def _choice(arguments: argparse.Namespace) -> dict:
    names = ("device", "dtype", "revision", "allow_code")
    return {name: getattr(arguments, name) for name in names}


def _app(arguments: argparse.Namespace) -> int:
    _check_port(arguments.port)
    command = [sys.executable, "-m", "streamlit", "run", str(start_page())]
    rules = {
        "MOEVIZ_HIDE": arguments.hide,
        "MOEVIZ_MAX_CHARACTERS": arguments.max_characters,
        "MOEVIZ_SERVERS": arguments.servers,
        "MOEVIZ_MODEL": arguments.model,
        "MOEVIZ_MODELS": arguments.models,
        "MOEVIZ_TRACE_MEMORY": arguments.trace_memory,
        "MOEVIZ_HOSTED": int(arguments.hosted),
        "MOEVIZ_ALLOW": arguments.allow,
        "MOEVIZ_MAX_TOKENS": arguments.max_tokens,
        "MOEVIZ_MAX_NEW_TOKENS": arguments.max_new_tokens,
        "MOEVIZ_MAX_UPLOAD": arguments.max_upload,
        "MOEVIZ_MAX_ROWS": arguments.max_rows,
        "MOEVIZ_SESSIONS": arguments.sessions,
    }
    house = {name: str(rule) for name, rule in rules.items() if rule}
    command += ["--server.port", str(arguments.port)]
    largest = arguments.max_upload or (HOSTED_UPLOAD if arguments.hosted else None)
    if largest:  # so that the server does not even read what the pages would refuse
        command += ["--server.maxUploadSize", str(largest)]
    os.execve(sys.executable, command, {**os.environ, **house})  # so that signals reach the server


def _check_port(port: int) -> None:
    """Raises MoevizError when nobody can be served on this port."""
    if not 1 <= port <= 65535:
        raise MoevizError(f"--port must lie between 1 and 65535, not {port}.")
    try:
        with socket.create_server(("", port)):
            pass
    except PermissionError as error:
        raise MoevizError(f"Port {port} is not for you: try one above 1023.") from error
    except OSError as error:
        raise MoevizError(
            f"Port {port} is in use, perhaps by another MoEViz: see http://localhost:{port}, or "
            f"choose another with --port, for example {min(port + 1, 65535)}."
        ) from error


def _trace(arguments: argparse.Namespace) -> int:
    text = arguments.text if arguments.text is not None else _read(arguments.file)
    if arguments.new_tokens and not arguments.endpoint:
        raise MoevizError("--new-tokens needs --endpoint, the server that writes them.")
    trace = _asked(arguments, text) if arguments.endpoint else _run(arguments, text)
    written = str(trace.save(arguments.out, arguments.compact)) if arguments.out else None
    report = summary(trace)
    if arguments.json:
        print(json.dumps({**report, "file": written}, ensure_ascii=False))
    else:
        print(_as_table(report))
        if written:
            print(f"\nSaved to {written}")
    return 0


CHECKED = (
    "Checked: each number names an expert, and no token the same twice; no route and no slot is "
    "the same for all tokens and layers; the experts are not one rank's part of them, and the "
    "tokens not pieces of one ranking."
)


def _import(arguments: argparse.Namespace) -> int:
    from moeviz.store.readers import read_routing

    trace = read_routing(arguments.file, **_known(arguments))
    written = str(trace.save(arguments.out)) if arguments.out else None
    report = summary(trace)
    if arguments.json:
        print(json.dumps({**report, "file": written}, ensure_ascii=False))
    else:
        print(_as_table(report))
        print(f"\n{CHECKED}" + (f"\nSaved to {written}" if written else ""))
    return 0


def _known(arguments: argparse.Namespace) -> dict:
    """What is known of a recorded file: what the model's configuration says, and what is given."""
    from moeviz.serving.sizes import told_of

    told = told_of(arguments.model) if arguments.model else {}
    given = {
        "num_experts": arguments.experts, "chosen": arguments.chosen,
        "layers": _places(arguments.layers) if arguments.layers else None,
        "start": arguments.start, "engine": arguments.engine, "model": arguments.model,
    }  # fmt: skip
    given = {part: value for part, value in given.items() if value}
    return {**told, **given, "prompt": arguments.prompt, **_named(arguments)}


def _places(written: str) -> tuple[int, ...]:
    """The layers in "1-26" or "0,2,4"."""
    found: list[int] = []
    for part in written.split(","):
        first, _, last = part.strip().partition("-")
        if not first.isdecimal() or (last and not last.isdecimal()):
            raise MoevizError(f"--layers takes numbers such as 1-26 or 0,2,4, not {written!r}.")
        found += range(int(first), int(last or first) + 1)
    return tuple(found)


def _named(arguments: argparse.Namespace) -> dict:
    """Ids or texts of the tokens, from a JSON list."""
    if not arguments.tokens:
        return {}
    try:
        found = json.loads(_read(arguments.tokens))
    except (ValueError, RecursionError) as error:
        raise MoevizError(f"{arguments.tokens} is not JSON.") from error
    if isinstance(found, list) and found and all(isinstance(each, str) for each in found):
        return {"texts": found}
    if not isinstance(found, list) or not found or not all(type(each) is int for each in found):
        raise MoevizError(f"{arguments.tokens} must be a list of token ids, or of token texts.")
    if not arguments.names:
        return {"tokens": found}
    from moeviz.models.names import token_texts  # late: torch takes seconds

    return {"tokens": found, "texts": token_texts(arguments.model or "demo", found)}


def _run(arguments: argparse.Namespace, text: str) -> RoutingTrace:
    from moeviz.models import trace_size  # late: torch takes seconds
    from moeviz.models.run import LONG, text_tokens, trace_tokens

    model = _load(arguments)
    cut, long = arguments.truncate, arguments.long
    tokens, notes = text_tokens(model, text, truncate=cut, long=long)
    if len(tokens) > LONG:
        print(trace_size(model, len(tokens)), file=sys.stderr)
    return trace_tokens(
        model, tokens, logits=arguments.logits, notes=notes, long=long,
        progress=partial(_told, unit="tokens"),
    )  # fmt: skip


def _asked(arguments: argparse.Namespace, text: str) -> RoutingTrace:
    from moeviz.serving.ask import ask_server

    # What a server writes last has no routing, so one more is asked for. Unless named, the model
    # is whichever the server has.
    return ask_server(
        arguments.endpoint,
        text,
        model=None if arguments.model == "demo" else arguments.model,
        kind=arguments.kind,
        max_tokens=arguments.new_tokens + 1,
        config=arguments.config,
    )


def _corpus(arguments: argparse.Namespace) -> int:
    from moeviz.charts.corpus_report import report_html
    from moeviz.metrics.findings import corpus_summary, corpus_tables, findings
    from moeviz.store.whole import whole_file, write_whole

    if arguments.draws < 19:
        raise MoevizError(f"--draws must be at least 19, not {arguments.draws}.")
    if arguments.engine == "local" and (arguments.address or arguments.workers):
        raise MoevizError("--address and --workers go with --engine ray.")
    folder = _writable(arguments.out) if arguments.out else None
    named = [name.strip() for name in (arguments.label_columns or "").split(",")]
    labels = [name for name in named if name] or None
    routing, words, failed = _routed(arguments, labels, folder)
    found = findings(routing, labels, arguments.draws, arguments.seed, words)
    files = []
    if folder is not None:
        files.append(str(write_whole(folder / "report.html", report_html(found))))
        for name, table in corpus_tables(found).items():
            with whole_file(folder / f"{name}.parquet") as draft:
                table.to_parquet(draft, index=False)
            files.append(str(folder / f"{name}.parquet"))
    report = corpus_summary(found)
    if arguments.json:
        print(json.dumps({**report, "files": files}, ensure_ascii=False))
    else:
        print(_corpus_table(report))
        if files:
            print(f"\nWrote {len(files)} files to {folder}; open {files[0]}")
    for sentence in failed:
        print(f"moeviz: {sentence}", file=sys.stderr)
    return 1 if failed else 0


def _routed(arguments: argparse.Namespace, labels: list[str] | None, folder: Path | None) -> tuple:
    """The corpus run asked for, the words of each value of its labels where text was read, and a
    sentence for each block that could not be counted."""
    from moeviz.corpora.published import NAMES, published_corpus

    if arguments.file in NAMES:
        return published_corpus(arguments.file), {}, ()
    from moeviz.corpora.parts import PartFolder
    from moeviz.corpora.stream import survey
    from moeviz.engines.blocks import Settings, route_blocks

    stream = _stream(arguments, labels)
    contents = survey(stream)  # first: what is wrong with a file is told before a model is loaded
    settings = Settings(
        arguments.max_tokens, new_tokens=arguments.new_tokens, labels=tuple(labels or ())
    )
    parts = PartFolder(folder / "parts") if folder else None
    try:
        with _engine(arguments) as engine:
            run = route_blocks(stream, engine, settings, parts, _told, contents)
    except KeyboardInterrupt:
        kept = f"Finished blocks are in {parts.path}; run the same again to go on." if parts else (
            "Nothing was kept, because no --out was given."
        )  # fmt: skip
        print(f"\nmoeviz: Stopped. {kept}", file=sys.stderr)
        raise
    if run.found:
        print(f"Blocks that had been finished before: {run.found:,}.", file=sys.stderr)
    return run.routing, run.words, run.failed


def _stream(arguments: argparse.Namespace, labels: list[str] | None):
    from moeviz.corpora.atlas import load_atlas
    from moeviz.corpora.stream import InMemory, text_files

    size, most = arguments.block, arguments.max_passages
    if arguments.file == "atlas":
        return InMemory(load_atlas(), size, most)
    return text_files(arguments.file, arguments.text_column, labels, size, most)


@contextlib.contextmanager
def _engine(arguments: argparse.Namespace):
    """The engine asked for; what it started ends with it."""
    if arguments.engine == "local":
        from moeviz.engines.blocks import LocalEngine

        yield LocalEngine(_load(arguments))
        return
    from moeviz.engines.cluster import ray_engine

    cluster = ray_engine(
        arguments.model, arguments.address, arguments.workers, **_choice(arguments)
    )
    # Ray tells on standard output of workers that died; only the report belongs there.
    with contextlib.redirect_stdout(sys.stderr), cluster as engine:
        print(f"{engine.workers} workers on Ray, each with {arguments.model}", file=sys.stderr)
        yield engine


def _told(done: int, total: int, unit: str = "passages") -> None:
    end = "\n" if done == total else ""
    print(f"\r{done:,} of {total:,} {unit}", end=end, file=sys.stderr, flush=True)


def _writable(name: str) -> Path:
    try:
        Path(name).mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise MoevizError(f"Cannot write to {name}: {error.strerror}.") from error
    return Path(name)


def _corpus_table(report: dict) -> str:
    lines = [
        f"{report['model']} on {report['corpus']} ({report['phase']}): {report['passages']:,} "
        f"passages, {report['tokens']:,} tokens",
        *report["notes"],
    ]
    for told in report["labels"]:
        lines += ["", f"{told['label']}: bits that one choice tells, layer by layer", ""]
        lines.append("layer    bits   chance (95 %)     experts above chance")
        for row in told["layers"]:
            band = "unknown" if row["chance_low"] is None else (
                f"{row['chance_low']:.3f} to {row['chance_high']:.3f}"
            )  # fmt: skip
            above = "unknown" if row["above_chance"] is None else row["above_chance"]
            lines.append(f"{row['layer']:>5}  {row['bits']:>6.3f}   {band:<16}  {above}")
    for told in report["recall"]:
        lines.append(
            f"\nRouting alone tells {told['label']}: {told['recall']:.1%} (chance "
            f"{told['chance']:.1%}, {told['classes']} classes, {told['passages']:,} passages)"
        )
    lines += [f"\n{sentence}" for sentence in report["missing"]]
    return "\n".join(lines)


def _doctor(arguments: argparse.Namespace) -> int:
    from moeviz.models.doctor import diagnose, diagnose_all

    if arguments.all:
        return _report_all(diagnose_all(), arguments.json)
    arguments.model = arguments.name or arguments.model
    found = diagnose(_load(arguments))
    print(json.dumps(dataclasses.asdict(found)) if arguments.json else _diagnosis(found))
    return 0 if found.passed else 1


def _report_all(found, as_json: bool) -> int:
    """One line a model type; exit code 1 when a proof failed or a type could not be tried."""
    total = good = 0
    for model_type, answer in found:
        if isinstance(answer, str) and answer.startswith("Not routed"):
            continue
        total += 1
        passed = not isinstance(answer, str) and answer.passed
        good += passed
        if as_json:
            detail = answer if isinstance(answer, str) else dataclasses.asdict(answer)
            print(json.dumps({"type": model_type, "passed": passed, "detail": detail}), flush=True)
        else:
            print(f"{model_type:<24} {_verdict(answer)}", flush=True)
    if not as_json:
        print(f"\n{good} of {total} architectures passed every proof.")
    return 0 if good == total else 1


def _verdict(answer) -> str:
    if isinstance(answer, str):
        return answer
    failed = [f"{proof.claim}: {proof.detail}" for proof in answer.proofs
              if proof.verdict == "fail"]  # fmt: skip
    return "failed  " + "; ".join(failed) if failed else "passed  " + " ".join(answer.warnings)


def _diagnosis(found) -> str:
    lines = [
        f"{found.model}: {found.model_type}, {found.parameters / 1e6:,.1f} million parameters, "
        f"{found.dtype} on {found.device}, transformers {found.transformers}"
    ]
    for stack, router in found.routers.items():
        lines.append(f"\n{stack}: {router.in_words(found.layers[stack])}")
    lines += [f"\nwarning: {sentence}" for sentence in found.warnings]
    lines.append("")
    lines += [f"{proof.verdict:<16}{proof.claim} {proof.detail}" for proof in found.proofs]
    return "\n".join(lines)


def _facts(arguments: argparse.Namespace) -> int:
    from moeviz.rules.facts import as_table

    found = _facts_asked_for(arguments)
    if arguments.json:
        print(json.dumps([facts.as_json() for facts in found]))
    else:
        print(as_table(found))
    return 0


def _facts_asked_for(arguments: argparse.Namespace) -> list:
    from moeviz.corpora.models import known_facts
    from moeviz.rules.facts import from_json

    if arguments.all:
        return [from_json(values) for values in known_facts().values()]
    from moeviz.models.facts import config_file_facts, model_facts  # late: torch takes seconds

    if arguments.name.endswith(".json"):
        return [config_file_facts(_bytes(arguments.name), arguments.name)]
    return [model_facts(arguments.name, arguments.revision)]


def _bench(arguments: argparse.Namespace) -> int:
    from moeviz.bench.timing import as_table

    names = arguments.only or list(BENCHES)
    _check_bench(names, arguments)
    parts = [_bench_here(*names, arguments)] if len(names) == 1 else _bench_apart(names, arguments)
    ratios = [row for part in parts for row in part.ratios]
    if arguments.json:
        print(json.dumps([dataclasses.asdict(row) for row in ratios]))
    else:
        print(as_table(ratios))
    if arguments.out:
        from moeviz.bench.report import as_markdown
        from moeviz.store.whole import write_whole

        write_whole(arguments.out, as_markdown(parts, BENCHES))
    return 1 if any(part.trouble for part in parts) else 0


def _check_bench(names: Sequence[str], arguments: argparse.Namespace) -> None:
    """Raises MoevizError for what would only show when minutes are gone."""
    unknown = [name for name in names if name not in BENCHES]
    if unknown:
        raise MoevizError(f"There is no benchmark {unknown[0]!r}; choose {', '.join(BENCHES)}.")
    if "capture" not in names and (arguments.size or arguments.device):
        raise MoevizError("--size and --device are for the part capture.")
    if arguments.out and not os.path.isdir(Path(arguments.out).absolute().parent):
        raise MoevizError(f"There is no folder {Path(arguments.out).parent} to write to.")


def _bench_options(name: str, arguments: argparse.Namespace) -> dict[str, str]:
    given = {"size": arguments.size, "device": arguments.device} if name == "capture" else {}
    return {option: value for option, value in given.items() if value}


def _bench_here(name: str, arguments: argparse.Namespace):
    from importlib import import_module

    from moeviz.bench.part import Part

    module, function = BENCHES[name]
    measure = getattr(import_module(module), function)
    return Part(name, tuple(measure(**_bench_options(name, arguments))))


def _bench_apart(names: Sequence[str], arguments: argparse.Namespace) -> list:
    """Each part in a process of its own; what becomes of it is told as it goes on."""
    from moeviz.bench.part import part_apart

    parts = []
    for number, name in enumerate(names, 1):
        print(f"{number} of {len(names)}: {name} ...", file=sys.stderr, flush=True)
        options = [f"--{key}={value}" for key, value in _bench_options(name, arguments).items()]
        command = [sys.executable, "-m", "moeviz", "bench", name, "--json", *options]
        part = part_apart(name, command)
        print(
            f"  took {part.seconds:.0f} s" + (f" and failed: {part.trouble}" * bool(part.trouble)),
            file=sys.stderr, flush=True,
        )  # fmt: skip
        parts.append(part)
    return parts


def summary(trace: RoutingTrace) -> dict:
    """Plain facts on a trace: per layer the busiest expert, its share, and chance's range."""
    from moeviz.metrics.load import expert_load, layer_chance

    load = expert_load(trace)
    rows = []
    for row, layer in enumerate(trace.layers):
        chance = layer_chance(trace, load, row)
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
        return _bytes(name).decode()
    except UnicodeDecodeError as error:
        raise MoevizError(f"{name} is not UTF-8 text.") from error


def _bytes(name: str) -> bytes:
    try:
        return sys.stdin.buffer.read() if name == "-" else Path(name).read_bytes()
    except OSError as error:
        raise MoevizError(f"Cannot read {name}: {error.strerror}.") from error
