"""Pictures of a trace that holds choices alone: no gate is made up, and slot 0 is no first choice.

What the pages say of it is in tests/pages/test_choices_only.py.
"""

import dataclasses
import json

import numpy as np
import pytest

from moeviz.charts.compare import twin_strip
from moeviz.charts.figures import plot
from moeviz.charts.flow import flow_picture
from moeviz.charts.heat import expert_grid, token_grid, token_journey
from moeviz.charts.layers import LayerFacts, layer_bars
from moeviz.charts.lists import expert_list
from moeviz.charts.notebook import trace_html
from moeviz.charts.strip import strip_picture
from moeviz.cli import summary
from moeviz.metrics.align import align
from moeviz.metrics.balance import balance, balance_chance, loss_chance
from moeviz.metrics.difference import difference
from moeviz.metrics.expert import expert_tokens
from moeviz.metrics.load import expert_load, load_chance
from moeviz.metrics.overflow import overflow
from moeviz.metrics.repetition import repetition, shuffled_repetition
from moeviz.metrics.router import gate_share
from moeviz.metrics.runs import run_of
from moeviz.metrics.table import routing_table
from moeviz.rules.capacity import CapacityRule
from moeviz.store.arrays import as_tokens
from moeviz.trace import TraceError


@pytest.fixture
def bare(tiny_trace):
    """The tiny trace as an engine would hand it out."""
    return dataclasses.replace(tiny_trace, gates=None, logits=None, loss=None)


def test_cells_are_what_was_chosen(bare):
    for grid in (
        token_grid(bare, 0, "choice", expert_load(bare), load_chance(4, 4, 2), 1.0),
        expert_grid(bare, 0, "choice", expert_load(bare), None, 1.0),
        token_journey(bare, 0, 1.0),
    ):
        assert "gates" not in grid.arrays
        assert "share" not in grid.arrays
        assert grid.meta["cell"]["name"] == "Chosen"
        assert set(np.unique(grid.arrays["values"])) == {0, 65534}
        assert "gate" not in grid.meta["read"]
    chosen = token_grid(bare, 0, "choice", expert_load(bare), load_chance(4, 4, 2), 1.0)
    assert (chosen.arrays["values"] > 0).tolist() == [
        [True, True, False, False],
        [True, True, False, False],
        [True, False, True, False],
        [True, False, False, True],
    ]


def test_an_expert_that_is_named_first_is_not_called_first_choice(bare):
    strip = strip_picture(bare, 0, "expert")
    assert strip.meta["legend"] == "Named first for"
    assert strip.meta["read"] == (
        "Each patch is one token, coloured by the expert that the record names first in this "
        "layer; without gates, that need not be the one with the most weight. Hover for its "
        "experts, click to follow it through all layers."
    )
    assert "gates" not in strip.arrays
    assert "as the tokens it was named first for;" in flow_picture(bare).meta["read"]
    other = difference(bare, bare)
    twins = twin_strip(run_of(bare), run_of(bare), other, 0, "A", "expert").meta
    assert twins["read"].startswith("Coloured by the expert that is named first;")
    order = shuffled_repetition(bare)
    chances = (balance_chance(4, 4, 2),) * 2
    facts = LayerFacts(
        balance(bare), chances, np.full(2, np.nan), repetition(bare), order, bare.ranked
    )
    bars = layer_bars(bare, facts, 0, "repeat").meta
    assert bars["y"]["name"] == "Same expert named first"
    assert "Same expert named first as the token before" in dict(bars["facts"])


def test_one_choice_is_the_first_choice(bare):
    router = dataclasses.replace(bare.router, chosen=1)
    single = dataclasses.replace(bare, experts=bare.experts[..., :1], router=router)
    assert strip_picture(single, 0, "expert").meta["legend"] == "First choice of"


def test_the_list_of_an_experts_tokens_has_no_bars(bare):
    found = expert_tokens(bare, 0, 0)
    assert found.gate is None
    listed = expert_list(bare, 0, 0, found, expert_load(bare), load_chance(4, 4, 2))
    assert list(listed.arrays) == ["at"]
    assert {"value", "sorts"}.isdisjoint(listed.meta)
    assert dict(listed.meta["facts"])["Named first for"] == "3"
    assert "Mean gate" not in dict(listed.meta["facts"])
    assert listed.meta["read"] == (
        "Each line is a token that chose this expert, in its place in the text; how much weight "
        "each gave it is not known."
    )


def test_what_is_made_of_gates_is_not_known(bare):
    found, chance = balance(bare), loss_chance(bare)
    for values in (found.importance, found.aux_loss, found.z_loss, chance.importance_high):
        assert np.isnan(values).all()
    assert np.isfinite(found.max_violation).all()
    with pytest.raises(TraceError, match="how much weight each got is not known"):
        gate_share(bare)
    table = routing_table(bare)
    assert table[["gate", "gate_share", "probability", "next_token_loss"]].isna().all(axis=None)
    assert table["expert"].tolist() == bare.experts.ravel().tolist()


@pytest.mark.parametrize("priority", ["position", "random"])
def test_capacity_drops_the_same_as_with_gates(bare, tiny_trace, priority):
    rule = CapacityRule(factor=0.5, convention="vmoe", priority=priority)
    np.testing.assert_array_equal(overflow(bare, rule).dropped, overflow(tiny_trace, rule).dropped)


def test_notebook_figures_and_summary_hold_no_gate(bare):
    for kind in ("load", "tokens", "journey"):
        figure = plot(bare, kind, layer=0).to_json()
        assert "gate %{customdata" not in figure
        json.loads(figure)
    assert "the trace holds no logits and no gates" in plot(bare, "tokens").to_json()
    page = trace_html(dataclasses.replace(bare, tokens=as_tokens(None, None, 4)))
    assert 'title="token 1: expert 2, 3"' in page
    assert "coloured by the expert that the record names first in layer 1." in page
    assert "gate" not in page
    assert json.dumps(summary(bare))


def test_tokens_known_by_place_alone_are_nobodys_twins():
    here, there = as_tokens(None, None, 4), as_tokens(None, None, 4)
    assert len(align(here, there).pairs) == 0
    words = as_tokens(None, ["a", "b", "a"], 3)
    assert words.ids.tolist() == [-1, -2, -1]
    assert align(words, words).pairs.tolist() == [[0, 0], [1, 1], [2, 2]]  # one text, by characters
