"""Two runs side by side: twins, what was kept, divergence and its band, worked by hand."""

import dataclasses
import random
from itertools import permutations

import numpy as np
import pytest
from handmade import make_tokens, make_trace

import moeviz
from moeviz.metrics import align as alignment
from moeviz.metrics.align import align, common_subsequence
from moeviz.metrics.difference import difference, shuffled_sides
from moeviz.metrics.likeness import likeness
from moeviz.metrics.load import random_choices
from moeviz.metrics.runs import prompt_and_generated, run_of
from moeviz.trace import Tokens, TraceError


def letters(text: str) -> Tokens:
    """One token a character, the same letter always with the same id."""
    tokens = make_tokens(text)
    vocabulary = {ord(c): c for c in text}
    return dataclasses.replace(tokens, ids=np.array([ord(c) for c in text]), vocabulary=vocabulary)


def spanned(text: str, spans, first_id: int) -> Tokens:
    count = len(spans)
    ids = np.arange(first_id, first_id + count)
    none = np.zeros(count, bool)
    return Tokens(text, ids, np.array(spans), none, none, {int(i): f"{first_id}: {i}" for i in ids})


def random_run(tokens: int, seed: int, experts: int = 8, chosen: int = 2, layers: int = 1):
    rng = np.random.default_rng(seed)
    ids = [random_choices(rng, tokens, experts, chosen) for _ in range(layers)]
    trace = make_trace(ids, number=experts, text=chr(0x4E00 + seed) * tokens)
    offset = np.arange(tokens) + 1000 * seed  # no two runs share a token
    return dataclasses.replace(trace, tokens=dataclasses.replace(trace.tokens, ids=offset))


def table_length(a, b) -> int:
    """Length of the longest common subsequence by the textbook's table."""
    table = [[0] * (len(b) + 1) for _ in range(len(a) + 1)]
    for i, x in enumerate(a):
        for j, y in enumerate(b):
            best = max(table[i][j + 1], table[i + 1][j])
            table[i + 1][j + 1] = table[i][j] + 1 if x == y else best
    return table[-1][-1]


def test_one_changed_word_leaves_the_others_paired():
    found = align(letters("the cat sat"), letters("the big cat sat"))
    assert found.pairs.tolist() == [
        *([i, i] for i in range(4)),
        *([i, i + 4] for i in range(4, 11)),
    ]
    assert (found.by, found.complete) == ("ids", True)


def test_pairs_are_a_longest_common_subsequence():
    draw = random.Random(0)
    for _ in range(300):
        a, b = (draw.choices(range(4), k=draw.randrange(14)) for _ in range(2))
        pairs, complete = common_subsequence(a, b)
        assert complete
        assert len(pairs) == table_length(a, b)
        assert all(a[i] == b[j] for i, j in pairs)
        for column in zip(*pairs, strict=True):
            assert list(column) == sorted(set(column))


def test_a_search_too_large_pairs_beginning_and_end_and_says_so(monkeypatch):
    monkeypatch.setattr(alignment, "CELLS", 5)
    found = align(letters("abXcYd"), letters("abcUVd"))
    assert found.pairs.tolist() == [[0, 0], [1, 1], [5, 5]]
    assert not found.complete


def test_two_vocabularies_are_paired_by_characters():
    text = "hi there é"
    a = spanned(text, [(-1, -1), (0, 2), (2, 8), (8, 10), (9, 10)], 0)
    b = spanned(text, [(0, 2), (3, 6), (6, 8), (9, 10)], 3)  # id 3 is spelled differently
    found = align(a, b)
    assert found.by == "spans"
    assert found.pairs.tolist() == [[1, 0]]  # " there" is cut in two, and é is pieces in a
    b = spanned(text, [(0, 2), (3, 8), (9, 10)], 3)
    assert align(a, b).pairs.tolist() == [[1, 0], [2, 1]]  # a space in front makes no difference


def test_a_text_that_one_model_cut_short_is_still_the_same():
    a, b = spanned("ab cd", [(0, 2), (2, 5)], 0), spanned("ab", [(0, 2)], 1)
    assert align(a, b).pairs.tolist() == [[0, 0]]


