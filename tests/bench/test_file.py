"""The benchmark of trace files opens what it says, on a file small enough for a test."""

import re

from moeviz.bench.file import file_speed


def test_it_tells_bytes_a_slot_and_compares_with_reading_the_file():
    opening, against_bytes, *looks = file_speed(tokens=40_000, layers=2, rounds=3)
    found = re.fullmatch(
        r"open 40,000 tokens x 2 layers x top-8, (\d\.\d\d) bytes a slot in all", opening.what
    )
    assert 3.0 < float(found[1]) < 5.0, "3 bytes a slot, and the tokens' own columns"
    assert (opening.against, opening.limit, opening.rounds) == ("200 ms", 1.0, 3)
    assert against_bytes.against == "reading its bytes"
    assert [look.what for look in looks] == ["open, look at one token", "open, look at one layer"]
