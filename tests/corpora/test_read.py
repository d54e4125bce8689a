"""The user's own files: read whole, or refused in one sentence."""

import json
import time

import numpy as np
import pandas as pd
import pytest

from moeviz.corpora import read
from moeviz.corpora.corpus import CorpusError
from moeviz.corpora.read import load_corpus, read_table, table_corpus

ROWS = [
    {"text": "guten Tag, Welt", "language": "de", "domain": "greeting"},
    {"text": 'she said "hi",\nthen left', "language": "en", "domain": "story"},
    {"text": "<b>=1+1</b>\u2028你好", "language": "zh", "domain": ""},
]


def written(folder, name) -> str:
    table, path = pd.DataFrame(ROWS), folder / name
    if name.endswith(".csv"):
        table.to_csv(path, index=False)
    elif name.endswith(".tsv"):
        table.to_csv(path, index=False, sep="\t")
    elif name.endswith(".parquet"):
        table.to_parquet(path)
    else:
        path.write_text("\n".join(json.dumps(row) for row in ROWS) + "\n\n")
    return str(path)


@pytest.mark.parametrize("name", ["a.csv", "a.tsv", "a.jsonl", "a.parquet", "A.CSV"])
def test_every_format_gives_the_same_corpus(tmp_path, name):
    if name == "A.CSV":
        (tmp_path / name).write_bytes(
            pd.DataFrame(ROWS).to_csv(index=False, sep=";").encode("utf-8-sig")
        )
        path = tmp_path / name
    else:
        path = written(tmp_path, name)
    corpus = load_corpus(path)
    assert corpus.texts == tuple(row["text"] for row in ROWS)
    assert corpus.labels["language"].tolist() == ["de", "en", "zh"]
    assert corpus.labels["domain"].tolist() == ["greeting", "story", ""]
    assert list(corpus.labels) == ["language", "domain"]
    assert corpus.notes == ()
    assert len(set(corpus.documents)) == 3


def test_plain_text_is_cut_into_paragraphs(tmp_path):
    (tmp_path / "a.txt").write_text("One\nparagraph.\r\n\r\nAnother one.\n\n\n")
    corpus = load_corpus(tmp_path / "a.txt")
    assert corpus.texts == ("One\nparagraph.", "Another one.")
    assert corpus.labels == {}


def test_chosen_columns_and_what_belongs_together(tmp_path):
    rows = [
        {"body": "a", "kind": 1, "document": "x", "parallel": ""},
        {"body": "b", "kind": 2, "document": "x", "parallel": "p"},
        {"body": "c", "kind": 1, "document": "y", "parallel": "p"},
        {"body": "d", "kind": None, "document": "", "parallel": ""},
    ]
    (tmp_path / "a.jsonl").write_text("\n".join(map(json.dumps, rows)))
    corpus = load_corpus(tmp_path / "a.jsonl", "body", ["kind"])
    assert corpus.labels["kind"].tolist() == ["1", "2", "1", ""]
    assert corpus.documents.tolist() == ["x", "x", "y", "row 3"]
    assert corpus.families.tolist() == ["x", "parallel p", "parallel p", "row 3"]
    assert corpus.parallel.tolist() == ["", "p", "p", ""]


def test_empty_and_broken_rows_are_left_out_and_that_is_said(tmp_path):
    rows = [{"text": "fine"}, {"text": " "}, {"text": None}, {"text": "\ud800"}, {"other": "x"}]
    (tmp_path / "a.jsonl").write_text("\n".join(map(json.dumps, rows)))
    corpus = load_corpus(tmp_path / "a.jsonl")
    assert corpus.texts == ("fine",)
    assert corpus.notes == ("4 of 5 rows of a.jsonl held no readable text and were left out.",)


