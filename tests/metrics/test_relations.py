"""Repetition, co-activation, likeness, routes and divergence, by hand and on published counts."""

import dataclasses

import numpy as np
import pytest
from handmade import make_trace

from moeviz.corpora.published import published_routing
from moeviz.metrics.coactivation import (
    coactivation,
    coactivation_band,
    coactivation_chance,
)
from moeviz.metrics.divergence import counted_bits, divergence, divergence_bits
from moeviz.metrics.load import random_choices
from moeviz.metrics.repetition import repetition
from moeviz.metrics.routes import OTHER, routes
from moeviz.metrics.similar import similar_tokens
from moeviz.trace import TraceError


def random_trace(tokens, experts, chosen, layers=1, seed=0):
    rng = np.random.default_rng(seed)
    ids = [
        rng.permuted(random_choices(rng, tokens, experts, chosen), axis=1) for _ in range(layers)
    ]
    return make_trace(ids, number=experts, text="a" * tokens)


def test_repetition_by_hand(tiny_trace):
    # Layer 0 first choices 0 0 0 3, sets 01 01 02 30. Layer 1: 2 1 2 2, sets 23 13 21 20.
    found = repetition(tiny_trace)
    assert found.first.tolist() == pytest.approx([2 / 3, 1 / 3])
    assert found.shared.tolist() == pytest.approx([1, 1])
    assert found.even_first.tolist() == [0.25, 0.25]
    assert found.even_shared.tolist() == pytest.approx([1 - 1 / 6] * 2)
    assert found.loaded_first.tolist() == pytest.approx([0.75**2 + 0.25**2] * 2)


def test_random_tokens_repeat_as_often_as_chance_says():
    found = repetition(random_trace(20_000, 8, 2))
    assert found.first[0] == pytest.approx(found.even_first[0], abs=0.01)
    assert found.shared[0] == pytest.approx(found.even_shared[0], abs=0.015)


def test_one_token_has_no_neighbours():
    found = repetition(make_trace([[[0, 1]]], text="a"))
    assert np.isnan(found.first).all()


def test_coactivation_by_hand(tiny_trace):
    share = coactivation(tiny_trace, 0)  # pairs 01 01 02 30
    assert share[0, 1] == 2 / 4
    assert share[1, 0] == 1.0
    assert share[0, 2] == 1 / 4
    assert share[3, 0] == 1.0
    assert share[1, 2] == 0.0
    assert np.isnan(np.diag(share)).all()


def test_the_band_of_pairs_holds_95_percent_of_random_ones():
    for tokens in (12, 5000):
        trace = random_trace(tokens, 16, 4)
        share, taken = coactivation(trace, 0), np.bincount(trace.experts[0].ravel(), minlength=16)
        bands = [coactivation_band(int(n), 16, 4) for n in taken]
        inside = [
            low <= x <= high
            for row, (low, high) in zip(share, bands, strict=True)
            for x in row[np.isfinite(row)]
        ]
        assert np.mean(inside) >= 0.93
    assert coactivation_band(4, 3, 2) == (0.0, 1.0)  # a fair coin, thrown four times
    assert coactivation_band(100, 3, 2) == (0.40, 0.60)
    assert np.isnan(coactivation_band(0, 16, 4)).all()
    assert coactivation_band(9, 2, 2) == (1.0, 1.0)
    assert coactivation_band(9, 4, 1) == (0.0, 0.0)


@pytest.mark.parametrize("variant", ["paper", "script"])
def test_random_coactivation_meets_its_chance(variant):
    share = coactivation(random_trace(20_000, 16, 4), 0, variant)
    assert np.nanmean(share) == pytest.approx(coactivation_chance(16, 4, variant), rel=0.01)


def test_the_chance_of_the_published_setting():
    """Top-8 of 64: 11.1 % over all pairs, 2.8 % over rank neighbours (arXiv:2409.02060)."""
    assert round(100 * coactivation_chance(64, 8), 1) == 11.1
    assert round(100 * coactivation_chance(64, 8, "script"), 1) == 2.8


def test_an_unknown_variant_is_refused(tiny_trace):
    with pytest.raises(TraceError) as caught:
        coactivation(tiny_trace, 0, "mine")
    assert str(caught.value) == "variant 'mine' is not one of paper, script."


