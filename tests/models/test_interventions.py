"""Rules in force in a real forward pass, against the model's own arithmetic."""

import zlib

import numpy as np
import pytest
import tiny
import torch

import moeviz
from moeviz.models.inputs import model_inputs
from moeviz.models.run import trace_tokens
from moeviz.rules.capacity import RuleError
from moeviz.rules.interventions import Algorithm, Assign, Mute, combined
from moeviz.rules.reading import parse_rule
from moeviz.trace import EMPTY, Tokens

TEXT = "the router sends each token to two experts"
EVERY = (
    "mute 1:0", "mute *:3 drop", "force 0:5", "k=1 @2", "k=3", "temperature 0.5", "noise 1 seed 1",
    "steer 1:+2,-4", "mask 0:1 of 4", "random seed 0 @1", "capacity vmoe 0.5 by slot",
    "route 1:2,6 token 3",
)  # fmt: skip


@pytest.fixture(scope="module")
def model():
    return moeviz.adopt(tiny.olmoe(), tiny.tokenizer(), "tiny")


@pytest.fixture(scope="module")
def plain(model):
    return moeviz.trace_text(model, TEXT)


def run(model, text):
    return moeviz.trace_text(model, TEXT, rule=parse_rule(text))


def gates_by_hand(logits: np.ndarray, ids: np.ndarray) -> np.ndarray:
    """OLMoE: softmax over all experts, not renormalised."""
    odds = np.exp(logits - logits.max(-1, keepdims=True))
    return np.take_along_axis(odds / odds.sum(-1, keepdims=True), ids.astype(int), -1)


def test_a_muted_token_goes_to_its_next_best_with_that_one_s_own_gate(model, plain):
    muted = run(model, "mute 1:0-3")
    allowed = np.argsort(-plain.logits[1][:, 4:], axis=-1)[:, :2] + 4
    np.testing.assert_array_equal(muted.experts[1], allowed)
    np.testing.assert_allclose(muted.gates[1], gates_by_hand(plain.logits[1], allowed), rtol=1e-5)
    np.testing.assert_array_equal(muted.logits[1], plain.logits[1])
    np.testing.assert_array_equal(muted.experts[0], plain.experts[0])
    assert (muted.logits[2] != plain.logits[2]).any()
    assert muted.source.rule == "mute 1:0-3"


def test_a_dropped_expert_leaves_its_slot_empty_and_the_others_as_they_were(model, plain):
    e = int(plain.experts[1, 4, 0])
    dropped = run(model, f"mute 1:{e} drop")
    for token in range(len(plain.tokens)):
        kept = [int(x) for x in plain.experts[1, token] if x != e]
        assert [int(x) for x in dropped.experts[1, token] if x != EMPTY] == kept


def test_only_the_named_tokens_change(model, plain):
    changed = run(model, "mute 1:0-5 tokens 2-3")
    moved = (changed.experts[1] != plain.experts[1]).any(-1)
    assert set(np.flatnonzero(moved)) <= {2, 3} and moved.any()


def test_k_is_the_model_s_own_with_another_k(model):
    """The same weights in a model whose configuration says K = 1, or 3."""
    for k in (1, 3):
        other = moeviz.adopt(tiny.olmoe(num_experts_per_tok=k), tiny.tokenizer(), "other")
        own, ruled = moeviz.trace_text(other, TEXT), run(model, f"k={k}")
        for name in ("experts", "gates", "logits", "loss"):
            np.testing.assert_array_equal(getattr(own, name), getattr(ruled, name))
        assert (ruled.router.chosen, ruled.router.chosen_per_layer) == (k, ())
    uneven = run(model, "k=3 @1")
    assert (uneven.router.chosen, uneven.router.chosen_per_layer) == (3, (2, 3, 2))