def test_two_vocabularies_on_two_texts_have_no_twins():
    a, b = spanned("ab", [(0, 1), (1, 2)], 0), spanned("ac", [(0, 1), (1, 2)], 1)
    assert not len(align(a, b).pairs)


def test_a_difference_worked_by_hand():
    a = make_trace([[[0, 1], [0, 1], [0, 2], [3, 0]]])
    b = make_trace([[[0, 1], [0, 2], [3, 1], [-1, -1]]])
    found = difference(a, b, shuffles=50)
    assert found.overlap.tolist() == [[1, 0.5, 0, 0]]
    assert found.kept.tolist() == [0.375]
    assert found.even_kept.tolist() == [0.5]
    # Chosen 4, 2, 1, 1 and 2, 2, 1, 1 times: (8 + 4 + 1 + 1) / 16 pairs / top 2.
    assert found.loaded_kept.tolist() == [14 / 32]
    assert found.share_a.tolist() == [[4 / 8, 2 / 8, 1 / 8, 1 / 8]]
    assert found.share_b[0] == pytest.approx([2 / 6, 2 / 6, 1 / 6, 1 / 6])
    mean = (found.share_a + found.share_b)[0] / 2
    bits = [-(p * np.log2(p)).sum() for p in (mean, found.share_a[0], found.share_b[0])]
    assert found.bits[0] == pytest.approx(bits[0] - (bits[1] + bits[2]) / 2)


def test_loaded_chance_is_the_mean_over_all_pairings():
    a, b = random_run(4, 1), random_run(4, 2)
    b = dataclasses.replace(b, tokens=a.tokens)
    kept = []
    for order in permutations(range(4)):
        ids = b.experts[:, list(order)]
        kept.append(difference(a, dataclasses.replace(b, experts=ids), shuffles=1).kept[0])
    assert difference(a, b).loaded_kept[0] == pytest.approx(np.mean(kept))


def test_a_run_against_itself_is_no_difference():
    run = random_run(40, 0, layers=2)
    found = difference(run, run)
    assert found.kept.tolist() == [1, 1]
    assert found.bits.tolist() == found.low.tolist() == found.high.tolist() == [0, 0]


def test_nothing_in_common_is_one_bit():
    one, other = random_run(50, 1, experts=4), random_run(50, 2, experts=4)
    one = dataclasses.replace(one, experts=np.tile([0, 1], (1, 50, 1)))
    other = dataclasses.replace(other, experts=np.tile([2, 3], (1, 50, 1)))
    found = difference(one, other)
    assert found.bits[0] == pytest.approx(1)
    assert found.high[0] < 0.1
    assert np.isnan(found.kept).all()


def test_two_runs_of_one_router_leave_the_band_as_often_as_it_says():
    outside, gaps, shares = 0, 0, 0
    for seed in range(200):
        found = difference(random_run(60, 2 * seed), random_run(60, 2 * seed + 1), seed=seed)
        outside += not found.low[0] <= found.bits[0] <= found.high[0]
        gap = found.share_b - found.share_a
        gaps += int(((gap < found.gap_low) | (gap > found.gap_high)).sum())
        for share in (found.share_a, found.share_b):
            shares += int(((share < found.share_low) | (share > found.share_high)).sum())
    assert 0.02 <= outside / 200 <= 0.09
    assert 0.02 <= gaps / (200 * 8) <= 0.07
    assert 0.02 <= shares / (200 * 16) <= 0.07


def test_twins_trade_places_and_others_are_dealt_to_sides_of_the_same_size():
    pairs = np.array([[0, 1], [3, 2]])
    sides = shuffled_sides(5, 4, pairs, shuffles=400, seed=0)
    assert (sides[:, [0, 3]] != sides[:, [6, 7]]).all()
    assert (sides[:, [1, 2, 4, 5, 8]].sum(axis=1) == 3).all()
    assert sides.mean(axis=0) == pytest.approx(
        [0.5, 0.6, 0.6, 0.5, 0.6, 0.6, 0.5, 0.5, 0.6], abs=0.1
    )


