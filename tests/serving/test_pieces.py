"""Tokens placed in their text, for decoders of several habits."""

import pytest

from moeviz.serving.pieces import place_tokens


def spans(pieces, text):
    tokens = place_tokens(range(len(pieces)), pieces, text, len(pieces), len(pieces))
    return [tuple(span) for span in tokens.spans.tolist()], tokens.special.tolist()


@pytest.mark.parametrize(
    ("pieces", "text", "wanted"),
    [
        (["a", " b", "c"], "a bc", [(0, 1), (1, 3), (3, 4)]),
        (["<s>", "a"], "a", [(-1, -1), (0, 1)]),
        (["", "a", "</s>"], "a", [(-1, -1), (0, 1), (-1, -1)]),
        (["a", "\ufffd", "\ufffd", "b"], "aéb", [(0, 1), (1, 2), (1, 2), (2, 3)]),
        (["", "", "é", "b"], "éb", [(0, 1), (0, 1), (0, 1), (1, 2)]),
        (["\ufffd", "\ufffd"], "é", [(0, 1), (0, 1)]),
        (["\ufffd", "a"], "\ufffda", [(0, 1), (1, 2)]),
        (["Hello", "world"], "Hello world", [(0, 5), (5, 11)]),  # a decoder that drops spaces
        (["hello", "WORLD"], "Hello World", [(-1, -1), (-1, -1)]),  # a tokenizer that folds case
        (["a", "b"], "a c b", [(-1, -1), (-1, -1)]),
        (["a"], "ab", [(-1, -1)]),
    ],
)
def test_where_pieces_stand(pieces, text, wanted):
    found, special = spans(pieces, text)
    assert found == wanted
    placed = any(span[0] >= 0 for span in wanted)
    assert special == [placed and span[0] < 0 for span in wanted]


def test_a_token_without_a_place_shows_its_piece():
    tokens = place_tokens([5, 6], ["hello", "WORLD"], "Hello World", 2, 2)
    assert tokens.texts == ["hello", "WORLD"]


def test_what_has_no_row_is_left_out_with_its_text():
    tokens = place_tokens([5, 6, 7], ["a", "b", "c"], "abc", prompt=1, covered=2)
    assert (tokens.source, tokens.texts, tokens.generated.tolist()) == (
        "ab", ["a", "b"], [False, True],
    )  # fmt: skip
    assert tokens.vocabulary == {5: "a", 6: "b"}
