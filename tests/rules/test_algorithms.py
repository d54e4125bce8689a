"""Routing algorithms against tables worked by hand, and what must hold for any logits."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.optimize import linear_sum_assignment

from moeviz.rules import algorithms, balancing
from moeviz.rules.assignment import Weighing, softmax
from moeviz.rules.capacity import RuleError
from moeviz.rules.routing import ALGORITHMS, RoutingRule, rule_from_words
from moeviz.trace import EMPTY

settings.register_profile("unhurried", deadline=None)  # a busy machine is no failure
settings.load_profile("unhurried")

# exp(ln n) = n: the softmax of a row is the row over its sum.
TABLE = np.log(np.array([[6, 3, 1, 2], [5, 4, 2, 1], [4, 1, 1, 2], [8, 2, 1, 1]], float))
IDS = np.array([7, 7, 8, 9])
PERMUTABLE = sorted(set(ALGORITHMS) - {"noisy", "group-limited", "hash", "random"})


@st.composite
def logits(draw, tokens=(1, 40), experts=(2, 8)):
    """[T, E] logits without ties, some layers even and some skewed towards a few experts."""
    seed, skew = draw(st.integers(0, 10_000)), draw(st.sampled_from([0.0, 1.0, 4.0]))
    shape = draw(st.integers(*tokens)), draw(st.integers(*experts))
    rng = np.random.default_rng(seed)
    return rng.normal(size=shape) + skew * rng.normal(size=shape[1])


def rule_for(name: str, experts: int) -> RoutingRule:
    return RoutingRule(name, chosen=min(2, experts), groups=1, kept=1, steps=20)


# ---- tables worked by hand


def test_token_choice_takes_the_largest_and_weighs_by_the_models_recipe():
    found = algorithms.token_choice(TABLE, 2)
    assert found.ids.tolist() == [[0, 1], [0, 1], [0, 3], [0, 1]]
    assert found.gates == pytest.approx(
        np.array([[6, 3], [5, 4], [6, 3], [8, 2]]) / 12
    )  # 4 / 8 and 2 / 8 of the third row
    assert found.load.tolist() == [4, 3, 0, 1]
    assert found.max_violation == 1.0  # 4 against a mean of 2
    assert (found.active, found.dropped, found.left_out, found.causal) == (2, 0, 0, True)
    own = algorithms.token_choice(TABLE, 2, Weighing(renormalised=True, scale=2.5))
    assert own.gates[0] == pytest.approx([2.5 * 2 / 3, 2.5 / 3])


def test_sigmoid_routers_weigh_by_sigmoids():
    found = algorithms.token_choice(np.log([[3.0, 1.0]]), 1, Weighing("sigmoid"))
    assert found.gates.tolist() == [[0.75]]


def test_switch_drops_those_who_come_too_late():
    found = algorithms.switch(TABLE, factor=2)
    assert found.ids.tolist() == [[0], [0], [EMPTY], [EMPTY]]
    assert found.gates[:2, 0] == pytest.approx([6 / 12, 5 / 12])
    assert (found.dropped, found.left_out, found.active) == (2, 2, 0.5)


def test_noise_of_zero_is_token_choice_and_noise_is_seeded():
    plain = algorithms.token_choice(TABLE, 2)
    assert (algorithms.noisy_top_k(TABLE, 2, 0.0).ids == plain.ids).all()
    first, again = (algorithms.noisy_top_k(TABLE, 2, 3.0, seed=1) for _ in range(2))
    other = algorithms.noisy_top_k(TABLE, 2, 3.0, seed=2)
    assert (first.ids == again.ids).all() and (first.ids != other.ids).any()


def test_gshard_keeps_second_choices_with_twice_their_gate():
    even = np.tile(np.log([3.0, 3.0, 1.0, 1.0]), (3000, 1))
    even[1::2] = even[1::2, ::-1]  # half the tokens each way: room for 2T / E = T / 2 at each
    kept = algorithms.gshard(even)
    assert kept.dropped == 0  # g2 = 1/2: always kept, and everything fits
    odd = np.log([9.0, 1.0, 0.1, 0.1])
    found = algorithms.gshard(np.stack([np.roll(odd, shift) for shift in range(4)] * 1000))
    seconds = (found.ids[:, 1] != EMPTY).mean()
    assert seconds == pytest.approx(0.2, abs=0.03)  # g2 = 1/10
    assert not found.causal


def test_gshard_serves_first_choices_first():
    firsts = np.log(np.array([[3, 2, 1], [3, 2, 1], [1, 3, 2]], float))
    found = algorithms.gshard(firsts)  # second choices g2 = 2/5: room for 2 at each expert
    assert set(found.ids[:, 0]) == {0, 1}
    assert found.load.max() <= 2


def test_group_limited_choice_keeps_to_its_groups():
    rows = np.log(np.array([[8, 1, 5, 6], [4, 4, 7, 0.1]]))
    by_best = algorithms.group_limited(rows, 2, groups=2, groups_chosen=1)
    assert by_best.ids.tolist() == [[0, 1], [2, 3]]
    by_two = algorithms.group_limited(rows, 2, groups=2, groups_chosen=1, score="top2")
    assert by_two.ids.tolist() == [[3, 2], [0, 1]]
    free = algorithms.group_limited(rows, 2, groups=2, groups_chosen=2)
    assert (free.ids == algorithms.token_choice(rows, 2).ids).all()


def test_expert_choice_by_hand():
    found = algorithms.expert_choice(TABLE, factor=1)  # one token an expert
    # Shares: expert 0 likes token 3 (8/12), 1 token 1 (4/12), 2 token 1 (2/12), 3 token 2 (2/8).
    assert found.ids.tolist() == [[EMPTY, EMPTY], [1, 2], [3, EMPTY], [0, EMPTY]]
    assert found.weights[1] == pytest.approx([0, 4 / 12, 2 / 12, 0])
    assert (found.left_out, found.dropped, found.causal, found.active) == (1, 0, False, 1)


def test_soft_moe_by_hand():
    found = algorithms.soft_moe(TABLE)
    assert found.weights[0] == pytest.approx(np.array([6, 3, 1, 2]) / 12)
    assert found.dispatch[:, 0] == pytest.approx(np.array([6, 5, 4, 8]) / 23)
    assert (found.max_violation, found.active, found.causal) == (0, 1, False)
    assert found.load.tolist() == [1, 1, 1, 1]


def test_hash_depends_on_the_token_alone():
    found = algorithms.hashed(TABLE, IDS, 2)
    assert found.ids[0].tolist() != found.ids[2].tolist()
    assert set(found.ids[0]) == set(found.ids[1])
    other_text = algorithms.hashed(TABLE[::-1], IDS[::-1], 2)
    assert (other_text.taken[::-1] == found.taken).all()


def test_hash_and_random_choose_evenly():
    flat = np.zeros((20_000, 8))
    for found in (
        algorithms.hashed(flat, np.arange(20_000), 2),
        algorithms.uniform(flat, 2),
    ):
        # Binomial(20000, 1/4): standard deviation 61; four of them.
        assert abs(found.load - 5000).max() < 250


def test_balanced_assignment_by_hand():
    # Both tokens like expert 0; the second loses less by giving way.
    assert balancing.base(np.array([[5.0, 1.0], [4.0, 3.0]])).ids.tolist() == [[0], [1]]


def test_loss_free_bias_by_hand():
    scores = np.log(np.array([[0.6, 0.4], [0.9, 0.1]]))
    found = balancing.loss_free(scores, 1, speed=0.05, steps=5)
    # Expert 0 has both tokens until its bias and that of expert 1 differ by more than 0.2.
    assert found.balancing.load.tolist() == [[2, 0], [2, 0], [2, 0], [1, 1], [1, 1], [1, 1]]
    assert found.balancing.bias[3:] == pytest.approx(np.array([[-0.15, 0.15]] * 3))
    assert found.balancing.max_violation.tolist() == [1, 1, 1, 0, 0, 0]
    assert found.ids.tolist() == [[1], [0]]
    assert found.gates == pytest.approx(np.array([[0.4], [0.9]]))  # scores, without the bias


# ---- what must hold for any logits


@given(logits(), st.sampled_from([0.25, 1.0, 1.5, 2.0]))
def test_expert_choice_fills_every_expert_to_its_capacity(table, factor):
    tokens, experts = table.shape
    room = min(tokens, max(1, round(tokens * factor / experts)))
    found = algorithms.expert_choice(table, factor)
    assert (found.load == room).all()
    shares = softmax(table, axis=1)
    for expert in range(experts):
        inside = found.taken[:, expert]
        if not inside.all():
            assert shares[inside, expert].min() >= shares[~inside, expert].max()


@given(logits())
def test_sinkhorn_is_balanced_both_ways(table):
    tokens, experts = table.shape
    plan = balancing.sinkhorn_plan(table)
    assert plan.sum(axis=1) == pytest.approx(np.ones(tokens))
    assert plan.sum(axis=0) == pytest.approx(np.full(experts, tokens / experts), rel=2e-4)
    # Scaling rows and columns leaves every odds ratio as it was: the plan is the logits' own.
    odds = np.log(plan)
    ratio = (odds - odds[:1]) - (odds - odds[:1])[:, :1]
    want = (table - table[:1]) - (table - table[:1])[:, :1]
    assert ratio == pytest.approx(want, abs=1e-6)


@given(logits(tokens=(1, 24), experts=(2, 5)))
def test_balanced_assignment_is_the_best_there_is(table):
    tokens, experts = table.shape
    low, extra = divmod(tokens, experts)
    found = balancing.base(table)
    assert sorted(found.load) == sorted([low + 1] * extra + [low] * (experts - extra))
    # scipy: low places at every expert and one more at each, of which `extra` may be used; dummy
    # tokens take the rest of these, and only these.
    places = np.repeat(np.arange(experts), low + 1)
    spare = np.tile(np.arange(low + 1) == low, experts)
    gain = np.full((tokens + experts - extra, len(places)), -1e6)
    gain[:tokens] = table[:, places]
    gain[tokens:, spare] = 0
    rows, columns = linear_sum_assignment(gain, maximize=True)
    best = gain[rows, columns][rows < tokens].sum()
    assert np.take_along_axis(table, found.ids.astype(int), 1).sum() == pytest.approx(best)


@settings(max_examples=10)
@given(st.integers(0, 1000))
def test_loss_free_bias_balances_a_skewed_batch(seed):
    rng = np.random.default_rng(seed)
    table = rng.normal(size=(2048, 8)) + np.linspace(-1.5, 1.5, 8)
    found = balancing.loss_free(table, 2, speed=0.001, steps=800, weighing=Weighing("sigmoid"))
    assert found.balancing.max_violation[0] > 0.8
    assert found.max_violation < 0.1
    assert (found.load == found.balancing.load[-1]).all()


@given(logits(), st.integers(1, 60))
def test_steps_that_undo_each_other_are_repeated_as_they_would_be_computed(table, steps):
    found = balancing.loss_free(table, 1, speed=0.05, steps=steps).balancing
    scores, nudges = softmax(table, axis=1), np.zeros(table.shape[1], int)
    for step in range(steps + 1):
        load = np.bincount((scores + 0.05 * nudges).argmax(axis=1), minlength=len(nudges))
        assert found.load[step].tolist() == load.tolist()
        nudges += np.sign(len(table) - len(nudges) * load)


@given(logits())
def test_soft_moe_weights_sum_to_one(table):
    found = algorithms.soft_moe(table)
    assert found.weights.sum(axis=1) == pytest.approx(np.ones(len(table)), abs=1e-5)
    assert found.dispatch.sum(axis=0) == pytest.approx(np.ones(table.shape[1]))


@given(logits(tokens=(3, 40)), st.sampled_from(PERMUTABLE), st.integers(0, 1000))
def test_renaming_experts_renames_and_nothing_more(table, name, seed):
    order = np.random.default_rng(seed).permutation(table.shape[1])
    rule = rule_for(name, table.shape[1])
    ids = np.arange(len(table))
    plain, renamed = rule.applied(table, ids), rule.applied(table[:, order], ids)
    assert renamed.weights == pytest.approx(plain.weights[:, order], abs=1e-6)
    assert (renamed.load == plain.load[order]).all()
    assert renamed.dropped == plain.dropped


@given(logits(tokens=(2, 30)), st.sampled_from(sorted(ALGORITHMS)))
def test_a_causal_algorithm_does_not_look_ahead(table, name):
    rule = rule_for(name, table.shape[1])
    ids = np.arange(len(table))
    whole = rule.applied(table, ids)
    if name == "loss-free" or not whole.causal:
        return  # its bias stands for the texts that came before
    other = table.copy()
    other[-1] = other[-1, ::-1] * 3 + 1
    changed = rule.applied(other, ids)
    assert (changed.taken[:-1] == whole.taken[:-1]).all()


@given(logits(), st.sampled_from(sorted(ALGORITHMS)))
def test_every_assignment_adds_up(table, name):
    rule = rule_for(name, table.shape[1])
    found = rule.applied(table, np.arange(len(table)))
    assert found.load.sum() == found.runs
    assert found.weights.shape == table.shape and (found.weights >= 0).all()
    assert (found.taken.sum(axis=1) == (found.ids != EMPTY).sum(axis=1)).all()
    assert (np.diff(np.where(found.ids == EMPTY, -1, found.gates), axis=1) <= 1e-7).all()


# ---- rules and their sentences


@given(st.sampled_from(sorted(ALGORITHMS)), st.integers(1, 9), st.sampled_from([0.5, 1.25]))
def test_a_rule_can_be_read_back_from_its_words(name, chosen, factor):
    rule = RoutingRule(name, chosen=chosen, factor=factor, seed=3)
    back = rule_from_words(str(rule))
    assert (back.name, back.settings) == (name, rule.settings)


@pytest.mark.parametrize(
    ("rule", "sentence"),
    [
        (RoutingRule(chosen=5), "A token cannot choose 5 of 4 experts. Choose K from 1 to 4."),
        (RoutingRule("hash", 0), "A token cannot choose 0 of 4 experts. Choose K from 1 to 4."),
        (
            RoutingRule("expert-choice", factor=0),
            "The capacity factor must be a number above 0, not 0.",
        ),
        (
            RoutingRule("group-limited", groups=3),
            "4 experts cannot be parted into 3 equal groups. "
            "Choose a number of groups that divides 4.",
        ),
        (
            RoutingRule("group-limited", groups=2, kept=3),
            "A token cannot keep 3 of 2 groups. Choose from 1 to 2.",
        ),
        (
            RoutingRule("group-limited", groups=4, kept=1),
            "1 of 4 groups holds 1 of 4 experts, fewer than 2. "
            "Keep more groups, or choose a smaller K.",
        ),
        (
            RoutingRule("noisy", noise=-1),
            "The noise must be a number of at least 0, not -1.",
        ),
        (
            RoutingRule("loss-free", speed=0),
            "Balancing needs a speed above 0 and at least 1 step, not 0 and 300.",
        ),
        (
            RoutingRule("sinkhorn", temperature=0),
            "The temperature must be a number above 0, not 0.",
        ),
        (
            RoutingRule("sinkhorn", temperature=0.001),
            "At temperature 0.001 the sums did not settle in 10,000 rounds. "
            "Choose a higher temperature.",
        ),
    ],
)
def test_a_setting_that_does_not_fit_is_one_sentence(rule, sentence):
    with pytest.raises(RuleError) as error:
        rule.applied(TABLE, IDS)
    assert str(error.value) == sentence


def test_an_unknown_algorithm_is_named():
    with pytest.raises(RuleError) as error:
        RoutingRule("best")
    assert str(error.value) == f"Algorithm 'best' is not one of {', '.join(ALGORITHMS)}."


def test_what_is_drawn_differs_from_layer_to_layer():
    rule = RoutingRule("random", seed=5)
    first, again = (rule.applied(TABLE, IDS, layer=1).ids.tolist() for _ in range(2))
    assert first == again
    assert any(rule.applied(TABLE, IDS, layer=n).ids.tolist() != first for n in range(2, 5))


@pytest.mark.parametrize("words", ["", "best", "dense x", "mute 3", "hash seed=a"])
def test_words_that_are_no_rule_are_said_to_be_none(words):
    with pytest.raises(RuleError) as error:
        rule_from_words(words)
    assert str(error.value) == (
        f'{words!r} is no routing rule; write for example "expert-choice factor=1.25".'
    )


@given(arrays(np.float64, (6, 4), elements=st.floats(-30, 30)))
def test_ties_and_extremes_break_nothing(table):
    for name in ALGORITHMS:
        try:
            found = rule_for(name, 4).applied(table, np.arange(6))
        except RuleError as error:
            assert "did not settle" in str(error)
            continue
        assert np.isfinite(found.weights).all()
