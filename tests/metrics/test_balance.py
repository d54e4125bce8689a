"""Balance by hand, against chance, and against the published counts of OLMoE and Mixtral."""

import math

import numpy as np
import pytest
from handmade import make_trace

from moeviz.corpora.published import published_routing
from moeviz.metrics.balance import (
    balance,
    balance_chance,
    evenness,
    gini,
    loss_chance,
    max_violation,
    pooled_aux_loss,
    switch_aux_loss,
    variation,
    z_loss_chance,
)
from moeviz.metrics.load import random_choices
from moeviz.metrics.overflow import pooled_overflow


def test_a_table_worked_by_hand():
    # Layer 0: expert 0 takes 3 of 4, expert 1 takes 1, two are dead. Mean is 1.
    trace = make_trace([[[0], [0], [1], [0]], [[0], [1], [2], [3]]])
    found = balance(trace)
    assert found.share.tolist() == [[0.75, 0.25, 0, 0], [0.25] * 4]
    assert found.max_violation.tolist() == [2.0, 0.0]
    assert found.cv[0] == pytest.approx(math.sqrt((4 + 0 + 1 + 1) / 4))
    entropy = -(0.75 * math.log(0.75) + 0.25 * math.log(0.25)) / math.log(4)
    assert found.entropy.tolist() == pytest.approx([entropy, 1.0])
    # Ordered 0, 0, 1, 3 with weights -3, -1, 1, 3: (1 + 9) / (4 * 4).
    assert found.gini.tolist() == pytest.approx([10 / 16, 0.0])
    assert found.dead.tolist() == [2, 0]
    assert np.isnan(found.aux_loss).all()
    assert np.isnan(found.z_loss).all()


def test_losses_worked_by_hand():
    # Two experts, probabilities 3/4 and 1/4 for every token, all choose expert 0.
    logits = np.tile(np.log([3.0, 1.0]), (1, 4, 1))
    trace = make_trace([[[0], [0], [0], [0]]], np.full((1, 4, 1), 0.75), logits, number=2)
    found = balance(trace)
    assert found.aux_loss[0] == pytest.approx(2 * (1 * 0.75 + 0 * 0.25))
    assert found.z_loss[0] == pytest.approx(math.log(4) ** 2)
    assert found.importance[0] == pytest.approx(1.0)  # sums 3 and 0: std 1.5 over mean 1.5


def test_switch_loss_is_one_when_even_and_the_number_of_experts_when_collapsed():
    even = switch_aux_loss(np.arange(8), np.full((8, 8), 1 / 8))
    collapsed = switch_aux_loss(np.zeros(8, int), np.eye(8)[np.zeros(8, int)])
    assert (even, collapsed) == (pytest.approx(1.0), pytest.approx(8.0))


def test_pooling_layers_hides_a_collapse():
    """Four layers, each collapsed onto another expert, look even in one pool."""
    ids = [[[layer]] * 4 for layer in range(4)]
    logits = np.stack([np.tile(60.0 * np.eye(4)[layer], (4, 1)) for layer in range(4)])
    trace = make_trace(ids, np.ones((4, 4, 1)), logits)
    assert pooled_aux_loss(trace) == pytest.approx(1.0)  # K = 1: "perfect"
    assert balance(trace).aux_loss.tolist() == pytest.approx([4.0] * 4)


def test_a_collapsed_layer_has_the_greatest_violation():
    trace = make_trace([[[0, 1]] * 4])
    assert balance(trace).max_violation[0] == pytest.approx(4 / 2 - 1)


def test_renaming_experts_changes_nothing_but_names(tiny_trace):
    renamed = make_trace(3 - tiny_trace.experts, tiny_trace.gates, tiny_trace.logits[..., ::-1])
    before, after = balance(tiny_trace), balance(renamed)
    for name in ("cv", "max_violation", "entropy", "gini", "dead", "aux_loss", "z_loss"):
        np.testing.assert_allclose(getattr(before, name), getattr(after, name), rtol=1e-6)
    np.testing.assert_allclose(before.share, after.share[:, ::-1])


def test_the_chance_band_holds_95_percent_of_fresh_random_routers():
    chance = balance_chance(100, 8, 2, draws=1000)
    from moeviz.metrics.load import random_loads

    fresh = max_violation(random_loads(100, 8, 2, 1000, seed=99))
    inside = ((fresh >= chance.max_violation[0]) & (fresh <= chance.max_violation[1])).mean()
    assert inside == pytest.approx(0.95, abs=0.03)


