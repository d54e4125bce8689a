"""A corpus counted block by block in one process: the same as in one go, and nothing twice."""

import dataclasses

import numpy as np
import pytest
import tiny
from safetensors.numpy import load
from same_counts import same_counts

from moeviz.corpora.corpus import Corpus, CorpusError
from moeviz.corpora.parts import PartFolder, read_part
from moeviz.corpora.stream import InMemory, survey
from moeviz.engines import blocks, tally
from moeviz.engines.blocks import LocalEngine, Settings, identity, route_blocks
from moeviz.engines.local import CorpusCancelled, label_words, route_corpus, route_written
from moeviz.models import adopt

TEXTS = tuple(f"le routeur choisit {number} experts" for number in range(10))
CORPUS = Corpus("ten", TEXTS, {"language": ["fr", ""] * 5, "part": list("aaaabbbbbc")})


@pytest.fixture(scope="module")
def model():
    return adopt(tiny.olmoe(), tiny.tokenizer(), "tiny")


@pytest.fixture(scope="module")
def engine(model):
    return LocalEngine(model)


@pytest.mark.parametrize("cells", [tally.MOST_CELLS, 0])
def test_blocks_add_up_to_the_whole(model, engine, monkeypatch, cells):
    monkeypatch.setattr(tally, "MOST_CELLS", cells)  # 0: words in a sparse table
    whole = route_corpus(model, CORPUS)
    run = route_blocks(InMemory(CORPUS, size=3), engine, Settings())
    assert same_counts(run.routing, whole)
    assert np.allclose(run.routing.gates, whole.gates, atol=1e-5)
    words = label_words(model, CORPUS, ["language", "part"])
    assert all((run.words[label] == words[label]).all() for label in ("language", "part"))
    for name in ("model", "corpus", "weights", "layers", "phase", "pieces", "notes", "sources"):
        assert getattr(run.routing, name) == getattr(whole, name)
    assert run.routing.labels["part"].tolist() == list("aaaabbbbbc")
    assert (run.failed, run.found, run.again) == ((), 0, 0)


def test_what_the_model_writes_comes_in_blocks_too(model, engine):
    whole = route_written(model, CORPUS, new_tokens=2, max_tokens=5)
    run = route_blocks(InMemory(CORPUS, size=4), engine, Settings(5, new_tokens=2))
    assert run.routing.phase == "decode"
    assert same_counts(run.routing, whole)
    assert run.routing.notes == whole.notes
    assert run.words == {}


def test_finished_blocks_are_not_counted_again(engine, tmp_path):
    stream, folder = InMemory(CORPUS, size=3), PartFolder(tmp_path)
    whole = route_blocks(stream, engine, Settings())

    def stop(done, total):
        if done > 6:
            raise CorpusCancelled("Enough.")

    with pytest.raises(CorpusCancelled):
        route_blocks(stream, engine, Settings(), folder, stop)
    first = sorted(tmp_path.iterdir())
    assert len(first) == 2
    assert {file.suffix for file in first} == {".safetensors"}
    told = []
    run = route_blocks(
        stream, engine, Settings(), folder, lambda done, total: told.append((done, total))
    )
    assert run.found == 2
    assert told[0][0] > 6
    assert told[-1] == (10, 10)
    assert same_counts(run.routing, whole.routing)
    assert (run.routing.gates == whole.routing.gates).all()
    assert route_blocks(stream, engine, Settings(), folder).found == 4


def test_other_settings_model_or_text_are_other_parts(engine, tmp_path):
    stream, folder = InMemory(CORPUS, size=5), PartFolder(tmp_path)
    route_blocks(stream, engine, Settings(), folder)
    assert route_blocks(stream, engine, Settings(max_tokens=6), folder).found == 0
    other = LocalEngine(adopt(tiny.olmoe(num_experts_per_tok=3), tiny.tokenizer(), "tiny"))
    assert route_blocks(stream, other, Settings(), folder).found == 0
    changed = dataclasses.replace(CORPUS, texts=(*TEXTS[:9], "another"))
    assert route_blocks(InMemory(changed, size=5), engine, Settings(), folder).found == 1
    relabelled = dataclasses.replace(CORPUS, labels={"part": list("aaaabcccbc")})
    assert route_blocks(InMemory(relabelled, size=5), engine, Settings(), folder).found == 0


def test_a_name_is_no_part_of_a_models_key(model):
    renamed = dataclasses.replace(model, name="elsewhere/tiny")
    assert LocalEngine(renamed).key() == LocalEngine(model).key()
    assert LocalEngine(dataclasses.replace(model, dtype="bfloat16")).key() != (
        LocalEngine(model).key()
    )


def test_a_damaged_part_is_counted_again(engine, tmp_path):
    stream, folder = InMemory(CORPUS, size=5), PartFolder(tmp_path)
    route_blocks(stream, engine, Settings(), folder)
    one, other = sorted(tmp_path.iterdir())
    data = one.read_bytes()
    for damaged in (b"", data[:100], data[: len(data) // 2], other.read_bytes()):
        one.write_bytes(damaged)
        assert route_blocks(stream, engine, Settings(), folder).found == 1
        assert one.read_bytes() == data


def test_a_part_is_a_safetensors_file_without_text(engine, tmp_path):
    route_blocks(InMemory(CORPUS, size=10), engine, Settings(), PartFolder(tmp_path))
    (file,) = tmp_path.iterdir()
    assert load(file.read_bytes())["counts"].shape == (10, 3, 8)
    assert b"le routeur choisit" not in file.read_bytes()
    key = survey(InMemory(CORPUS, size=10)).keys[0]
    settings = Settings(labels=("language", "part"))
    assert (
        file.stem == identity(engine.key(), settings, key) == read_part(file.read_bytes()).identity
    )


def test_counts_that_do_not_fit_are_refused_with_what_would(engine, monkeypatch):
    from moeviz.models import plan

    monkeypatch.setattr(blocks, "SMALL", 0)
    monkeypatch.setattr(plan, "free_memory", lambda device: 2 * 12 * 3 * 8 * 7)
    with pytest.raises(CorpusError) as refused:
        route_blocks(InMemory(CORPUS), engine, Settings())
    assert str(refused.value) == (
        "The counts of 10 passages take 0.0 MB, and half of what this machine has free is 0.0 MB. "
        "Read at most 7 passages."
    )


def test_a_file_that_changes_on_the_way_is_noticed(engine, tmp_path):
    from moeviz.corpora.stream import text_files

    (tmp_path / "a.txt").write_text("one\n\ntwo")
    stream = text_files(str(tmp_path / "a.txt"), size=1)
    contents = survey(stream)
    (tmp_path / "a.txt").write_text("one\n\nthree")
    with pytest.raises(CorpusError) as refused:
        route_blocks(stream, engine, Settings(), contents=contents)
    assert str(refused.value) == "a.txt was changed while it was read. Start again."


def test_an_unknown_label_is_refused(engine):
    with pytest.raises(CorpusError) as refused:
        route_blocks(InMemory(CORPUS), engine, Settings(labels=("topic",)))
    assert str(refused.value) == "ten has no label 'topic'; it has language, part."
