"""What is no text is refused in one sentence, before any model sees it."""

import pytest

from moeviz.trace import MoevizError
from moeviz.ui.examples import EXAMPLES
from moeviz.ui.session import check_text, text_note


def sentence(text: str) -> str:
    with pytest.raises(MoevizError) as caught:
        check_text(text)
    return str(caught.value)


@pytest.mark.parametrize("text", ["", "   ", "\n\t\n"])
def test_nothing(text):
    assert sentence(text) == "There is no text yet. Type or paste some, or pick an example."


def test_binary_data():
    assert sentence("\x00\x01\x02\x7fELF\x03") == (
        "This looks like binary data rather than text: 5 of 8 characters are control codes. "
        "Paste text instead."
    )


def test_broken_characters_are_pointed_out():
    assert text_note("a whole text") == ""
    assert text_note("half \ufffd of it") == (
        "The text holds 1 replacement sign (\ufffd): something in it was broken before it was "
        "read, such as half a character or a wrong encoding."
    )


def test_far_too_much():
    assert sentence("a" * 2_000_001) == (
        "The text has 2,000,001 characters; paste at most 2,000,000 at a time."
    )


def test_real_texts_pass():
    rare = ["x", "tabs\tand\r\nlines\f", "👩‍👩‍👧", "one \x1b[0m code is no harm"]
    for text in [*EXAMPLES.values(), *rare]:
        check_text(text)


def test_there_are_examples_of_many_scripts_and_kinds():
    assert len(EXAMPLES) >= 10
    assert len(set(EXAMPLES.values())) == len(EXAMPLES)
