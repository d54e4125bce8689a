"""The words of the demo model's passages, read without torch, against its tokenizer."""

import numpy as np
import pytest
from tokenizers import Tokenizer

from moeviz.corpora.emergence import FILE, load_emergence
from moeviz.corpora.passages import _ids, passage_choices, passage_tokens, passages_in


def test_the_passages_read_as_the_tokenizer_reads_them():
    tokenizer = Tokenizer.from_file(str(FILE.parent / "tokenizer.json"))
    whole = 0
    for place in passages_in():
        tokens = passage_tokens(np.array([place]))
        assert tokens.ids.tolist() == _ids()[place, 1:].tolist()
        if "\ufffd" not in tokens.source:  # some end within a character
            again = tokenizer.encode(tokens.source, add_special_tokens=False)
            assert again.ids == tokens.ids.tolist()
            assert [list(span) for span in again.offsets] == tokens.spans.tolist()
            whole += 1
    assert whole >= len(passages_in()) - 6


def test_several_passages_stand_on_lines_of_their_own():
    places = passages_in("fr")
    assert set(load_emergence().labels["language"][places]) == {"fr"}
    tokens, first = passage_tokens(places), passage_tokens(places[1:2])
    at = len(passage_tokens(places[:1]).source) + 1
    assert tokens.source[at : at + len(first.source)] == first.source
    assert tokens[47].text == first[0].text
    assert tokens.spans[47].tolist() == [first[0].span[0] + at, first[0].span[1] + at]


def test_choices_belong_to_their_tokens():
    places, experts = passages_in("en")[[2, 5]], load_emergence().experts
    choices = passage_choices(places)
    assert choices.shape == (10, 6, 2 * 47, 2)
    assert (choices[3, 4, 47 + 6] == experts[3, 4, places[1], 7]).all()
    assert len(passage_tokens(places)) == choices.shape[2]


@pytest.mark.parametrize("language", ["", "klingon"])
def test_without_a_language_all_passages_are_meant(language):
    assert passages_in(language).tolist() == list(range(119))