def test_layers_with_fewer_experts_stay_blank_beyond_them():
    router = dataclasses.replace(make_trace([[[0]] * 4] * 2).router, experts_per_layer=(4, 2))
    trace = make_trace([[[3]] * 4, [[1]] * 4], router=router)
    found = difference(trace, trace)
    for array in (found.share_b, found.gap_low, found.gap_high, found.share_low):
        assert np.isnan(array).tolist() == [[False] * 4, [False, False, True, True]]


def test_models_with_other_experts_are_refused():
    a, b = random_run(4, 0), random_run(4, 1, experts=16)
    with pytest.raises(TraceError) as caught:
        difference(a, b)
    assert str(caught.value) == (
        "The two runs have different experts (layers of experts: 1 of up to 8, and 1 of up to 16), "
        "so they cannot be compared expert by expert. Use likeness to compare two models."
    )


def test_a_generation_falls_into_prompt_and_continuation():
    trace = make_trace([[[0, 1], [2, 3], [0, 2], [3, 1]]])
    generated = np.array([False, False, True, True])
    trace = dataclasses.replace(
        trace, tokens=dataclasses.replace(trace.tokens, generated=generated)
    )
    prompt, rest = prompt_and_generated(trace)
    assert (prompt.tokens.source, rest.tokens.source) == ("ab", "cd")
    assert rest.tokens.texts == ["c", "d"]
    assert rest.experts.tolist() == [[[0, 2], [3, 1]]]
    assert prompt.key != rest.key
    with pytest.raises(TraceError) as caught:
        prompt_and_generated(make_trace([[[0]]], text="a"))
    assert str(caught.value) == (
        "This trace holds no generated tokens, so there is nothing to compare."
    )


def test_likeness_ignores_what_experts_are_called():
    run = random_run(30, 0, layers=2)
    names = np.random.default_rng(1).permutation(8)
    found = likeness(run, dataclasses.replace(run, experts=names[run.experts]))
    assert np.diag(found.agreement) == pytest.approx([1, 1])
    assert found.agreement[0, 1] < 0.5


def test_likeness_by_hand():
    # Top-1: {0, 1} and {2, 3} together in a; b splits them crosswise or like a.
    a = make_trace([[[0], [0], [1], [1]]])
    b = make_trace([[[5], [6], [5], [6]], [[2], [2], [7], [7]]], number=8)
    found = likeness(a, b)
    assert found.agreement[0] == pytest.approx([0, 1])
    # Of the three ways to split four tokens evenly, one agrees.
    assert found.chance[0] == pytest.approx([1 / 3, 1 / 3])


def test_chance_of_likeness_is_the_mean_over_all_shuffles_and_inside_its_band():
    a, b = random_run(5, 0), random_run(5, 1, experts=12, chosen=3, layers=2)
    b = dataclasses.replace(b, tokens=a.tokens)
    found, every = likeness(a, b), []
    for order in permutations(range(5)):
        ids = b.experts[:, list(order)]
        every.append(likeness(a, dataclasses.replace(b, experts=ids), shuffles=1).agreement)
    assert found.chance == pytest.approx(np.mean(every, axis=0))
    low, high = np.quantile(every, (0.025, 0.975), axis=0)
    assert found.low == pytest.approx(low, abs=0.1)
    assert found.high == pytest.approx(high, abs=0.1)


def test_unlike_models_leave_the_band_as_often_as_it_says():
    outside, leading = 0, 0
    for seed in range(60):
        a, b = random_run(30, 2 * seed, layers=2), random_run(30, 2 * seed + 1, layers=3)
        b = dataclasses.replace(b, tokens=a.tokens)
        found = likeness(a, b, seed=seed)
        outside += int(((found.agreement < found.low) | (found.agreement > found.high)).sum())
        leading += (found.agreement - found.chance).max() > found.lead
    assert 0.02 <= outside / 360 <= 0.09
    assert leading <= 8


def test_too_few_twins_for_likeness_are_refused():
    with pytest.raises(TraceError) as caught:
        likeness(random_run(5, 0), random_run(5, 1))
    assert str(caught.value) == (
        "The two runs have 0 tokens in common, too few to compare how they sort them. Give both "
        "the same text."
    )


def test_the_public_names_are_these_functions():
    assert moeviz.difference is difference
    assert moeviz.likeness is likeness
    assert run_of(random_run(4, 0)).name == "by hand"
