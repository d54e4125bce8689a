"""Every character of a text is shown once, whatever the tokenizer did to it."""

import numpy as np
import pytest

from moeviz.charts.units import Unit, text_units, unit_of_token
from moeviz.trace import Tokens


def tokens(text, spans, special=(), vocabulary=None):
    count = len(spans)
    return Tokens(
        source=text,
        ids=np.arange(count),
        spans=np.array(spans, np.int32).reshape(count, 2),
        special=np.isin(np.arange(count), special),
        generated=np.zeros(count, bool),
        vocabulary=vocabulary or {},
    )


def test_plain_tokens_are_units():
    units = text_units(tokens("ab c", [(0, 2), (2, 4)]))
    assert units == (Unit("ab", 0, 1), Unit(" c", 1, 1))


def test_byte_pieces_of_one_character_are_one_unit():
    units = text_units(tokens("a☃b", [(0, 1), (1, 2), (1, 2), (1, 2), (2, 3)]))
    assert units == (Unit("a", 0, 1), Unit("☃", 1, 3), Unit("b", 4, 1))
    assert unit_of_token(units, 5).tolist() == [0, 1, 1, 1, 2]


def test_a_token_across_two_characters_joins_them():
    units = text_units(tokens("☃☄", [(0, 1), (0, 2), (1, 2)]))
    assert units == (Unit("☃☄", 0, 3),)


def test_text_between_tokens_is_kept_without_one():
    units = text_units(tokens("a b", [(0, 1), (2, 3)]))
    assert units == (Unit("a", 0, 1), Unit(" ", 1, 0), Unit("b", 1, 1))


def test_special_tokens_show_their_spelling():
    units = text_units(tokens("a", [(-1, -1), (0, 1)], special=[0], vocabulary={0: "<s>"}))
    assert units == (Unit("<s>", 0, 1, special=True), Unit("a", 1, 1))


@pytest.mark.parametrize("text", ["", "plain", "中文 and العربية", "a\n\tb", "👩‍👩‍👧"])
def test_units_spell_the_text(text):
    spans = [(i, i + 1) for i in range(len(text))]
    assert "".join(u.text for u in text_units(tokens(text, spans))) == text