def test_similar_tokens_by_hand(tiny_trace):
    # Token 0 is 01 | 23; token 1 is 01 | 13, token 2 is 02 | 21, token 3 is 30 | 20.
    found = similar_tokens(tiny_trace, 0)
    assert found.tokens.tolist() == [1, 2, 3]
    assert found.overlap.tolist() == [3 / 4, 2 / 4, 2 / 4]
    assert found.chance == 0.5
    assert found.average == pytest.approx((3 / 4 + 2 / 4 + 2 / 4) / 3)
    # Of 4 experts, 2 random ones share 0, 1 or 2 with ours in 1, 4, 1 of 6 cases; twice: 0 to 4
    # shared in 1, 8, 18, 8, 1 of 36. The largest of three is 1 or less with (9/36)^3 = 1.6 %.
    assert found.closest == (2 / 4, 4 / 4)


def test_the_closest_of_random_tokens_lies_in_its_band():
    trace = random_trace(40, 8, 2, layers=3)
    low, high = similar_tokens(trace, 0).closest
    draws = [similar_tokens(random_trace(40, 8, 2, 3, seed), 0).overlap[0] for seed in range(200)]
    assert np.mean([low <= overlap <= high for overlap in draws]) >= 0.93


def test_one_token_is_like_no_other():
    found = similar_tokens(make_trace([[[0, 1]]], text="a"), 0)
    assert found.tokens.tolist() == []
    assert np.isnan(found.average)
    assert np.isnan(found.closest).all()


def test_routes_by_hand(tiny_trace):
    found = routes(tiny_trace)  # first choices 0 0 0 3 then 2 1 2 2
    links = set(zip(found.source, found.target, found.tokens, strict=True))
    assert links == {(0, 2, 2), (0, 1, 1), (3, 2, 1)}
    assert found.total == 4
    assert routes(tiny_trace, np.array([3])).tokens.tolist() == [1]


def test_thin_routes_are_merged_and_no_token_is_lost():
    trace = random_trace(500, 8, 1, layers=3)
    found = routes(trace, most=5)
    for row in (0, 1):
        assert found.tokens[found.row == row].sum() == 500
    assert (found.source == OTHER).sum() == 2


def test_divergence_by_hand():
    assert divergence_bits(np.array([[4, 0], [0, 4]])) == pytest.approx(1.0)
    assert divergence_bits(np.array([[3, 1], [6, 2]])) == pytest.approx(0.0)


def test_published_divergence_between_five_domains():
    """OLMoE, layers 0, 7, 15, and Mixtral (arXiv:2409.02060, counts of its repository)."""
    for name, expected, digit in (
        ("olmoe", [0.167, 0.401, 0.501], 1e-3),
        ("mixtral", [0.0031, 0.0037, 0.0090], 1e-4),
    ):
        counts = np.stack(list(published_routing(name).counts.values()), axis=1)
        assert divergence_bits(counts).tolist() == pytest.approx(expected, abs=0.6 * digit)


def test_texts_routed_alike_stay_inside_the_band_and_unlike_ones_leave_it():
    alike = divergence({"a": random_trace(300, 8, 2, seed=1), "b": random_trace(300, 8, 2, seed=2)})
    assert alike.low[0] <= alike.bits[0] <= alike.high[0]
    one, other = make_trace([[[0]] * 50], text="a" * 50), make_trace([[[1]] * 50], text="a" * 50)
    unlike = divergence({"a": one, "b": other})
    assert unlike.bits[0] == pytest.approx(1.0)
    assert unlike.high[0] < 0.2


def test_divergence_refuses_what_cannot_be_compared(tiny_trace):
    with pytest.raises(TraceError, match="at least two texts"):
        divergence({"a": tiny_trace})
    other = dataclasses.replace(tiny_trace, layers=(3, 4))
    with pytest.raises(TraceError, match="cannot be compared expert by expert"):
        divergence({"a": tiny_trace, "b": other})


def test_counting_alone_makes_like_groups_seem_to_part_by_so_much():
    rng = np.random.default_rng(0)
    dealt = rng.multinomial(500, [0.1, 0.2, 0.3, 0.4], size=(2000, 3))  # three like groups
    assert counted_bits(dealt[0]) == pytest.approx(divergence_bits(dealt).mean(), rel=0.05)
