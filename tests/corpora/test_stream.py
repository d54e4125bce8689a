"""Files read block by block: the same passages as in one go, in memory that does not grow."""

import json
import tracemalloc

import pandas as pd
import pytest

from moeviz.corpora.atlas import load_atlas
from moeviz.corpora.corpus import CorpusError
from moeviz.corpora.read import load_corpus
from moeviz.corpora.stream import InMemory, survey, text_files

ROWS = [
    {
        "text": "" if number in (4, 5, 16) else f"passage {number}",
        "language": "en" if number % 3 else "fr",
        "document": "one" if number < 3 else "",
        "parallel": f"p{number % 2}" if number > 12 else "",
    }
    for number in range(17)
]


def written(folder, name):
    path = folder / name
    if name.endswith(".csv"):
        pd.DataFrame(ROWS).to_csv(path, index=False)
    elif name.endswith(".parquet"):
        pd.DataFrame(ROWS).to_parquet(path, row_group_size=5)
    elif name.endswith(".jsonl"):
        path.write_text("\n".join(map(json.dumps, ROWS)))
    else:
        path.write_text("\n\n".join(row["text"] for row in ROWS if row["text"]))
    return str(path)


@pytest.mark.parametrize("name", ["a.csv", "a.jsonl", "a.parquet", "a.txt"])
@pytest.mark.parametrize("size", [1, 4, 14, 512])
def test_blocks_hold_what_the_whole_file_holds(tmp_path, name, size):
    path = written(tmp_path, name)
    whole = load_corpus(path)
    stream = text_files(path, size=size)
    blocks = [block.corpus for block in stream.blocks()]
    assert [len(block) for block in blocks[:-1]] == [size] * (len(blocks) - 1)
    assert tuple(text for block in blocks for text in block.texts) == whole.texts
    contents = survey(stream)
    assert contents.keys == tuple(block.key for block in blocks)
    assert list(contents.labels) == list(whole.labels)
    for mine, theirs in (
        *((contents.labels[label], whole.labels[label]) for label in whole.labels),
        (contents.documents, whole.documents),
        (contents.families, whole.families),
        (contents.parallel, whole.parallel),
    ):
        assert mine.tolist() == theirs.tolist()
    assert contents.notes == whole.notes
    assert contents.rows(0) == slice(0, min(size, 14))


def test_a_folder_and_a_pattern_are_read_in_order_of_names(tmp_path):
    (tmp_path / "deep").mkdir()
    for name in ("b.txt", "a.txt", "deep/c.txt"):
        (tmp_path / name).write_text(f"first of {name}\n\nsecond of {name}")
    (tmp_path / "notes.md").write_text("not read")
    everything = survey(text_files(str(tmp_path), size=4))
    assert everything.sizes.tolist() == [4, 2]
    assert everything.documents.tolist() == [f"row {number}" for number in range(6)]
    blocks = text_files(str(tmp_path / "*.txt")).blocks()
    assert [text for block in blocks for text in block.corpus.texts] == [
        "first of a.txt", "second of a.txt", "first of b.txt", "second of b.txt",
    ]  # fmt: skip


def test_a_run_may_stop_early_and_says_so(tmp_path):
    stream = text_files(written(tmp_path, "a.csv"), size=4, most=6)
    assert [len(block.corpus) for block in stream.blocks()] == [4, 2]
    assert survey(stream).notes[-1] == "Of a.csv no more than 6 passages were asked for."
    atlas = InMemory(load_atlas(), size=100, most=150)
    assert [len(block.corpus) for block in atlas.blocks()] == [100, 50]


def test_any_number_of_rows_is_read(tmp_path):
    (tmp_path / "a.txt").write_text("\n\n".join(map(str, range(20_050))))
    assert len(survey(text_files(str(tmp_path / "a.txt")))) == 20_050


@pytest.mark.parametrize("name", ["a.csv", "a.jsonl", "a.parquet", "a.txt"])
def test_memory_does_not_grow_with_the_file(tmp_path, name):
    peaks = []
    for rows_written in (600, 4_800):
        table = pd.DataFrame({"text": [f"{number} " + "x" * 500 for number in range(rows_written)]})
        path = tmp_path / name
        if name.endswith(".csv"):
            table.to_csv(path, index=False)
        elif name.endswith(".parquet"):
            table.to_parquet(path, row_group_size=300)
        elif name.endswith(".jsonl"):
            path.write_text("\n".join(json.dumps({"text": text}) for text in table["text"]))
        else:
            path.write_text("\n\n".join(table["text"]))
        stream = text_files(str(path), size=60)
        tracemalloc.start()
        assert sum(len(block.corpus) for block in stream.blocks()) == rows_written
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < 1.5 * peaks[0] + 200_000  # the larger file has 2,100,000 bytes more