def test_the_logits_change_as_the_formula_says(model, plain):
    np.testing.assert_allclose(
        run(model, "temperature 0.5").logits[0], plain.logits[0] * 2, rtol=1e-6
    )
    noisy = run(model, "noise 0.5 seed 3").logits[0]
    drawn = parse_rule("noise 0.5 seed 3").parts[0].drawn("0", np.arange(len(noisy)), 8)
    np.testing.assert_allclose(noisy - plain.logits[0], drawn, atol=1e-5)


def test_steering_is_steermoe_s_own_formula(model, plain):
    """arXiv:2509.09660: on the log-softmax, to max + eps and min - eps, then softmax again."""
    steered = run(model, "steer 1:+2,-4")
    scores = torch.from_numpy(np.array(plain.logits[1])).log_softmax(-1)
    pushed = scores.clone()
    pushed[:, 2] = scores.amax(-1) + 0.01
    pushed[:, 4] = scores.amin(-1) - 0.01
    best = pushed.softmax(-1).topk(2)
    np.testing.assert_array_equal(steered.experts[1], best.indices.numpy())
    np.testing.assert_allclose(steered.gates[1], best.values.numpy(), rtol=1e-4)
    assert (steered.experts[1][:, 0] == 2).all()


def test_random_experts_keep_the_router_s_gates(model, plain):
    drawn = run(model, "random seed 0 @1")
    scores = parse_rule("random seed 0 @1").parts[0].scores("1", np.arange(len(plain.tokens)), 8)
    expected = np.sort(np.argsort(-scores, axis=-1)[:, :2])
    np.testing.assert_array_equal(np.sort(drawn.experts[1]), expected)
    gates = gates_by_hand(plain.logits[1], np.array(drawn.experts[1]))
    np.testing.assert_allclose(drawn.gates[1], gates, rtol=1e-5)


def test_parts_work_together(model, plain):
    """Half the temperature, expert 0 muted, then a capacity: offline, on the changed logits."""
    together = run(model, "temperature 0.5 @0; mute 0:0; capacity absolute 4 by position")
    logits = np.array(plain.logits[0]) * 2
    ids = np.argsort(-logits[:, 1:], axis=-1)[:, :2] + 1
    room, kept = np.full(8, 4), np.zeros(ids.shape, bool)
    for token, slot in np.ndindex(ids.shape):
        kept[token, slot] = room[ids[token, slot]] > 0
        room[ids[token, slot]] -= 1
    sent = [set(row[row != EMPTY].tolist()) for row in together.experts[0]]
    assert sent == [set(row[keep].tolist()) for row, keep in zip(ids, kept, strict=True)]
    assert not kept.all()


class Neighbour(Algorithm):
    """Sends every token to the expert after its first, and every second token to one more."""

    def assign(self, run):
        first = (run.ids[:, :1] + 1) % run.experts
        second = np.where(run.token_ids[:, None] % 2, EMPTY, (first + 1) % run.experts)
        return np.hstack([first, second]), np.full((len(first), 2), 0.5, np.float32)

    def __str__(self):
        return "neighbour"


def test_an_algorithm_takes_the_place_of_the_choice(model, plain):
    trace = moeviz.trace_text(model, TEXT, rule=Assign(Neighbour(), layers=0))
    odd = np.array(plain.tokens.ids) % 2 == 1
    first = np.argmax(plain.logits[0], axis=-1)
    assert trace.source.rule == "assign neighbour @0"
    for token, alone in enumerate(odd):
        wanted = {(first[token] + 1) % 8} | (set() if alone else {(first[token] + 2) % 8})
        assert set(trace.experts[0, token].tolist()) - {EMPTY} == wanted
    assert set(np.unique(trace.gates[0])) == {0, 0.5}
    np.testing.assert_array_equal(
        moeviz.trace_text(model, TEXT, rule=combined(Assign(Neighbour()), Mute(1))).gates[0],
        trace.gates[0],
    )


