"""Pictures of a capacity rule, checked against tables worked by hand."""

import dataclasses

import numpy as np
import pytest
from handmade import make_tokens, make_trace

from moeviz.charts import capacity as pictures
from moeviz.charts.strip import PLAIN
from moeviz.metrics.compare import compare
from moeviz.metrics.overflow import overflow
from moeviz.metrics.parallel import parallel_load
from moeviz.rules.capacity import CapacityRule


@pytest.fixture
def found(tiny_trace):
    """One token an expert. Layer 0, in the order of the text: 0 1 | 0 1 | 0 2 | 3 0, so token 1
    loses both of its experts and tokens 2 and 3 lose expert 0.
    """
    return overflow(tiny_trace, CapacityRule(convention="absolute", absolute=1))


def test_tokens_are_marked_by_what_they_lose(tiny_trace, found):
    picture = pictures.drops_strip(tiny_trace, 0, found)
    assert picture.arrays["fate"].tolist() == [0, 2, 1, 1]
    assert picture.arrays["lost"].tolist() == [[0, 0], [1, 1], [1, 0], [0, 1]]
    assert picture.arrays["shade"].tolist() == [PLAIN, 63, 32, 32]
    assert [step["name"] for step in picture.meta["steps"]] == ["all kept", "some lost", "all lost"]


def test_with_one_choice_a_token_there_is_no_half_way():
    trace = make_trace([[[0], [0], [1], [0]]], number=2)
    picture = pictures.drops_strip(trace, 0, overflow(trace, CapacityRule(1.0)))
    assert [step["name"] for step in picture.meta["steps"]] == ["all kept", "all lost"]
    assert picture.arrays["fate"].tolist() == [0, 0, 0, 2]


def test_pieces_of_one_character_show_the_worst_of_them(tiny_trace, found):
    tokens = make_tokens("abcd")
    spans = tokens.spans.copy()
    spans[1:] = [(1, 3), (1, 3), (3, 4)]
    trace = dataclasses.replace(tiny_trace, tokens=dataclasses.replace(tokens, spans=spans))
    picture = pictures.drops_strip(trace, 0, found)
    assert picture.meta["units"] == ["a", "bc", "d"]
    assert picture.arrays["fate"].tolist() == [0, 2, 1]


def test_the_grid_holds_each_experts_share_of_what_it_lost(tiny_trace, found):
    picture = pictures.overflow_grid(tiny_trace, found)
    assert picture.arrays["part"][0].tolist() == found.lost[0].tolist() == [3, 1, 0, 0]
    assert picture.arrays["whole"][0].tolist() == [4, 2, 1, 1]
    shares = picture.arrays["values"][0] / 65534
    assert shares == pytest.approx([0.75, 0.5, 0, 0], abs=1e-4)


def test_bars_add_up_to_the_load(tiny_trace, found):
    picture = pictures.load_bars(tiny_trace, 0, found, 1, (1.0, 3.0))
    assert picture.arrays["kept"].tolist() == [1, 1, 1, 1]
    assert picture.arrays["lost"].tolist() == [3, 1, 0, 0]
    assert picture.meta["facts"] == [
        ["Lost", "4 of 8 (50 %)"],
        ["Tokens that lose every expert", "1"],
        ["Places left empty", "0 %"],
    ]
    assert picture.meta["line"] == {"at": 1, "name": "room for 1"}
    other = pictures.load_bars(tiny_trace, 1, found, 1, (1.0, 3.0))  # 2 3 | 1 3 | 2 1 | 2 0
    assert other.arrays["kept"].tolist() == [1, 1, 1, 1]
    assert other.arrays["lost"].tolist() == [0, 1, 2, 1]


def test_a_change_of_nothing_is_the_middle_of_the_scale(tiny_trace):
    picture = pictures.change_strip(tiny_trace, 0, compare(tiny_trace, tiny_trace))
    assert picture.arrays["shade"].tolist()[:3] == [32, 32, 32]  # of 0 to 63
    assert picture.arrays["shade"][3] == PLAIN


def test_worse_is_above_the_middle_and_better_below(tiny_trace):
    loss = np.array([1.5, 1.5, 99.0, np.nan], dtype=np.float32)
    changed = dataclasses.replace(tiny_trace, loss=loss)
    cost = compare(tiny_trace, changed)
    assert cost.loss_change[:3].tolist() == [0.5, -0.5, 96.0]
    shade = pictures.change_strip(tiny_trace, 0, cost).arrays["shade"]
    assert shade.tolist() == [47, 16, 63, PLAIN]


def test_devices_name_their_experts(tiny_trace):
    spread = parallel_load(tiny_trace, 2, "round-robin")
    picture = pictures.device_bars(tiny_trace, 0, spread, "1 KB")
    assert picture.meta["x"]["long"] == ["experts 0, 2", "experts 1, 3"]
    assert picture.arrays["kept"].tolist() == [5, 3]  # 4 + 1 and 2 + 1
    assert picture.meta["line"]["at"] == 4
    assert pictures.straggler_bars(tiny_trace, spread).arrays["kept"][0] == pytest.approx(1.25)


def test_every_picture_says_how_to_read_it(tiny_trace, found):
    cost, spread = compare(tiny_trace, tiny_trace), parallel_load(tiny_trace, 2)
    made = [
        pictures.drops_strip(tiny_trace, 0, found),
        pictures.change_strip(tiny_trace, 0, cost),
        pictures.overflow_grid(tiny_trace, found),
        pictures.load_bars(tiny_trace, 0, found, 1, (1.0, 3.0)),
        pictures.position_bars(tiny_trace, 0, np.array([0.0, 0.5]), 0.25, "position"),
        pictures.rerouted_bars(tiny_trace, cost, found),
        pictures.device_bars(tiny_trace, 0, spread, "1 KB"),
        pictures.straggler_bars(tiny_trace, spread),
    ]
    for picture in made:
        assert picture.meta["read"].endswith(".")
        assert picture.meta["model"] == "by hand"
        assert picture.meta["key"] == tiny_trace.key
