"""Layers beside each other: the picked one's facts, and each measure beside its chance."""

import numpy as np
import pytest
from handmade import make_trace

from moeviz.charts.layers import MEASURES, LayerFacts, layer_bars
from moeviz.metrics.balance import balance, balance_chance
from moeviz.metrics.repetition import repetition, shuffled_repetition
from moeviz.metrics.router import has_logits, router_entropy
from moeviz.trace import TraceError


def facts_of(trace):
    rows = range(trace.shape[0])
    chance = balance_chance(len(trace.tokens), 4, trace.shape[3])
    doubt = [router_entropy(trace, r).mean() if has_logits(trace, r) else np.nan for r in rows]
    return LayerFacts(
        balance=balance(trace),
        chance=(chance,) * trace.shape[0],
        doubt=np.array(doubt),
        repeat=repetition(trace),
        order=shuffled_repetition(trace),
    )


def bars(trace, measure="load", row=0):
    return layer_bars(trace, facts_of(trace), row, measure)


def test_every_measure_draws_and_says_how_to_read_it(tiny_trace):
    for measure in MEASURES:
        picture = bars(tiny_trace, measure)
        assert len(picture.arrays["kept"]) == 2
        assert picture.meta["read"].endswith("Click a bar to open its layer.")
        assert ("band" in picture.meta) == (measure != "doubt")


def test_the_busiest_expert_is_counted_against_the_even_share(tiny_trace):
    # Layer 0: 4 2 1 1 of 8. Layer 1: 1 2 3 2.
    assert bars(tiny_trace).arrays["kept"].tolist() == [2.0, 1.5]
    chance = balance_chance(4, 4, 2).max_violation
    assert bars(tiny_trace).arrays["high"] == pytest.approx([chance[1] + 1] * 2)


def test_the_picked_layer_tells_its_facts(tiny_trace):
    facts = dict(bars(tiny_trace).meta["facts"])
    assert facts["Busiest"].startswith("expert 0, 2.00 × even (chance 1.")
    assert facts["Idle"].startswith("0 experts (chance 0")
    assert facts["Same first choice as the token before"].startswith("67 % (chance ")
    assert facts["Any expert in common with it"] == "100 % (chance 83 %)"
    assert "Router entropy" in facts


def test_repetition_is_shown_beside_the_same_tokens_in_random_order():
    first = [0] * 20 + [1] * 20  # neighbours agree as much as they can
    picture = bars(make_trace([[[e] for e in first]], text="a" * 40), "repeat")
    assert picture.arrays["kept"][0] == pytest.approx(38 / 39)
    assert 0.3 < picture.arrays["low"][0] < picture.arrays["high"][0] < 0.7


def test_without_logits_the_routers_entropy_is_not_drawn():
    bare = make_trace([[[0, 1], [2, 3], [0, 2], [1, 0]]])
    assert "Router entropy" not in dict(bars(bare).meta["facts"])
    with pytest.raises(TraceError) as caught:
        bars(bare, "doubt")
    assert str(caught.value) == (
        "This trace holds the chosen experts but not the router's logits, so the router's "
        "entropy is not known."
    )


@pytest.mark.filterwarnings("ignore:invalid value")
def test_a_layer_that_dropped_every_token_says_so():
    picture = bars(make_trace([[[-1], [-1]], [[0], [1]]], text="ab"))
    assert picture.meta["facts"] == [["Assignments", "none: this layer sent these tokens nowhere"]]
    assert np.isnan(picture.arrays["kept"][0])


def test_one_token_has_no_repetition_to_tell():
    facts = dict(bars(make_trace([[[0, 1]]], text="a")).meta["facts"])
    assert "Same first choice as the token before" not in facts
