"""What a change costs: shared runs against separate ones, and predictions against plain softmax."""

from dataclasses import replace

import numpy as np
import pytest
import tiny
import torch

import moeviz
from moeviz.models.enforce import Enforced
from moeviz.models.inputs import TextError, model_inputs
from moeviz.models.prefix import Prefix
from moeviz.models.run import text_tokens, trace_tokens
from moeviz.models.what_if import (
    COPIES_BYTES,
    ablation_losses,
    copies_at_once,
    losses_under,
    route_count,
    route_losses,
    what_if,
)
from moeviz.rules.capacity import RuleError
from moeviz.rules.interventions import Mute, Route
from moeviz.rules.reading import parse_rule

TEXT = "the router sends each token to two experts"


@pytest.fixture(scope="module")
def model():
    network = tiny.olmoe()
    with torch.no_grad():
        network.lm_head.weight *= 50  # random weights alone predict nearly the same everywhere
    return moeviz.adopt(network, tiny.tokenizer(), "tiny")


@pytest.fixture(scope="module")
def tokens(model):
    return text_tokens(model, TEXT)[0]


@pytest.fixture(scope="module")
def plain(model, tokens):
    return trace_tokens(model, tokens)


def test_predictions_are_the_softmax_of_both_runs(model, plain):
    rule = parse_rule("mute 1:0-3; temperature 2 @2")
    trace, found = what_if(model, TEXT, rule)
    assert trace.key == moeviz.trace_text(model, TEXT, rule=rule).key
    inputs = model_inputs(model.network, plain.tokens.ids)
    with torch.inference_mode():
        p = model.network(**inputs).logits[0].double().softmax(-1).numpy()
        with Enforced(model.sites, model.traits, rule):
            q = model.network(**inputs).logits[0].double().softmax(-1).numpy()
    np.testing.assert_allclose(found.kl, (p * np.log(p / q)).sum(-1), rtol=1e-2, atol=1e-6)
    for odds, ids, shown in (
        (p, found.before_ids, found.before),
        (q, found.after_ids, found.after),
    ):
        np.testing.assert_array_equal(ids, np.argsort(-odds, axis=-1)[:, :5])
        np.testing.assert_allclose(shown, -np.sort(-odds, axis=-1)[:, :5], rtol=1e-4)
    assert (found.kl >= 0).all() and found.kl.max() > 1e-3
    assert set(found.pieces) == {*found.before_ids.ravel(), *found.after_ids.ravel()}


def test_the_divergence_is_worked_by_hand():
    from moeviz.models.what_if import compared

    before = torch.tensor([[0.0, 0.0, -torch.inf], [1.0, 2.0, 3.0]])
    after = torch.tensor([[0.0, np.log(3.0), -torch.inf], [1.0, 2.0, 3.0]])
    found = compared(before, after, None)
    by_hand = 0.5 * np.log(0.5 / 0.25) + 0.5 * np.log(0.5 / 0.75)
    np.testing.assert_allclose(found.kl, [by_hand, 0], atol=1e-6)
    assert found.pieces[1] == "id 1"


def test_without_a_change_nothing_is_predicted_otherwise(model):
    _, found = what_if(model, TEXT, parse_rule("temperature 1"))
    assert (found.kl == 0).all()
    np.testing.assert_array_equal(found.before, found.after)


@pytest.mark.parametrize("drop", [False, True])
@pytest.mark.parametrize("row", [0, 1, 2])
def test_a_sweep_is_separate_runs_but_for_rounding(model, tokens, plain, row, drop):
    assert copies_at_once(model, len(tokens)) == 8
    losses = dict(ablation_losses(model, tokens, str(row), drop))
    assert list(losses) == list(range(8))
    for expert, loss in losses.items():
        alone = trace_tokens(model, tokens, Mute(expert, drop, layers=row))
        np.testing.assert_allclose(loss, alone.loss, rtol=0, atol=1e-4)
        if not (plain.experts[row] == expert).any():
            np.testing.assert_array_equal(loss, plain.loss)


def test_one_pass_of_a_sweep_stays_small(model, tokens):
    held = copies_at_once(model, 20_000)
    assert 1 <= held < 8 and held * 20_000 * 300 * 4 <= COPIES_BYTES
    assert copies_at_once(replace(model, parameters=10**10), len(tokens)) == 1
    assert copies_at_once(replace(model, dtype="bfloat16"), len(tokens)) == 1
    one = replace(model.routers["decoder"], capacity=4)
    assert copies_at_once(replace(model, routers={"decoder": one}), len(tokens)) == 1