def test_chance_of_the_losses_is_that_of_fresh_random_routers():
    """200 tokens, top-2 of 8, steep gates: a random router's own losses lie in the band."""
    rng = np.random.default_rng(5)
    ids = np.stack([rng.permuted(random_choices(rng, 200, 8, 2), axis=1) for _ in range(60)])
    gates = np.tile([0.9, 0.1], (60, 200, 1))
    trace = make_trace(ids, gates, np.zeros((60, 200, 8)), number=8, text="x" * 200)
    found, chance = balance(trace), loss_chance(trace, draws=400)
    inside = (found.importance >= chance.importance_low) & (
        found.importance <= chance.importance_high
    )
    assert inside.mean() == pytest.approx(0.95, abs=0.07)
    assert found.aux_loss == pytest.approx(1.0)  # uniform probabilities: whatever is chosen
    assert chance.aux_low == pytest.approx(1.0) and chance.aux_high == pytest.approx(1.0)
    narrow = balance_chance(200, 8, 2).cv[1] ** 2  # equal gates would make the band too narrow
    assert chance.importance_high[0] > 1.3 * narrow


def test_the_chance_of_the_auxiliary_loss_follows_the_models_own_probabilities():
    logits = np.tile(np.log([3.0, 1.0]), (1, 400, 1))
    trace = make_trace(np.zeros((1, 400, 1), int), None, logits, number=2, text="x" * 400)
    chance = loss_chance(trace, draws=4000)
    # 2 (f 3/4 + (1 - f) 1/4) = 1/2 + f with f of mean 1/2 and deviation 1/40.
    assert chance.aux_low[0] == pytest.approx(1 - 1.96 / 40, abs=0.005)
    assert chance.aux_high[0] == pytest.approx(1 + 1.96 / 40, abs=0.005)


def test_the_z_loss_lies_in_its_band_unless_a_tokens_logits_hang_together():
    """Layer 0 draws every logit alone; layer 1 adds one number to all logits of a token."""
    rng = np.random.default_rng(2)
    alone = rng.normal(size=(2, 300, 8))
    alone[1] += rng.normal(scale=2, size=(300, 1))
    trace = make_trace(np.zeros((2, 300, 1), int), None, alone, number=8, text="x" * 300)
    low, high = z_loss_chance(trace)
    found = balance(trace).z_loss
    assert low[0] <= found[0] <= high[0]
    assert not low[1] <= found[1] <= high[1]
    same = make_trace(np.zeros((1, 9, 1), int), None, np.ones((1, 9, 4)), number=4, text="x" * 9)
    low, high = z_loss_chance(same)
    assert low == high == pytest.approx((1 + math.log(4)) ** 2)
    assert np.isnan(z_loss_chance(make_trace([[[0], [1]]], text="ab"))).all()


PUBLISHED = [
    # domain, layer, expert, percent of tokens, CV, MaxVio, H/ln E, drops at CF 1 / 1.25 / 1.5 / 2
    ("github", 0, 21, 62.6, 0.661, 4.01, 0.961, (20.0, 12.6, 8.5, 5.4)),
    ("github", 7, 17, 77.0, 1.349, 5.16, 0.851, (44.2, 37.5, 32.6, 25.9)),
    ("arxiv", 0, 0, 97.7, 0.951, 6.81, 0.943, (21.8, 16.0, 12.7, 9.9)),
    ("arxiv", 15, 17, 93.7, 1.250, 6.49, 0.864, (42.0, 35.2, 29.6, 20.9)),
    ("wikipedia", 15, 36, 58.1, 1.301, 3.65, 0.829, (51.5, 44.5, 38.2, 27.1)),
    ("book", 15, 45, 36.6, 0.777, 1.93, 0.926, (32.5, 23.2, 15.4, 5.7)),
    ("c4", 0, 41, 37.7, 0.324, 2.02, 0.990, (9.1, 4.0, 2.4, 1.6)),
]


@pytest.mark.parametrize(
    ("domain", "layer", "expert", "percent", "cv", "violation", "entropy", "drops"), PUBLISHED
)
def test_published_counts_of_olmoe(domain, layer, expert, percent, cv, violation, entropy, drops):
    """OLMoE-1B-7B, 208,896 tokens a domain, pooled with unrounded capacity (arXiv:2409.02060)."""
    data = published_routing("olmoe")
    counts = data.counts[domain][data.layers.index(layer)]
    assert counts.argmax() == expert
    assert round(100 * counts.max() / data.tokens, 1) == percent
    assert variation(counts) == pytest.approx(cv, abs=5e-4)
    assert max_violation(counts) == pytest.approx(violation, abs=5e-3)
    assert evenness(counts) == pytest.approx(entropy, abs=5e-4)
    found = [100 * pooled_overflow(counts, factor) for factor in (1, 1.25, 1.5, 2)]
    assert found == pytest.approx(drops, abs=0.051)


def test_published_counts_of_mixtral():
    data = published_routing("mixtral")
    share = {d: counts / data.tokens for d, counts in data.counts.items()}
    busiest = max(share, key=lambda domain: share[domain].max())
    assert busiest == "github"
    assert round(100 * share["github"][data.layers.index(15)].max(), 1) == 33.2
    drops = [pooled_overflow(row, 1.25) for counts in data.counts.values() for row in counts]
    assert max(drops) == pytest.approx(0.010, abs=5e-4)


def test_gini_of_one_expert_taking_all():
    assert gini(np.array([0, 0, 0, 12])) == pytest.approx(1 - 1 / 4)