def test_rules_never_leak(model, plain):
    def hooks():
        return sum(len(m._forward_pre_hooks) + len(m._forward_hooks)
                   for m in model.network.modules())  # fmt: skip

    def checksum():
        return [zlib.crc32(p.detach().numpy().tobytes()) for p in model.network.parameters()]

    there, weights = hooks(), checksum()
    for number in range(20):
        run(model, EVERY[number % len(EVERY)])
    assert (hooks(), checksum()) == (there, weights)
    assert torch.overrides._get_current_function_mode() is None
    assert moeviz.trace_text(model, TEXT).key == plain.key


def test_a_run_that_breaks_leaves_nothing_behind(model, plain):
    def break_it(module, args):
        raise RuntimeError("no memory left\nfor this")

    handle = model.sites[1].experts.register_forward_pre_hook(break_it)
    try:
        with pytest.raises(RuleError) as caught:
            run(model, "mute 1:0; temperature 0.5")
    finally:
        handle.remove()
    assert str(caught.value) == (
        "The model cannot run with the rule mute 1:0; temperature 0.5: no memory left"
    )
    assert torch.overrides._get_current_function_mode() is None
    assert moeviz.trace_text(model, TEXT).key == plain.key


def test_a_swap_that_does_not_fit_the_route_is_one_sentence(model, plain):
    route = sorted(plain.experts[1, 3].tolist())
    other = next(e for e in range(8) if e not in route)
    with pytest.raises(RuleError) as caught:
        run(model, f"swap 1:{other}>{route[0]} token 3")
    assert str(caught.value) == (
        f"Token 3 does not go to expert {other} in layer 1: its experts there are "
        f"{route[0]} and {route[1]}."
    )


@pytest.mark.parametrize("text", ["mute 1:0-2", "noise 1 seed 2", "k=1 @1", "random seed 1 @2"])
def test_writing_under_a_rule_is_reading_under_it(model, text):
    """Prompt and single tokens, one after the other, against the whole text at once."""
    rule = parse_rule(text)
    *_, last = moeviz.generate(model, "le routeur", max_new_tokens=4, rule=rule)
    whole = trace_tokens(model, last.trace.tokens, rule)
    np.testing.assert_array_equal(last.trace.experts, whole.experts)
    np.testing.assert_allclose(last.trace.loss[:-1], whole.loss[:-1], atol=1e-4)
    assert last.trace.source.rule == text


def test_a_rule_for_a_later_token_waits_for_it(model):
    rule = parse_rule("mute 1:0-5 token 5")
    _, *_, last = moeviz.generate(model, "le routeur", max_new_tokens=4, rule=rule)
    assert len(last.trace.tokens) > 5
    assert (last.trace.experts[1, 5] > 5).all()


def test_the_model_itself_agrees_that_a_rule_without_effect_is_the_plain_run(model, plain):
    """Bitwise: the model's own output with hooks of ours against no hooks at all."""
    from moeviz.models.enforce import Enforced

    idle = [e for e in range(8) if (plain.experts[1] != e).all()]
    still = "temperature 1; noise 0; k=2" + (f"; mute 1:{idle[0]}" if idle else "")
    inputs = model_inputs(model.network, plain.tokens.ids)
    with torch.inference_mode():
        bare = model.network(**inputs).logits
        with Enforced(model.sites, model.traits, parse_rule(still)):
            ruled = model.network(**inputs).logits
    assert torch.equal(bare, ruled)


def test_experts_without_a_common_form_are_refused():
    from moeviz.models.zoo import tiny_model

    jetmoe = moeviz.adopt(tiny_model("jetmoe"), None, "jetmoe")
    tokens = Tokens("", [3, 4], np.full((2, 2), -1), [False] * 2, [False] * 2)
    with pytest.raises(RuleError) as caught:
        trace_tokens(jetmoe, tokens, Assign(Neighbour()))
    assert str(caught.value) == (
        "model.layers.0.self_attention.experts takes its experts in a form (sorted) that an "
        "algorithm cannot be put in front of."
    )