def test_broken_text_is_found_wherever_it_stands(tmp_path):
    for name, head in (("a.jsonl", '{"text": "a"}\n'), ("a.txt", "a\n\n"), ("a.csv", "text\n")):
        data = head.encode() + (b"x" * 700 + b"\n\n") * 2_000 + b"Gr\xfc\xdfe"
        if name == "a.jsonl":
            data = head.encode() * 8_000 + b"Gr\xfc\xdfe"
        (tmp_path / name).write_bytes(data)
        with pytest.raises(CorpusError) as refused:
            survey(text_files(str(tmp_path / name)))
        at = data.index(b"\xfc")
        assert str(refused.value) == (
            f"{name} is not UTF-8 text: byte {at:,} is 0xfc. Save it as UTF-8."
        )


def test_a_long_paragraph_is_cut_and_that_is_said(tmp_path):
    long = "x" * 20_001  # a line that ends where a reading ends
    (tmp_path / "a.txt").write_text(f"{long}\nmore\n\n{'y' * 50_000}\n\nshort")
    (block,) = text_files(str(tmp_path / "a.txt")).blocks()
    assert block.corpus.texts == ("x" * 20_000, "y" * 20_000, "short")
    assert block.cut == 2


def test_a_column_of_programs_objects_is_refused(tmp_path):
    import pyarrow as pa
    from pyarrow import parquet

    class Objects(pa.ExtensionType):  # as Ray Data registers one whose values are unpickled
        def __init__(self):
            super().__init__(pa.binary(), "test.objects")

        def __arrow_ext_serialize__(self):
            return b""

        @classmethod
        def __arrow_ext_deserialize__(cls, storage, data):
            return cls()

    values = pa.ExtensionArray.from_storage(Objects(), pa.array([b"a"], pa.binary()))
    pa.register_extension_type(Objects())
    try:
        parquet.write_table(pa.table({"text": values, "good": ["a"]}), tmp_path / "a.parquet")
        with pytest.raises(CorpusError) as refused:
            survey(text_files(str(tmp_path / "a.parquet")))
        assert len(survey(text_files(str(tmp_path / "a.parquet"), "good", []))) == 1
    finally:
        pa.unregister_extension_type("test.objects")
    assert str(refused.value) == (
        "Column 'text' of a.parquet holds a program's objects, not text. Save it as text."
    )


def test_cells_that_are_no_text_read_alike_in_every_block(tmp_path):
    table = pd.DataFrame({"text": list("abcd"), "n": pd.array([1, 2, None, 3], "Int64")})
    table.to_parquet(tmp_path / "a.parquet")
    labels = survey(text_files(str(tmp_path / "a.parquet"), labels=["n"], size=2)).labels
    assert labels["n"].tolist() == ["1", "2", "", "3"]


@pytest.mark.parametrize(
    ("name", "data", "sentence"),
    [
        ("a.csv", "text\n", "a.csv has no rows."),
        ("a.csv", "text,b\n ,1\n", "a.csv has no row with text in column 'text'."),
        ("a.csv", "body\nx\n", "a.csv has no column 'text'; it has 'body'."),
        ("a.csv", "text,language\n" + "".join(f"x,{n}\n" for n in range(101)),
         "Column 'language' of a.csv has more than 100 different values, which is the most a label "
         "has. Choose another column."),
        ("a.md", "x", "a.md is not a file that can be read: give .csv, .tsv, .jsonl, .parquet or "
                      ".txt."),
    ],
)  # fmt: skip
def test_bad_files_get_one_sentence(tmp_path, name, data, sentence):
    (tmp_path / name).write_text(data)
    with pytest.raises(CorpusError) as refused:
        survey(text_files(str(tmp_path / name)))
    assert str(refused.value) == sentence


def test_nothing_to_read_is_said(tmp_path):
    with pytest.raises(CorpusError) as refused:
        text_files(str(tmp_path))
    assert str(refused.value) == (
        f"{tmp_path} holds no file that can be read: .csv, .tsv, .jsonl, .parquet, .txt."
    )
    with pytest.raises(CorpusError) as refused:
        InMemory(load_atlas(), size=0)
    assert str(refused.value) == "A block has at least 1 passage, not 0."
