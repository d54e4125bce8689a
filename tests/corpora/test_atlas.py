"""The bundled passages: balanced, labelled, attributed, and made by the function that says so."""

import json
import lzma
from collections import Counter, defaultdict

import numpy as np
import pytest

from moeviz.corpora.atlas import LANGUAGES, load_atlas
from moeviz.corpora.corpus import Corpus, CorpusError
from moeviz.corpora.make_atlas import LEAST, PER_GROUP, cut, main, make_passages


@pytest.fixture(scope="module")
def atlas():
    return load_atlas()


def test_it_has_many_languages_and_domains_in_even_parts(atlas):
    languages, domains = atlas.labels["language"], atlas.labels["domain"]
    assert set(languages) == set(LANGUAGES)
    assert len(set(languages)) == 20
    assert len(set(domains)) == 33
    groups = Counter(zip(languages, domains, strict=True))
    assert max(groups.values()) == PER_GROUP
    assert min(Counter(domains).values()) >= 40
    assert min(Counter(languages).values()) >= 60


def test_translations_say_the_same_in_at_least_ten_languages(atlas):
    spoken = defaultdict(set)
    for passage in atlas:
        if passage.parallel:
            assert passage.language not in spoken[passage.parallel]
            spoken[passage.parallel].add(passage.language)
    assert len(spoken) == 28
    assert min(map(len, spoken.values())) >= 10
    nineteen = [name for name, languages in spoken.items() if len(languages) == 19]
    assert len(nineteen) == 22
    pelosi = [p for p in atlas if p.parallel == "ntrex:117:0/0"]
    assert len(pelosi) == 19
    named = [p for p in pelosi if "Nancy Pelosi" in p.text]
    assert {p.language for p in named} >= {"de", "en", "es", "fi", "fr", "it", "nl", "pl", "pt"}


def test_every_source_is_attributed(atlas):
    named = {source.name: source for source in atlas.sources}
    assert set(named) == set(atlas.labels["source"])
    for source in atlas.sources:
        assert source.licence
        assert source.attribution
        assert not source.licence.startswith(("CC-BY-NC", "CC BY-NC", "GPL"))
    assert named["ntrex-128"].licence == "CC-BY-SA-4.0"


def test_no_document_lies_in_two_families(atlas):
    families = defaultdict(set)
    for document, family in zip(atlas.documents, atlas.families, strict=True):
        families[document].add(family)
    assert all(len(found) == 1 for found in families.values())


def test_the_command_makes_it_again(tmp_path):
    documents = [
        {"text": f"{word} " * 200, "language": language, "domain": "d", "source": "s"}
        for word, language in (("tree", "en"), ("Baum", "de"))
    ]
    packed = lzma.compress("".join(json.dumps(row) + "\n" for row in documents).encode())
    (tmp_path / "validation.jsonl.xz").write_bytes(packed)
    facts = {"title": "T", "origin": "O", "licence": "CC0-1.0", "attribution": "A"}
    (tmp_path / "manifest.json").write_text(json.dumps({"sources": {"s": facts}}))
    main(["--corpus", str(tmp_path), "--out", str(tmp_path)])
    with lzma.open(tmp_path / "atlas.jsonl.xz", "rt") as lines:
        rows = [json.loads(line) for line in lines]
    assert rows == make_passages(documents)
    assert [row["language"] for row in rows] == ["de", "de", "en", "en"]
    assert "| s | T | O | CC0-1.0 | A | 4 |" in (tmp_path / "ATLAS.md").read_text()


def test_translations_are_cut_at_the_same_lines():
    lines = {"en": "a", "de": "bb", **{f"x{i}": "c" for i in range(8)}}
    documents = [
        {"text": "\n".join([letter * 200] * 5), "language": language, "domain": "news",
         "source": "s", "parallel": "talk"}
        for language, letter in lines.items()
    ]  # fmt: skip
    rows = make_passages(documents)
    assert Counter(row["parallel"] for row in rows) == {"talk/0": 10, "talk/1": 10}
    english = [row["text"] for row in rows if row["language"] == "en"]
    german = [row["text"] for row in rows if row["language"] == "de"]
    assert english == ["\n".join(["a" * 200] * 2)] * 2
    assert german == ["\n".join(["bb" * 200] * 2)] * 2


def test_cuts_fall_behind_sentences_and_leave_no_short_rest():
    text = "One sentence of a few words. " * 30
    pieces = cut(text)
    assert all(piece.endswith("words.") for piece in pieces)
    assert min(len(piece.encode()) for piece in pieces) >= LEAST


def test_a_corpus_reads_as_a_list_of_passages(atlas):
    first, second = atlas[0:2]
    assert atlas[0] == first
    assert (first.language, first.source) == ("ar", "ntrex-128")
    assert second.text == atlas.texts[1]
    kept = atlas.where(atlas.labels["language"] == "el")
    assert set(kept.labels["language"]) == {"el"}
    assert kept[0].text == atlas[int(np.flatnonzero(atlas.labels["language"] == "el")[0])].text


def test_the_key_follows_the_content():
    one = Corpus("a", ("x", "y"), {"language": ["en", "de"]})
    assert one.key == Corpus("a", ("x", "y"), {"language": ["en", "de"]}).key
    assert one.key != Corpus("a", ("x", "y"), {"language": ["en", "fr"]}).key
    assert one.key != Corpus("a", ("xy", "y"), {"language": ["en", "de"]}).key


@pytest.mark.parametrize(
    ("texts", "labels", "sentence"),
    [
        ((), {}, "mine holds no text."),
        (("a", " \n"), {}, "Text 2 of mine is empty. Leave it out."),
        (("a", "b"), {"language": ["en"]}, "language has 1 entries for 2 texts."),
    ],
)
def test_what_does_not_fit_is_refused(texts, labels, sentence):
    with pytest.raises(CorpusError) as refused:
        Corpus("mine", texts, labels)
    assert str(refused.value) == sentence
