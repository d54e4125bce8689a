"""The demo model's own record of its training, read without torch, against its tokenizer."""

import numpy as np
import pytest
from tokenizers import Tokenizer

from moeviz.metrics.difference import saturation
from moeviz.store.emergence import DEMO, open_emergence
from moeviz.trace import TraceError


@pytest.fixture(scope="module")
def record():
    return open_emergence()


def test_the_passages_read_as_the_tokenizer_reads_them(record):
    tokenizer = Tokenizer.from_file(str(DEMO.parent / "tokenizer.json"))
    whole = 0
    for place, ids in enumerate(record.ids):
        tokens = record.tokens(np.array([place]))
        assert tokens.ids.tolist() == ids[1:].tolist()
        if "\ufffd" not in tokens.source:  # some end within a character
            again = tokenizer.encode(tokens.source, add_special_tokens=False)
            assert again.ids == tokens.ids.tolist()
            assert [list(span) for span in again.offsets] == tokens.spans.tolist()
            whole += 1
    assert whole >= len(record.ids) - 6


def test_several_passages_stand_on_lines_of_their_own(record):
    places = record.passages("fr")
    assert {record.languages[p] for p in places} == {"fr"}
    tokens = record.tokens(places)
    first = record.tokens(places[1:2])
    at = len(record.tokens(places[:1]).source) + 1
    assert tokens.source[at : at + len(first.source)] == first.source
    assert tokens[47].text == first[0].text
    assert tokens.spans[47].tolist() == [first[0].span[0] + at, first[0].span[1] + at]


def test_choices_belong_to_their_tokens(record):
    places = record.passages("en")[[2, 5]]
    choices = record.choices(places)
    assert choices.shape == (10, 6, 2 * 47, 2)
    assert (choices[3, 4, 47 + 6] == record.experts[3, 4, places[1], 7]).all()
    assert len(record.tokens(places)) == choices.shape[2]


def test_routing_settles_as_training_goes_on(record):
    settled = saturation(record.choices(record.passages()))
    assert (settled[-1] == 1).all()
    assert (np.diff(settled[3:].mean(axis=1)) > 0).all()
    assert record.seen[0] == 0
    chance = record.router.chosen / record.router.experts
    assert settled[:3] == pytest.approx(np.full((3, 6), chance), abs=0.06)


def test_another_file_is_refused_in_one_sentence(tmp_path):
    path = tmp_path / "notes.txt"
    path.write_text("hello")
    with pytest.raises(TraceError, match=r"notes\.txt is not a record of a training run"):
        open_emergence(path)
