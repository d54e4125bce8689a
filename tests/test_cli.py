"""The command line as a user types it."""

import io
import json
import socket
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import moeviz
from moeviz.cli import BENCHES, main
from moeviz.models.names import token_texts

ROOT = Path(__file__).parent.parent


def test_trace_saves_the_trace_that_the_library_makes(folder, tmp_path, capsys):
    out = tmp_path / "a.moetrace"
    assert main(["trace", "--model", folder, "--text", "deux experts", "--out", str(out)]) == 0
    made = moeviz.trace_text(moeviz.load_model(folder), "deux experts")
    assert moeviz.open_trace(out).key == made.key
    printed = capsys.readouterr().out
    assert f"{folder}: {len(made.tokens)} tokens, 3 routed layers, top-2 of 8 experts" in printed
    assert f"Saved to {out}" in printed


def test_trace_prints_json_that_agrees_with_the_trace(folder, capsys):
    assert main(["trace", "--model", folder, "--text", "deux experts", "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    trace = moeviz.trace_text(moeviz.load_model(folder), "deux experts")
    assert (report["key"], report["tokens"], report["file"]) == (trace.key, len(trace.tokens), None)
    for row, facts in enumerate(report["layers"]):
        first = list(trace.experts[row].ravel())
        assert facts["share"] == round(first.count(facts["busiest_expert"]) / len(first), 4)
        assert facts["chance_low"] <= facts["chance_high"]


def test_trace_reads_a_file_and_standard_input(folder, tmp_path, capsys, monkeypatch):
    path = tmp_path / "text.txt"
    path.write_text("le routeur 路")
    keys = []
    for source in (str(path), "-"):
        stdin = io.TextIOWrapper(io.BytesIO(path.read_bytes()))
        monkeypatch.setattr(sys, "stdin", stdin)
        assert main(["trace", "--model", folder, "--file", source, "--json"]) == 0
        keys.append(json.loads(capsys.readouterr().out)["key"])
    assert keys[0] == keys[1]


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--text", " "], "There is no text. Paste or type something first."),
        (["--file", "/no/file"], "Cannot read /no/file: No such file or directory."),
        (
            ["--text", "x " * 99],
            "The text has 199 tokens, but {folder} takes at most 64. Shorten it, or allow it to "
            "be cut.",
        ),
        (
            ["--text", "a", "--out", "/no/folder/a.moetrace"],
            "Cannot write /no/folder/a.moetrace: No such file or directory.",
        ),
    ],
)
def test_what_goes_wrong_is_one_sentence_and_exit_code_1(folder, capsys, arguments, sentence):
    assert main(["trace", "--model", folder, *arguments]) == 1
    told = capsys.readouterr().err.splitlines()[-1]
    assert told == f"moeviz: {sentence.format(folder=folder)}"


def test_a_file_that_is_not_text_is_refused(folder, tmp_path, capsys):
    path = tmp_path / "a.bin"
    path.write_bytes(b"\xff\xfe\x00")
    assert main(["trace", "--model", folder, "--file", str(path)]) == 1
    assert capsys.readouterr().err.splitlines()[-1] == f"moeviz: {path} is not UTF-8 text."


