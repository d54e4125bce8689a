"""What the pictures of two runs hold, and the sentences beside them."""

import dataclasses

import numpy as np
import pytest
from handmade import make_trace

from moeviz.charts import compare_words as words
from moeviz.charts.compare import (
    ALL,
    SAME,
    SOME,
    change_grid,
    expert_bars,
    kept_bars,
    twin_strip,
)
from moeviz.charts.picture import MISSING
from moeviz.metrics.difference import difference
from moeviz.metrics.runs import run_of
from moeviz.trace import Provenance

LABELS = ["0", "1"]


@pytest.fixture
def pair():
    """Five tokens a b c d e; in layer 0 the second run keeps a, half of b, nothing of c."""
    a = make_trace([[[0, 1], [0, 1], [0, 1], [2, 3], [2, 3]], [[0, 1]] * 5], text="abcde")
    b = make_trace([[[1, 0], [0, 2], [2, 3], [2, 3], [2, 3]], [[0, 1]] * 5], text="abcde")
    spelled = dict(b.tokens.vocabulary) | {7: "x"}
    ids = np.array([0, 1, 2, 7, 4])  # the fourth token is another one
    tokens = dataclasses.replace(b.tokens, source="abcxe", ids=ids, vocabulary=spelled)
    return run_of(a, "one"), run_of(dataclasses.replace(b, tokens=tokens), "two")


def test_strips_mark_what_became_of_twins(pair):
    a, b = pair
    found = difference(a, b)
    picture = twin_strip(a, b, found, 0, "A", "change")
    assert picture.arrays["fate"].tolist() == [SAME, SOME, ALL, SAME, SAME]
    shades = picture.arrays["shade"].tolist()
    assert shades[3] == 255  # only here: no colour
    assert len({*shades}) == 4
    assert picture.arrays["twin"].tolist() == [0, 1, 2, -1, 4]
    assert picture.arrays["mate"][2].tolist() == [2, 3]
    other = twin_strip(b, a, found, 0, "B", "change")
    assert other.arrays["mate"][2].tolist() == [0, 1]
    assert other.meta["title"] == "B: two"
    assert "4 of 5 tokens are on both sides" in other.meta["read"]


def test_twins_of_side_b_are_numbered_as_on_side_a():
    one, two = make_trace([[[0]] * 3], text="abc"), make_trace([[[0]] * 3], text="abc")
    moved = dataclasses.replace(
        two.tokens, source="xab", ids=np.array([9, 0, 1]), vocabulary={9: "x", 0: "a", 1: "b"}
    )
    a, b = run_of(one), run_of(dataclasses.replace(two, tokens=moved))
    found = difference(a, b)
    assert twin_strip(a, b, found, 0, "A", "change").arrays["twin"].tolist() == [0, 1, -1]
    assert twin_strip(b, a, found, 0, "B", "change").arrays["twin"].tolist() == [-1, 0, 1]


def test_texts_coloured_by_expert_share_one_palette(pair):
    a, b = pair
    found = difference(a, b)
    strips = [twin_strip(x, y, found, 0, s, "expert") for x, y, s in ((a, b, "A"), (b, a, "B"))]
    assert strips[0].arrays["shade"].tolist() == [0, 0, 0, 2, 2]
    assert strips[1].arrays["shade"].tolist() == [1, 0, 2, 2, 2]
    assert [chip["expert"] for chip in strips[1].meta["chips"]] == [2, 0, 1]
    unlinked = difference(a, b, linked=False)
    assert twin_strip(a, b, unlinked, 0, "A", "change").meta["kind"] == "expert"


def test_the_grid_of_changes_is_neutral_at_zero_and_marks_chance(pair):
    a, b = pair
    found = difference(a, b)
    picture = change_grid(a, b, found, LABELS)
    cell = picture.meta["cell"]
    values = cell["low"] + picture.arrays["values"] / (MISSING - 1) * (cell["high"] - cell["low"])
    gap = (found.share_b - found.share_a).ravel()
    assert values.ravel() == pytest.approx(gap, abs=1e-4)
    assert cell["low"] == -cell["high"]
    inside = (gap >= found.gap_low.ravel()) & (gap <= found.gap_high.ravel())
    assert picture.arrays["inside"].ravel().tolist() == inside.tolist()


def test_bars_hold_both_sides_and_their_chance(pair):
    a, b = pair
    found = difference(a, b)
    experts = expert_bars(a, b, found, 0, "0").arrays
    assert experts["A"].tolist() == pytest.approx([0.3, 0.3, 0.2, 0.2])
    assert experts["B"].tolist() == pytest.approx([0.2, 0.1, 0.4, 0.3])
    kept = kept_bars(a, b, found, LABELS)
    assert kept.arrays["kept"].tolist() == pytest.approx([2.5 / 4, 1])
    assert kept.meta["line"]["at"] == 0.5
    assert kept.arrays["low"].tolist() == pytest.approx(found.loaded_kept.tolist())


def test_the_headline_names_layer_expert_and_chance():
    a = make_trace([[[0]] * 40, [[0], [1]] * 20], text="a" * 40)
    b = make_trace([[[1]] * 40, [[1], [0]] * 20], text="b" * 40)
    tokens = dataclasses.replace(b.tokens, ids=b.tokens.ids + 100, vocabulary={})
    found = difference(a, dataclasses.replace(b, tokens=tokens))
    assert words.headline(found, ["3", "5"]) == (
        f"Layer 3 differs most: 1.00 bits, chance gives {words.bits(found.low[0])} to "
        f"{words.bits(found.high[0])}. Expert 0 takes 100 % of A and 0 % of B."
    )
    assert words.headline(difference(a, a), ["3", "5"]) == (
        "Nothing differs: both sides use the experts of every layer alike."
    )


def test_a_difference_within_chance_is_called_so():
    a = make_trace([[[0], [1], [2], [3]]])
    b = make_trace([[[0], [1], [2], [0]]], text="efgh")
    tokens = dataclasses.replace(b.tokens, ids=b.tokens.ids + 100, vocabulary={})
    found = difference(a, dataclasses.replace(b, tokens=tokens))
    assert found.bits[0] <= found.high[0]
    assert words.headline(found, ["0"]).startswith("No more than chance: layer 0 differs most")


def test_other_number_formats_devices_and_rules_are_said():
    a = make_trace([[[0]] * 4])
    one = Provenance("m", dtype="float32", device="cpu", versions=(("torch", "2"),), rule="x")
    other = Provenance("m", dtype="bfloat16", device="cuda", versions=(("torch", "3"),))
    a, b = dataclasses.replace(a, source=one), dataclasses.replace(a, source=other)
    assert words.cautions(a, b) == [
        "A ran in float32, B in bfloat16. The number format alone sends a few percent of the "
        "tokens elsewhere.",
        "A ran on cpu, B on cuda. The device alone can send some tokens elsewhere.",
        "A and B ran with different libraries: torch 2 and 3.",
        "A and B ran under different rules (A: x and B: none).",
    ]
    assert words.cautions(a, a) == []
