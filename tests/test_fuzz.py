"""Bad input by the thousand: what comes of it is valid, or one sentence that says what is wrong.

The ordinary run tries some of each, always the same; `-m slow` tries thousands, always others.
"""

import io
import json

import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as some
from junk import NAMES, NUMBERS, STRANGE

import moeviz
from moeviz.cli import main
from moeviz.corpora.models import known_models
from moeviz.corpora.read import read_table, table_corpus
from moeviz.models import plan
from moeviz.models.facts import config_file_facts
from moeviz.rules.reading import READERS, parse_rule
from moeviz.serving.sizes import sizes_of
from moeviz.trace import MoevizError
from moeviz.ui import against, draft, inquiry, lab_setting, setting, view
from moeviz.ui.session import check_text

JUNK = some.one_of(some.sampled_from([*NUMBERS, *STRANGE]), some.text(max_size=40))


def thousands(few: int, many: int = 3000):
    """A decorator: the test gets `count`, few examples always and many under the marker `slow`."""
    return pytest.mark.parametrize("count", [few, pytest.param(many, marks=pytest.mark.slow)])


def every(count: int, values, check) -> None:
    """Calls `check` with `count` of the values; it may raise nothing but a sentence."""

    @settings(
        max_examples=count, deadline=None, database=None, derandomize=count < 1000,
        suppress_health_check=list(HealthCheck),
    )  # fmt: skip
    @given(values)
    def run(value):
        try:
            check(value)
        except MoevizError as error:
            sentence(error)

    run()


def sentence(error: MoevizError) -> None:
    """What is said of trouble fits on a screen and is no traceback."""
    said = str(error)
    assert said.strip()
    assert "Traceback" not in said
    assert len(said) < 2000, said[:300]


WORDS = [*READERS, "3:17", "*", ":", ">", "+17", ",-4", "of 4", "drop", "token 5", "tokens 0-9",
         "@2", "@1a,2", "seed 0", "vmoe", "switch", "by position", "in groups of 8", ";", "=",
         "1.25", "expert-choice", "factor=1.25", "0-99999999", "9" * 30]  # fmt: skip
RULES = some.lists(some.one_of(some.sampled_from([*WORDS, *NUMBERS]), JUNK), max_size=9).map(
    " ".join
)


@thousands(300, 20_000)
def test_rules(count):
    def check(text):
        rule = parse_rule(text)
        assert parse_rule(str(rule)) == rule

    every(count, RULES, check)


@pytest.fixture(scope="module")
def model(folder):
    return moeviz.load_model(folder)


@thousands(40)
def test_texts(count, model):
    def check(text):
        check_text(text)
        trace = moeviz.trace_text(model, text, truncate=True, logits=False)
        assert trace.shape[1] == len(trace.tokens)

    every(count, some.one_of(JUNK, some.text(min_size=1, max_size=300)), check)


@thousands(20, 1000)
def test_rules_in_the_model(count, model):
    def check(text):
        moeviz.trace_text(model, "one two three", rule=parse_rule(text), logits=False)

    every(count, RULES, check)


@thousands(150, 10_000)
def test_links(count, tiny_trace):
    def check(link):
        shown = view.from_link(link, tiny_trace)
        assert view.from_link(view.to_link(shown, tiny_trace), tiny_trace) == shown
        for part in (setting, lab_setting, draft, inquiry):
            found = part.from_link(link)
            assert part.from_link(part.to_link(found)) == found, part.__name__
        against.to_link(against.from_link(link))

    choices = some.one_of(
        JUNK, some.sampled_from(["map", "own", "text", "model", "vmoe", "0-5", "1"])
    )
    every(count, some.dictionaries(some.sampled_from(NAMES), choices, max_size=12), check)


def tables() -> some.SearchStrategy[tuple[bytes, str]]:
    """(bytes, name) of files of texts: whole, of junk, and cut or changed somewhere."""
    cells = some.one_of(JUNK, some.integers(), some.none(), some.floats(), some.booleans())
    names = some.sampled_from(["text", "language", "a,b", "", "\x00"])
    rows = some.lists(some.dictionaries(names, cells), max_size=6)
    endings = some.sampled_from(["csv", "tsv", "jsonl", "txt", "parquet", "CSV", "exe", ""])
    files = some.one_of(some.builds(_written, rows, endings), some.binary(max_size=300))
    damaged = some.builds(_damaged, files, some.integers(0, 400), some.binary(max_size=3))
    named = some.builds("{}.{}".format, some.sampled_from(["a", "../x", "<b>"]), endings)
    return some.tuples(damaged, named)