def test_doctor_names_the_router_and_every_proof(folder, capsys):
    assert main(["doctor", folder, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["routers"]["decoder"]["experts"] == 8
    assert {proof["verdict"] for proof in found["proofs"]} <= {"pass", "not applicable"}
    assert main(["doctor", folder]) == 0
    printed = capsys.readouterr().out
    assert "decoder: top-2 of 8 experts in layers 0 to 2; softmax scores." in printed
    assert printed.count("\npass ") >= 6


def test_doctor_fails_on_a_model_that_does_not_exist(capsys):
    assert main(["doctor", "./nowhere"]) == 1
    assert capsys.readouterr().err == (
        "moeviz: There is no folder ./nowhere. Check the path, or give a hub id.\n"
    )


def test_an_unknown_benchmark_is_refused(capsys):
    assert main(["bench", "nothing"]) == 1
    assert capsys.readouterr().err == (
        f"moeviz: There is no benchmark 'nothing'; choose {', '.join(BENCHES)}.\n"
    )


@pytest.mark.parametrize("command", [[], ["trace"], ["doctor"], ["bench"], ["app"]])
def test_each_command_has_help(command):
    done = subprocess.run(
        [sys.executable, "-m", "moeviz", *command, "--help"],
        capture_output=True, text=True, cwd=ROOT,
    )  # fmt: skip
    assert done.returncode == 0
    assert done.stdout.startswith("usage: moeviz")


def test_a_port_that_is_in_use_or_none(capsys):
    with socket.create_server(("", 0)) as taken:
        port = taken.getsockname()[1]
        assert main(["app", "--port", str(port)]) == 1
    assert capsys.readouterr().err == (
        f"moeviz: Port {port} is in use, perhaps by another MoEViz: see http://localhost:{port}, "
        f"or choose another with --port, for example {min(port + 1, 65535)}.\n"
    )
    assert main(["app", "--port", "70000"]) == 1
    assert capsys.readouterr().err == ("moeviz: --port must lie between 1 and 65535, not 70000.\n")


def test_every_option_of_the_app_reaches_it(monkeypatch):
    started = []
    monkeypatch.setattr("os.execve", lambda _, command, env: started.append((command[-1], env)))
    with socket.create_server(("", 0)) as free:
        port = str(free.getsockname()[1])
    options = {
        "--hide": ("MOEVIZ_HIDE", "lab"),
        "--max-characters": ("MOEVIZ_MAX_CHARACTERS", "400"),
        "--servers": ("MOEVIZ_SERVERS", "http://one:8000"),
        "--model": ("MOEVIZ_MODEL", "org/model"),
        "--models": ("MOEVIZ_MODELS", "3"),
        "--trace-memory": ("MOEVIZ_TRACE_MEMORY", "50"),
    }
    words = [word for option, (_, value) in options.items() for word in (option, value)]
    main(["app", "--port", port, *words])
    ((used, environment),) = started
    assert used == port
    assert {name: environment[name] for name, _ in options.values()} == dict(options.values())


def test_facts_of_a_folder_a_file_and_the_table(folder, capsys):
    from moeviz.models.facts import model_facts

    facts = json.loads(json.dumps(model_facts(folder).as_json()))
    assert main(["facts", folder, "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == [facts]
    assert main(["facts", f"{folder}/config.json"]) == 0
    assert "top-2 of 8 in 3 of 3 layers" in capsys.readouterr().out
    assert main(["facts", "--all"]) == 0
    assert "Mixtral 8x7B (mixtral)\n  parameters          46.7 B" in capsys.readouterr().out


def test_facts_of_a_file_that_is_not_there(capsys):
    assert main(["facts", "/no/config.json"]) == 1
    assert capsys.readouterr().err == (
        "moeviz: Cannot read /no/config.json: No such file or directory.\n"
    )


def test_corpus_writes_a_report_and_tidy_tables(folder, tmp_path, capsys):
    import pandas as pd

    rows = ["text,language", *['"the router sends each token",en', '"le routeur choisit",fr'] * 6]
    (tmp_path / "a.csv").write_text("\n".join(rows))
    out = tmp_path / "out"
    options = ["--model", folder, "--label-columns", "language", "--draws", "19", "--json"]
    assert main(["corpus", str(tmp_path / "a.csv"), "--out", str(out), *options]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["passages"] == 12
    assert told["labels"][0]["label"] == "language"
    assert told["labels"][0]["layers"][0]["bits"] > told["labels"][0]["layers"][0]["chance_high"]
    assert [str(out / "report.html"), *told["files"][1:]] == told["files"]
    shares = pd.read_parquet(out / "specialisation.parquet")
    assert set(shares["value"]) == {"en", "fr"}
    assert len(shares) == 2 * 3 * 8
    explained = shares.groupby(["value", "layer"])["explained_by_words"].sum()
    assert explained.tolist() == pytest.approx([2] * 6)  # two experts a token
    assert "the router sends" not in (out / "report.html").read_text()


def test_corpus_reads_published_counts_without_a_model(capsys):
    assert main(["corpus", "mixtral"]) == 0
    told = capsys.readouterr().out
    assert "mistralai/Mixtral-8x7B-v0.1" in told
    assert "chance is only what an even router gives" in told


def test_corpus_counts_what_the_model_writes(folder, tmp_path, capsys):
    (tmp_path / "a.txt").write_text("the router\n\nle routeur")
    options = ["--model", folder, "--new-tokens", "3", "--json"]
    assert main(["corpus", str(tmp_path / "a.txt"), *options]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["phase"] == "decode"
    assert told["passages"] == 2
    assert 0 < told["tokens"] <= 6


def test_corpus_goes_on_where_an_earlier_run_stopped(folder, tmp_path, capsys):
    for name in ("a.txt", "b.txt"):
        (tmp_path / name).write_text("\n\n".join(f"{name} {number}" for number in range(4)))
    out = ["--out", str(tmp_path / "out"), "--json"]
    command = ["corpus", str(tmp_path / "?.txt"), "--model", folder, "--block", "2", *out]
    assert main([*command, "--max-passages", "5"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["passages"] == 5
    assert told["notes"][-1] == "Of ?.txt no more than 5 passages were asked for."
    assert len(list((tmp_path / "out" / "parts").iterdir())) == 3
    assert main(command) == 0
    printed = capsys.readouterr()
    assert json.loads(printed.out)["passages"] == 8
    assert printed.err.splitlines()[-1] == "Blocks that had been finished before: 2."
    assert main(command) == 0
    assert "8 of 8 passages" not in capsys.readouterr().err  # nothing was left to count


FULL = """
import resource, signal, sys
from moeviz.cli import main
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (5_000, 5_000))  # room for counts, not for the report
sys.exit(main(sys.argv[1:]))
"""


def test_corpus_on_a_full_disk_is_one_sentence_and_what_was_counted_stays(folder, tmp_path, capsys):
    (tmp_path / "a.txt").write_text("\n\n".join(f"text {number}" for number in range(4)))
    out = tmp_path / "out"
    command = ["corpus", str(tmp_path / "a.txt"), "--model", folder, "--out", str(out)]
    done = subprocess.run(
        [sys.executable, "-c", FULL, *command], capture_output=True, text=True, cwd=ROOT
    )
    assert done.returncode == 1
    said = f"moeviz: Cannot write {out}/report.html: File too large."
    assert done.stderr.splitlines()[-1] == said
    assert "Traceback" not in done.stderr
    assert [path.name for path in out.iterdir()] == ["parts"]
    assert main(command) == 0
    assert "Blocks that had been finished before: 1." in capsys.readouterr().err


def test_corpus_refuses_in_one_sentence(folder, tmp_path, capsys):
    assert main(["corpus", str(tmp_path / "none.csv"), "--model", folder]) == 1
    want = f"moeviz: Cannot read {tmp_path}/none.csv: No such file or directory.\n"
    assert capsys.readouterr().err == want
    long = "9" * 300 + ".csv"
    assert main(["corpus", long, "--model", folder]) == 1
    assert capsys.readouterr().err == f"moeviz: Cannot read {long}: File name too long.\n"
    assert main(["corpus", "olmoe", "--label-columns", "language"]) == 1
    assert capsys.readouterr().err == (
        "moeviz: published counts of allenai/OLMoE-1B-7B-0924 has no label 'language'; it has "
        "domain.\n"
    )
    assert main(["corpus", "atlas", "--workers", "2"]) == 1
    assert capsys.readouterr().err == "moeviz: --address and --workers go with --engine ray.\n"
    assert main(["corpus", "olmoe", "--draws", "3"]) == 1
    assert capsys.readouterr().err == "moeviz: --draws must be at least 19, not 3.\n"


def test_a_long_text_is_read_in_windows_and_written_compactly(folder, tmp_path, capsys):
    out = tmp_path / "a.moetrace"
    options = ["--model", folder, "--text", "x " * 99, "--long", "windows", "--no-logits"]
    assert main(["trace", *options, "--out", str(out), "--compact"]) == 0
    assert "windows of up to 64 tokens" in capsys.readouterr().out
    trace = moeviz.open_trace(out)
    assert len(trace.tokens) > 64
    assert trace.logits is None
    assert trace.source.notes[-1].startswith("Gates and logits were rounded to float16")


def test_what_a_long_text_takes_is_told_before_it_is_read(folder, capsys, monkeypatch):
    for module in ("run", "long"):
        monkeypatch.setattr(f"moeviz.models.{module}.LONG", 16)
    assert main(["trace", "--model", folder, "--text", "x " * 20]) == 0
    printed = capsys.readouterr()
    size = next(line for line in printed.err.splitlines() if "choices and gates take" in line)
    assert size.endswith(" tokens: choices and gates take 0.0 MB, router logits 0.0 MB.")
    assert "Ask for them with logits=True, or --logits on the command line." in printed.out
    assert main(["trace", "--model", folder, "--text", "x " * 20, "--logits"]) == 0
    assert "left out" not in capsys.readouterr().out


CHOICES = np.random.default_rng(0).random((12, 6, 16)).argsort(axis=-1)[..., :2]


def test_import_reads_an_array_with_what_the_configuration_tells(tmp_path, capsys):
    np.save(tmp_path / "a.npy", CHOICES)
    (tmp_path / "ids.json").write_text(json.dumps(list(range(40, 53))))
    command = ["import", str(tmp_path / "a.npy"), "--model", "demo", "--prompt", "9"]
    command += ["--tokens", str(tmp_path / "ids.json"), "--names", "--engine", "vLLM 0.22"]
    assert main([*command, "--out", str(tmp_path / "a.moetrace"), "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["tokens"], told["routed_layers"], told["experts"]) == (12, 6, 16)
    assert told["notes"] == [
        "The last token was written but never read, so it has no routing.",
        "Only the choices are known, in the order that vLLM 0.22 gave them: no gates and no "
        "router logits.",
    ]
    trace = moeviz.open_trace(told["file"])
    assert trace.tokens.generated.tolist() == [False] * 9 + [True] * 3
    assert trace.tokens.texts == token_texts("demo", range(40, 52))


def test_import_says_what_is_missing_or_wrong(tmp_path, capsys):
    np.save(tmp_path / "a.npy", CHOICES)
    (tmp_path / "ids.json").write_text("[1, 2.5]")
    file = str(tmp_path / "a.npy")
    for rest, sentence in (
        ([], "a.npy: How many experts does a layer have? The file does not say; the highest number "
         "in it is 15."),
        (["--model", "allenai/OLMoE-1B-7B-0924"], "a.npy: The file has 6 layers, but the model 16. "
         "It may be of another model, or a part of its layers is missing."),
        (["--experts", "16", "--layers", "1,x"], "--layers takes numbers such as 1-26 or 0,2,4, "
         "not '1,x'."),
        (["--experts", "16", "--tokens", str(tmp_path / "ids.json")], f"{tmp_path / 'ids.json'} "
         "must be a list of token ids, or of token texts."),
    ):  # fmt: skip
        assert main(["import", file, *rest]) == 1
        assert capsys.readouterr().err == f"moeviz: {sentence}\n"
