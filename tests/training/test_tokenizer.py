"""The tokenizer takes any text apart and puts it together again."""

import random

import pytest

from moeviz.training.tokenizer import END_OF_TEXT, as_transformers, train_tokenizer

HARD = [
    "",
    " two  spaces, then a tab\tand lines\r\n\n  end ",
    "नमस्ते दुनिया",
    "مرحبا بالعالم",
    "中文和日本語、한국어",
    "👩‍👩‍👧‍👦 family, e\u0301 accent, \u202eright to left",
    "def f(x):\n        return x ** 2  # 12345",
    "\x00\x01\x7f\u0085\ufeff\U0010ffff",
]


@pytest.mark.parametrize("text", HARD)
def test_text_survives(shards, text):
    encoding = shards.tokenizer.encode(text)
    assert shards.tokenizer.decode(encoding.ids, skip_special_tokens=True) == text


def test_random_characters_survive(shards):
    rng = random.Random(0)
    for _ in range(50):
        codes = [rng.randrange(0x110000) for _ in range(30)]
        text = "".join(chr(c) for c in codes if not 0xD800 <= c < 0xE000)
        ids = shards.tokenizer.encode(text).ids
        assert shards.tokenizer.decode(ids, skip_special_tokens=True) == text


@pytest.mark.parametrize("text", HARD)
def test_offsets_cover_every_character_in_order(shards, text):
    offsets = shards.tokenizer.encode(text).offsets[1:]
    covered = 0
    for start, end in offsets:
        assert start <= covered <= end  # pieces of one character share its span
        covered = end
    assert covered == len(text)


def test_every_text_starts_with_end_of_text(shards):
    tokenizer = as_transformers(shards.tokenizer, longest=128)
    assert tokenizer("cat").input_ids[0] == tokenizer.bos_token_id == 0
    assert tokenizer("cat", add_special_tokens=False).input_ids[0] != 0
    assert tokenizer.decode([0]) == END_OF_TEXT


def test_digits_stand_alone_however_frequent():
    tokenizer = train_tokenizer(["1234 abcd"] * 50, vocab_size=300)
    assert tokenizer.encode("1234 abcd").tokens[1:] == ["1", "2", "3", "4", "Ġabcd"]