def _written(rows: list[dict], ending: str) -> bytes:
    if ending == "jsonl":
        return "\n".join(map(json.dumps, rows)).encode()
    cells = [{k: str(v).encode("utf-8", "replace").decode() for k, v in r.items()} for r in rows]
    table = pd.DataFrame(cells, dtype=object)
    if ending == "parquet":
        file = io.BytesIO()
        table.to_parquet(file)
        return file.getvalue()
    return table.to_csv(index=False, sep="\t" if ending == "tsv" else ",").encode()


def _damaged(data: bytes, place: int, other: bytes) -> bytes:
    return data if place > 300 else data[:place] + other + data[place + len(other) :]


@thousands(150)
def test_files_of_texts(count):
    def check(file):
        data, name = file
        table = read_table(data, name)
        for column in table.columns:
            try:
                corpus = table_corpus(table, name, column, list(table.columns)[:2])
                assert len(corpus) <= len(table)
            except MoevizError as error:
                sentence(error)

    every(count, tables(), check)


CONFIGS = [known.config for known in known_models() if known.config][:8]
LEAVES = some.none() | some.integers() | some.text(max_size=5)
VALUES = some.one_of(
    some.sampled_from([None, True, -1, 0, 1, 10**9, 10**30, 1e308, "", "abc", [], {}, [[]], "nan"]),
    some.lists(LEAVES, max_size=3),
    some.dictionaries(some.text(max_size=5), LEAVES, max_size=3),
)


@some.composite
def configs(draw) -> dict:
    config = dict(draw(some.sampled_from(CONFIGS)))
    for name in draw(some.lists(some.sampled_from(sorted(config)), min_size=1, max_size=3)):
        config[name] = draw(VALUES)
    return config


@thousands(25, 1000)
def test_configurations(count):
    def check(config):
        facts = config_file_facts(json.dumps(config).encode(), "config.json")
        assert facts.total > 0

    every(count, configs(), check)


@thousands(150)
def test_configurations_of_servers(count):
    values = some.one_of(configs(), some.dictionaries(JUNK, VALUES))

    def check(config):
        sizes = sizes_of(config, "x")
        assert sizes.layers > 0
        assert 0 < sizes.chosen <= sizes.experts

    every(count, values, check)


NONE = [
    b"",
    b"\xff",
    b"[" * 100_000,
    b'{"a":' * 100_000,
    b"null",
    b'"x"',
    b"1" * 10_000,
    b'{"model_type": ["olmoe"]}',
    b'{"model_type": {}}',
    b'{"model_type": "olmoe\\u0000"}',
    b'{"model_type": "olmoe", "num_hidden_layers": 1000000000}',
    b'{"model_type": "mixtral", "num_local_experts": 1000000000000}',
    b'{"model_type": "olmoe", "auto_map": {"AutoConfig": "evil.Config"}, "hidden_size": "x"}',
]


@pytest.mark.parametrize("data", NONE, ids=lambda data: repr(data[:40]))
def test_no_configuration(data):
    with pytest.raises(MoevizError) as caught:
        config_file_facts(data, "config.json")
    sentence(caught.value)


def test_a_model_of_endless_parts_is_given_up(monkeypatch):
    monkeypatch.setattr(plan, "MOST_MODULES", 50)
    with pytest.raises(MoevizError) as caught:
        config_file_facts(b'{"model_type": "jamba", "num_experts": 900}', "config.json")
    assert str(caught.value) == "config.json has more than 50 parts, which no model has."


FLAGS = ["--json", "--revision", "--device", "--dtype", "--tokens", "--experts", "--chosen",
         "--start", "--layers", "--names", "--draws", "--block", "--long", "--no-logits",
         "--prompt", "--max-passages", "--label-columns", "--workers", "--address",
         "--engine"]  # fmt: skip


@thousands(60)
def test_flags(count, capsys, tmp_path):
    """Whatever is typed ends with an exit code, and what is wrong on standard error."""
    (tmp_path / "a.csv").write_text("1,2\n3,x\n")
    (tmp_path / "config.json").write_text("{}")
    there = [str(tmp_path / name) for name in ("a.csv", "config.json", "none.npy", "none.jsonl")]
    words = some.one_of(some.sampled_from([*FLAGS, *there, *NUMBERS, *STRANGE[5:]]), JUNK)
    words = words.filter(lambda word: "\0" not in word and word.isprintable())  # as in a shell

    def check(argv):
        capsys.readouterr()
        try:
            code = main(argv)
        except SystemExit as end:
            code = end.code
        said = capsys.readouterr().err
        assert code == 0 or said.strip()
        assert "Traceback" not in said

    commands = some.sampled_from(
        [["facts"], ["facts", there[1]], ["import"], ["import", there[0]], ["corpus"],
         ["corpus", there[3]], ["bench", "none"], ["none"], ["trace", "--file"]]
    )  # fmt: skip
    lines = some.builds(list.__add__, commands, some.lists(words, max_size=4))
    every(count, lines, check)
