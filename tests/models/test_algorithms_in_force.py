"""A routing algorithm in the place of a running model's own choice."""

import numpy as np
import pytest
import tiny

import moeviz
from moeviz.metrics.rerouted import rerouted_layer
from moeviz.rules.assignment import Weighing
from moeviz.rules.capacity import RuleError
from moeviz.rules.interventions import Assign, LayerRun
from moeviz.rules.reading import parse_rule
from moeviz.rules.routing import ALGORITHMS, RoutingRule
from moeviz.trace import EMPTY

TEXT = "the router sends each token to two experts"


@pytest.fixture(scope="module")
def model():
    return moeviz.adopt(tiny.olmoe(), tiny.tokenizer())


@pytest.fixture(scope="module")
def plain(model):
    return moeviz.trace_text(model, TEXT)


def run(model, rule: RoutingRule):
    return moeviz.trace_text(model, TEXT, rule=Assign(rule))


@pytest.mark.parametrize("changes", [{}, {"norm_topk_prob": True}])
def test_token_choice_with_the_models_own_k_changes_nothing(changes):
    model = moeviz.adopt(tiny.olmoe(**changes), tiny.tokenizer())
    plain, forced = moeviz.trace_text(model, TEXT), run(model, RoutingRule())
    assert (forced.experts == plain.experts).all()
    assert forced.gates == pytest.approx(plain.gates, abs=1e-6)
    assert forced.loss[:-1] == pytest.approx(plain.loss[:-1], abs=1e-4)


@pytest.mark.parametrize("name", sorted(set(ALGORITHMS) - {"soft"}))
def test_the_first_layer_is_what_was_simulated_and_the_rest_follows(model, plain, name):
    rule = RoutingRule(name, groups=2, kept=1, seed=3)
    forced = run(model, rule)
    assert forced.source.rule == f"assign {rule}"
    for row in range(3):
        # Layer by layer, the algorithm on the logits of the run itself gives the run's own route.
        made = rerouted_layer(plain if row == 0 else forced, row, rule).assignment
        used = [set(ids[ids != EMPTY]) for ids in made.ids]
        assert [set(ids[ids != EMPTY]) for ids in forced.experts[row]] == used
    assert np.isfinite(forced.loss[:-1]).all()


def test_expert_choice_fills_every_expert_in_the_running_model(model, plain):
    forced = run(model, RoutingRule("expert-choice", factor=2))
    tokens, experts = plain.shape[1:3]
    room = round(2 * tokens / experts)
    for row in range(3):
        ids = forced.experts[row]
        assert np.bincount(ids[ids != EMPTY], minlength=experts).tolist() == [room] * experts


def test_a_token_without_an_expert_passes_the_layer_by(model):
    forced = run(model, RoutingRule("switch", factor=0.1))  # room for no token at all
    assert (forced.experts == EMPTY).all()
    bare = tiny.olmoe()
    for layer in bare.model.layers:
        layer.mlp.experts.down_proj.data.zero_()
    silent = moeviz.trace_text(moeviz.adopt(bare, tiny.tokenizer()), TEXT)
    assert forced.loss[:-1] == pytest.approx(silent.loss[:-1], abs=1e-5)


def test_a_rule_leaves_no_trace_behind(model, plain):
    run(model, RoutingRule("random"))
    assert moeviz.trace_text(model, TEXT).key == plain.key


def test_the_short_form_is_read_back_with_its_layers():
    rule = parse_rule("assign noisy chosen=3 noise=0.5 seed=1 @2,3")
    assert str(rule) == "assign noisy chosen=3 noise=0.5 seed=1 @2,3"
    assert rule.parts == (Assign(RoutingRule("noisy", 3, noise=0.5, seed=1), layers=("2", "3")),)


@pytest.mark.parametrize(
    ("rule", "sentence"),
    [
        (
            RoutingRule("soft"),
            "Soft MoE mixes tokens before the experts read them, which no choice of experts can "
            "do, so it cannot be enforced.",
        ),
        (RoutingRule(chosen=9), "A token cannot choose 9 of 8 experts. Choose K from 1 to 8."),
    ],
)
def test_what_cannot_be_enforced_is_one_sentence(model, rule, sentence):
    with pytest.raises(RuleError) as error:
        run(model, rule)
    assert str(error.value) == sentence


LOGITS = np.log(np.array([[4.0, 2, 1, 1], [1, 5, 2, 2]]))
IDS = np.array([[0, 1], [1, 2]])


@pytest.mark.parametrize("scoring", ["softmax", "sigmoid"])
@pytest.mark.parametrize(("renormalised", "scale"), [(False, 1), (True, 1), (False, 2.5)])
def test_the_models_recipe_is_seen_in_its_gates(scoring, renormalised, scale):
    weighing = Weighing(scoring, renormalised, scale)
    seen = Weighing.seen_in(LOGITS, IDS, weighing.gates(LOGITS, IDS))
    assert (seen.scoring, seen.renormalised) == (weighing.scoring, weighing.renormalised)
    assert seen.scale == pytest.approx(weighing.scale)


def test_a_recipe_that_is_not_known_is_refused():
    gates = np.array([[0.9, 0.2], [0.1, 0.7]])
    assert Weighing.seen_in(LOGITS, IDS, gates) is None
    with pytest.raises(RuleError) as error:
        RoutingRule().assign(LayerRun("3", 4, 2, LOGITS, IDS, gates, np.arange(2)))
    assert str(error.value) == (
        "Layer 3 weighs its experts in a way that does not follow from its logits alone, so other "
        "experts could not be weighed alike."
    )
    with pytest.raises(RuleError) as error:
        RoutingRule().assign(LayerRun("3a", 4, 2, None, IDS, gates, np.arange(2)))
    assert str(error.value) == "Layer 3a shows no logits of the text's tokens to choose by."
