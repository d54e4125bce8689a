"""Contrasts worked by hand, and chance that keeps its promise."""

import itertools

import numpy as np
import pytest
from handmade import make_trace

from moeviz.metrics.contrast import contrast, random_steering, steering, steering_cost
from moeviz.rules.interventions import Rule, Steer
from moeviz.trace import Provenance, RouterSpec, RoutingTrace, Tokens, TraceError


def text(*experts: int, number: int = 3) -> RoutingTrace:
    """One layer, one choice a token."""
    return make_trace([[[e] for e in experts]], text="abcdefgh"[: len(experts)], number=number)


def test_risk_difference_by_hand():
    found = contrast([text(0, 0), text(0, 1, 0)], [text(2, 1), text(1, 1)])
    assert found.share_a[0] == pytest.approx([4 / 5, 1 / 5, 0])
    assert found.share_b[0] == pytest.approx([0, 3 / 4, 1 / 4])
    assert found.difference[0] == pytest.approx([0.8, -0.55, -0.25])
    assert (found.texts, found.tokens, found.deals, found.every) == ((2, 2), (5, 4), 6, True)
    assert found.ranked() == [(0, 0), (0, 1), (0, 2)]
    # Of the six deals only the real one and its mirror differ by 0.8 anywhere.
    assert found.p[0, 0] == pytest.approx(2 / 6) == found.least
    assert not found.beyond.any()


def test_every_deal_is_counted_as_one_would_by_hand():
    texts = [
        text(0, 1),
        text(1, 1, 2),
        text(2, 0),
        text(
            1,
        ),
        text(0, 0, 0),
    ]
    found = contrast(texts[:2], texts[2:])
    table = [np.bincount(t.experts.ravel(), minlength=3) for t in texts]
    sizes = [len(t.tokens) for t in texts]
    largest = []
    for inside in itertools.combinations(range(5), 2):
        outside = [i for i in range(5) if i not in inside]
        share = [
            sum(table[i] for i in part) / sum(sizes[i] for i in part) for part in (inside, outside)
        ]
        largest.append(np.abs(share[0] - share[1]).max())
    assert found.deals == 10
    for expert in range(3):
        size = abs(found.difference[0, expert])
        assert found.p[0, expert] == np.mean([x >= size - 1e-9 for x in largest])
    assert found.reach == pytest.approx(max(largest))


def test_a_real_difference_is_beyond_chance_and_others_are_not():
    first = [text(0, 0, 1, 2) for _ in range(6)]
    second = [text(0, 0, 2, 2) for _ in range(6)]
    found = contrast(first, second)
    assert found.beyond.tolist() == [[False, True, True]]
    assert found.low[0, 0] == found.high[0, 0] == 0
    assert found.reach < 0.25


def test_chance_raises_a_false_alarm_in_one_of_twenty():
    rng = np.random.default_rng(1)
    alarms = 0
    for trial in range(200):
        texts = [make_trace(rng.integers(0, 8, (4, 6, 1)), text="abcdef", number=8)
                 for _ in range(10)]  # fmt: skip
        alarms += contrast(texts[:5], texts[5:], seed=trial).beyond.any()
    assert alarms <= 20  # 10 expected; Binomial(200, 0.05) exceeds 20 once in 1,500


def test_many_texts_are_dealt_at_random_and_the_draws_are_stated():
    texts = [text(i % 3, (i * 2) % 3) for i in range(24)]
    found = contrast(texts[:12], texts[12:])
    again = contrast(texts[:12], texts[12:])
    assert (found.deals, found.every) == (2000, False)
    assert found.least == 1 / 2000
    assert (found.p == again.p).all()


def test_special_tokens_are_left_out():
    plain = text(0, 1)
    special = RoutingTrace(
        experts=[[[2], [0], [1]]],
        gates=[[[1.0]] * 3],
        tokens=Tokens(
            "ab", [9, 0, 1], [[-1, -1], [0, 1], [1, 2]], [True, False, False], [False] * 3
        ),
        router=RouterSpec(experts=3, chosen=1),
        source=Provenance(model="by hand"),
        layers=(0,),
    )
    found = contrast([special, special], [plain, plain])
    assert found.tokens == (4, 4)
    assert not found.difference.any()


def test_experts_a_layer_does_not_have_are_no_part_of_it():
    router = RouterSpec(experts=3, chosen=1, experts_per_layer=(2,))
    texts = [make_trace([[[i % 2]]], text="a", router=router) for i in range(4)]
    found = contrast(texts[:2], texts[2:])
    assert np.isnan(found.difference[0, 2]) and found.p[0, 2] == 1
    assert len(found.ranked()) == 2


@pytest.mark.parametrize(
    ("first", "second", "sentence"),
    [
        (
            [text(0)],
            [text(0), text(1)],
            "Each set needs at least 2 texts, one a line; there are 1 and 2.",
        ),
        (
            [text(0), text(0)],
            [text(1), text(1, number=5)],
            "Both sets must be read by the same model.",
        ),
    ],
)
def test_sets_that_cannot_be_compared_are_one_sentence(first, second, sentence):
    with pytest.raises(TraceError) as error:
        contrast(first, second)
    assert str(error.value) == sentence


def test_steering_pushes_experts_towards_a_set():
    found = contrast([text(0, 0), text(0, 1, 0)], [text(2, 1), text(1, 1)])
    assert str(steering(found, ["4"], True, 2)) == "steer 4:+0,-1"
    assert str(steering(found, ["4"], False, 2)) == "steer 4:+1,-0"


def test_the_control_pushes_as_many_others():
    rule = Rule((Steer([3], [5], layers="0"), Steer([1], layers="2")))
    for seed in range(20):
        first, second = random_steering(rule, [8, 2], seed).parts
        assert (len(first.up), len(first.down), first.layers) == (1, 1, ("0",))
        assert not {3, 5} & {*first.up, *first.down}
        assert second.up == (0,)  # of two experts, the other one


def test_the_cost_is_a_mean_over_tokens_with_texts_drawn_anew():
    plain = [with_loss([1.0, 2.0]), with_loss([1.0])]
    steered = [with_loss([1.5, 2.5]), with_loss([2.0])]
    mean, low, high = steering_cost(plain, steered)
    assert mean == pytest.approx((0.5 + 0.5 + 1.0) / 3)
    assert (low, high) == (0.5, 1.0)  # the first text drawn twice, or the second
    assert np.isnan(steering_cost([text(0)], [text(0)])).all()


def with_loss(loss: list[float]) -> RoutingTrace:
    """A text with this next-token loss; its last token has none."""
    count = len(loss) + 1
    return make_trace([[[0]] * count], text="abc"[:count], loss=np.array([*loss, np.nan]))