def test_where_copies_touch_one_another_each_expert_has_a_run_of_its_own():
    network = tiny.olmoe()
    network.lm_head.weight.data *= 50
    model = moeviz.adopt(network, tiny.tokenizer(), "mixing")
    tokens = text_tokens(model, TEXT)[0]

    def mix(module, args, output):
        return output + output.cumsum(0)  # each text of a batch finds what those before it left

    network.model.layers[2].register_forward_hook(mix)
    losses = dict(ablation_losses(model, tokens, "1"))
    for expert, loss in losses.items():
        alone = trace_tokens(model, tokens, Mute(expert, layers=1))
        np.testing.assert_array_equal(loss, alone.loss)


def test_a_model_that_takes_one_text_only_is_swept_too(model, tokens):
    def one_text(module, args):
        if len(args[0]) != 1:
            raise ValueError("one text at a time")

    refusal = model.network.model.layers[2].register_forward_pre_hook(one_text)
    losses = dict(ablation_losses(model, tokens, "1"))
    alone = trace_tokens(model, tokens, Mute(3, layers=1))
    refusal.remove()
    np.testing.assert_array_equal(losses[3], alone.loss)


def test_a_sweep_that_is_given_up_leaves_nothing_behind(model, tokens, plain):
    sweep = ablation_losses(model, tokens, "2")
    next(sweep)
    assert trace_tokens(model, tokens).key == plain.key  # the model is free between two experts
    sweep.close()
    assert not any("forward" in module.__dict__ for module in model.network.modules())
    assert trace_tokens(model, tokens).key == plain.key


def test_more_is_shared_the_deeper_the_layer(model, tokens):
    inputs = model_inputs(model.network, tokens.ids)
    shared = [Prefix(model, inputs, site).shared for site in model.sites]
    assert shared == sorted(set(shared))
    prefix = Prefix(model, inputs, model.sites[2])
    for _ in range(2):
        assert torch.equal(prefix.run(None).logits, prefix.output.logits)


def test_every_route_costs_what_a_run_of_the_whole_text_says(model, tokens, plain):
    found = list(route_losses(model, tokens, "1", 5))
    assert len(found) == route_count(8, 2) == 28
    assert found[0][0] == tuple(sorted(plain.experts[1, 5].tolist()))
    assert found[0][1] == pytest.approx(plain.loss[5], abs=1e-3)
    assert len({experts for experts, _ in found}) == 28
    for experts, loss in found[::6]:
        whole = trace_tokens(model, tokens, Route(experts, layers=1, tokens=5))
        assert loss == pytest.approx(whole.loss[5], abs=1e-3)


def test_a_large_search_takes_single_swaps_that_the_router_likes(model, tokens, plain):
    found = [experts for experts, _ in route_losses(model, tokens, "1", 5, most=5)]
    own = set(found[0])
    liked = [e for e in np.argsort(-plain.logits[1, 5]) if e not in own]
    assert len(found) == route_count(8, 2, most=5) == 6
    assert all(len(own & set(experts)) == 1 for experts in found[1:])
    assert [(set(e) - own).pop() for e in found[1:]] == [liked[0]] * 2 + [liked[1]] * 2 + [liked[2]]


def test_the_last_token_has_no_better_route(model, tokens):
    last = len(tokens) - 1
    with pytest.raises(TextError) as caught:
        next(route_losses(model, tokens, "1", last))
    assert str(caught.value) == (
        f"Token {last} has no next token, so no route can be better or worse."
    )
    with pytest.raises(RuleError) as caught:
        next(route_losses(model, tokens, "7", 0))
    assert str(caught.value) == ("Layer 7 is not one of the routed layers. Choose one of 0, 1, 2.")


def test_losses_under_rules_are_those_of_the_traces(model, tokens):
    rules = [parse_rule("mute 1:0"), None, parse_rule("random seed 1")]
    for loss, rule in zip(losses_under(model, tokens, rules), rules, strict=True):
        np.testing.assert_array_equal(loss, trace_tokens(model, tokens, rule).loss)


def test_the_decoder_of_an_encoder_decoder_can_be_searched_too():
    model = moeviz.adopt(tiny.switch(), tiny.tokenizer(), "switch")
    tokens = text_tokens(model, "le routeur")[0]
    plain = trace_tokens(model, tokens, stack="decoder")
    name = str(plain.layers[0])
    token = int(np.flatnonzero((plain.experts[0] >= 0).all(-1))[1])
    found = list(route_losses(model, tokens, name, token))
    assert len(found) == 4
    assert found[0][1] == pytest.approx(plain.loss[token], abs=1e-4)
    losses = dict(ablation_losses(model, tokens, name))
    alone = trace_tokens(model, tokens, Mute(0, layers=name), stack="decoder")
    np.testing.assert_array_equal(losses[0], alone.loss)