def test_limits_on_rows_and_characters_are_stated(monkeypatch):
    monkeypatch.setattr(read, "MAX_ROWS", 3)
    monkeypatch.setattr(read, "MAX_CHARACTERS", 4)
    table = read_table(b"text\n" + b"abcdef\n" * 5, "a.csv")
    assert len(table) == 4
    corpus = table_corpus(table, "a.csv")
    assert corpus.texts == ("abcd",) * 3
    assert corpus.notes == (
        "a.csv has more than 3 rows; the first 3 were read.",
        "3 texts of a.csv were cut to 4 characters.",
    )
    assert read.limits() == (
        "CSV, TSV, JSON Lines, Parquet or plain text; at most 100 MB, of which the first 20,000 "
        "rows are read, and 4 characters of each text."
    )


@pytest.mark.parametrize(
    ("name", "data", "sentence"),
    [
        ("a.xlsx", b"x", "a.xlsx is not a file that can be read: give .csv, .tsv, .jsonl, .parquet "
                         "or .txt."),
        ("a.csv", b" \n", "a.csv is empty."),
        ("a.csv", b"text\n", "a.csv has no rows."),
        ("a.csv", "text\nGrüße".encode("latin-1"), "a.csv is not UTF-8 text: byte 7 is 0xfc. Save "
                                                   "it as UTF-8."),
        ("a.csv", b"text,b\n1,2\n1,2,3\n", "a.csv is not a table: C error: Expected 2 fields in "
                                           "line 3, saw 3."),
        ("a.jsonl", b'{"text": "a"}\n[1]', "Line 2 of a.jsonl is not a JSON object of columns."),
        ("a.jsonl", b'{"text": "a"}\n\n{oops', "Line 3 of a.jsonl is not JSON."),
        ("a.parquet", b"PAR1 not really", "a.parquet is not a Parquet file, or it is damaged."),
    ],
)  # fmt: skip
def test_bad_files_get_one_sentence(name, data, sentence):
    with pytest.raises(CorpusError) as refused:
        read_table(data, name)
    assert str(refused.value) == sentence


@pytest.mark.parametrize(
    ("text", "labels", "sentence"),
    [
        ("body", None, "a.csv has no column 'body'; it has 'text', 'n'."),
        ("text", ["topic"], "a.csv has no column 'topic'; it has 'text', 'n'."),
        ("text", ["n"], "Column 'n' of a.csv has 150 different values, but a label has at most "
                        "100. Choose another column."),
        ("blank", [], "a.csv has no column 'blank'; it has 'text', 'n'."),
    ],
)  # fmt: skip
def test_bad_columns_get_one_sentence(text, labels, sentence):
    table = read_table(b"text,n\n" + b"".join(b"x,%d\n" % n for n in range(150)), "a.csv")
    with pytest.raises(CorpusError) as refused:
        table_corpus(table, "a.csv", text, labels)
    assert str(refused.value) == sentence


def test_a_column_without_any_text_is_refused():
    with pytest.raises(CorpusError) as refused:
        table_corpus(read_table(b"text,b\n ,1\n,2\n", "a.csv"), "a.csv")
    assert str(refused.value) == "a.csv has no row with text in column 'text'."


def test_a_large_file_is_refused_before_it_is_read(tmp_path):
    path = tmp_path / "huge.csv"
    with path.open("wb") as file:
        file.truncate(200_000_000)  # sparse: no disk, but reading it would take 200 MB
    started = time.process_time()
    with pytest.raises(CorpusError) as refused:
        load_corpus(path)
    assert time.process_time() - started < 0.05
    assert str(refused.value) == (
        "huge.csv holds 200 MB, but at most 100 MB are read. Take a sample of it."
    )
    with pytest.raises(CorpusError) as refused:
        read_table(bytes(200_000_000), "huge.csv")
    assert "200 MB" in str(refused.value)


def test_a_parquet_file_that_unpacks_to_gigabytes_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(read, "_MOST_UNPACKED", 10_000)
    numbers = pd.DataFrame({"text": np.random.default_rng(0).random(10_000).astype(str)})
    numbers.to_parquet(tmp_path / "a.parquet")
    with pytest.raises(CorpusError) as refused:
        load_corpus(tmp_path / "a.parquet")
    assert str(refused.value).endswith("at most 100 MB are read. Take a sample of it.")


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(CorpusError) as refused:
        load_corpus(tmp_path / "none.csv")
    assert str(refused.value) == f"Cannot read {tmp_path}/none.csv: No such file or directory."
