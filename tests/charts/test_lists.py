"""The ranked lists: right tokens, in their context, beside what chance would give."""

import numpy as np
import pytest
from handmade import make_trace

from moeviz.charts.lists import expert_list, partner_list, similar_list
from moeviz.metrics.coactivation import coactivation
from moeviz.metrics.expert import expert_tokens
from moeviz.metrics.load import expert_load, layer_chance
from moeviz.metrics.selection import selected
from moeviz.metrics.similar import similar_tokens


def taken(trace, row, expert, scope=None):
    part = selected(trace, *scope) if scope else trace
    load = expert_load(part)
    found = expert_tokens(part, row, expert)
    return expert_list(trace, row, expert, found, load, layer_chance(part, load, row), scope)


def test_similar_tokens_stand_in_their_context(tiny_trace):
    picture = similar_list(tiny_trace, 0, similar_tokens(tiny_trace, 0))
    assert picture.arrays["at"].tolist() == [1, 2, 3]
    assert picture.arrays["values"].tolist() == [0.75, 0.5, 0.5]
    assert picture.meta["rows"] == [["b", "a", "cd"], ["c", "ab", "d"], ["d", "abc", ""]]
    assert picture.meta["chip"] == "a"
    assert ["A random one", "50 %"] in picture.meta["facts"]
    assert (picture.meta["band"]["low"], picture.meta["band"]["high"]) == (0.5, 1.0)
    assert "token's 4 choices" in picture.meta["read"]


def test_a_lone_token_has_nothing_beside_it():
    trace = make_trace([[[0, 1]]], text="a")
    picture = similar_list(trace, 0, similar_tokens(trace, 0))
    assert picture.meta["rows"] == []
    assert picture.meta["facts"] == []
    assert picture.meta["empty"] == "This text has no other token to compare with."


def test_an_experts_tokens_are_all_there(tiny_trace):
    picture = taken(tiny_trace, 0, 0)
    assert picture.arrays["at"].tolist() == [0, 1, 2, 3]
    assert picture.arrays["values"] == pytest.approx([0.7, 0.6, 0.9, 0.5])
    facts = dict(picture.meta["facts"])
    assert facts["Tokens"] == "4 of 4"
    assert facts["Its first choice"] == "3"
    assert facts["Share of assignments"].startswith("50 % (chance ")
    assert facts["Mean gate"] == "0.675"


def test_a_selection_counts_its_own_tokens_only(tiny_trace):
    picture = taken(tiny_trace, 0, 0, scope=(2, 3))
    assert picture.arrays["at"].tolist() == [2, 3]
    assert dict(picture.meta["facts"])["Tokens"] == "2 of 2"
    assert picture.meta["place"] == "layer 0, tokens 3 to 4"


def test_an_idle_expert_says_so(tiny_trace):
    trace = make_trace([[[0, 1]] * 4])
    picture = taken(trace, 0, 3)
    assert picture.meta["rows"] == []
    assert picture.meta["empty"] == "No token chose this expert."
    assert "Mean gate" not in dict(picture.meta["facts"])
    nobody = partner_list(
        trace, 0, 3, coactivation(trace, 0)[3], (np.nan, np.nan), chance=1 / 3, tokens=0
    )
    assert nobody.meta["rows"] == []
    assert nobody.meta["band"] is None


def test_partners_come_most_frequent_first_beside_chance(tiny_trace):
    share = coactivation(tiny_trace, 0)[0]  # with 1, 1, 2 and 3
    picture = partner_list(tiny_trace, 0, 0, share, (0.0, 0.75), chance=1 / 3, tokens=4)
    assert picture.arrays["at"].tolist() == [1, 2, 3]
    assert picture.arrays["values"].tolist() == [0.5, 0.25, 0.25]
    assert picture.meta["rows"][0] == ["Expert 1", "", ""]
    assert picture.meta["facts"] == [["Chance for each", "33 % (K − 1 of E − 1)"]]
    assert picture.meta["value"]["high"] == 0.75  # the band must fit on the scale


def test_line_breaks_in_a_context_are_made_visible():
    trace = make_trace([[[0, 1]] * 5], text="a\n b\t")
    rows = taken(trace, 0, 0).meta["rows"]
    assert rows[3] == ["b", "a↵ ", "⇥"]
    assert rows[1] == ["↵", "a", " b⇥"]
