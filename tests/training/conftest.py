"""A corpus of a few made-up documents, tokenised; nothing outside the test folder is read."""

import json
import lzma
import random

import pytest

from moeviz.training.data import build_shards

WORDS = {
    ("en", "tales"): ["the", "cat", "sat", "on", "a", "mat", "and", "saw", "one", "dog", "run"],
    ("de", "tales"): ["die", "Katze", "saß", "auf", "der", "Matte", "und", "sah", "den", "Hund"],
    ("code", "python"): ["def", "f(x):", "return", "x", "+", "1", "if", "y", "for", "z", "in"],
}


def made_up(language, domain, words):
    rng = random.Random(language + domain)
    return [
        {
            "text": " ".join(rng.choices(WORDS[language, domain], k=words)),
            "language": language,
            "domain": domain,
            "source": "made up",
        }
        for _ in range(20)
    ]


@pytest.fixture(scope="session")
def corpus(tmp_path_factory):
    """A folder in the format of the training corpus."""
    folder = tmp_path_factory.mktemp("corpus")
    rows = [row for group in WORDS for row in made_up(*group, words=120)]
    lines = "\n".join(json.dumps(row, ensure_ascii=False) for row in rows)
    (folder / "train-1.jsonl").write_text(lines, encoding="utf-8")
    with lzma.open(folder / "validation.jsonl.xz", "wt", encoding="utf-8") as file:
        file.write(lines)
    return folder


@pytest.fixture(scope="session")
def shards(corpus, tmp_path_factory):
    """The corpus as token shards, vocabulary of 300."""
    return build_shards(corpus, tmp_path_factory.mktemp("shards"), vocab_size=300)
