"""Rules as values: their short form, what they ask of a layer, and what is impossible."""

import numpy as np
import pytest

from moeviz.rules.capacity import CapacityRule, RuleError
from moeviz.rules.interventions import (
    ChangeK,
    Force,
    MaskGroups,
    Mute,
    Noise,
    RandomExperts,
    Route,
    Rule,
    Steer,
    Swap,
    Temperature,
    as_rule,
    check_rule,
    combined,
    random_mutes,
)
from moeviz.rules.reading import parse_rule

SIZES = [(str(layer), 16, 2) for layer in range(6)]
FORMS = [
    (Mute(3, layers=2), "mute 2:3"),
    (Mute((5, 3, 4, 9), drop=True, layers=(2, 4), tokens=(7, 6, 1)),
     "mute 2,4:3-5,9 drop tokens 1,6-7"),
    (Mute(0), "mute *:0"),
    (MaskGroups(1, 4, layers=3), "mask 3:1 of 4"),
    (MaskGroups((0, 1), 8, drop=True), "mask *:0-1 of 8 drop"),
    (Force((1, 2), layers="3b"), "force 3b:1-2"),
    (Route((9, 4), layers=3, tokens=5), "route 3:4,9 token 5"),
    (Swap(15, 4, layers=3, tokens=5), "swap 3:15>4 token 5"),
    (ChangeK(1, layers=2), "k=1 @2"),
    (ChangeK(3), "k=3"),
    (Temperature(0.5), "temperature 0.5"),
    (Temperature(2, layers=(0, 1), tokens=3), "temperature 2 @0,1 token 3"),
    (Noise(1.5, 7, layers=1), "noise 1.5 seed 7 @1"),
    (Steer((4, 2), 9, layers=0), "steer 0:+2,+4,-9"),
    (RandomExperts(3), "random seed 3"),
    (CapacityRule(0.5, "vmoe", "random", group=8, seed=2),
     "capacity vmoe 0.5 by random in groups of 8 seed 2"),
    (CapacityRule(convention="absolute", absolute=7), "capacity absolute 7 by position"),
]  # fmt: skip


@pytest.mark.parametrize(("part", "text"), FORMS, ids=[text for _, text in FORMS])
def test_the_short_form_is_read_back(part, text):
    assert str(part) == text
    assert parse_rule(text) == Rule((part,))


def test_parts_are_joined_and_read_back_in_order():
    text = "mute 3:1 drop; k=1 @2; temperature 0.5"
    rule = combined(Mute(1, drop=True, layers=3), Rule((ChangeK(1, layers=2),)), Temperature(0.5))
    assert str(rule) == text
    assert parse_rule(f"  {text.replace('; ', ' ;')} ; ") == rule
    assert parse_rule("") == Rule() and as_rule(Rule()) is None and as_rule(None) is None


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("mute", '"mute" could not be read. Write it like this: mute 3:17.'),
        ("mute 3:x", '"mute 3:x" could not be read. Write it like this: mute 3:17.'),
        ("mute 3:1-", '"1-" is not a list of whole numbers such as 0-3,7.'),
        ("mute *:0-9999999", "A rule may list at most 100,000 numbers."),
        ("fly", '"fly" is not a rule: it must begin with one of '),
        ("<script>", '"<script>" is not a rule: it must begin with one of '),
        ("k=0", "K must be a whole number of at least 1, not 0."),
        ("temperature 0", "The router's temperature must lie between 0.01 and 100, not 0.0."),
        ("noise 2000", "The noise on router logits must lie between 0 and 1,000, not 2000.0."),
        ("steer 1:+2,-2", "Expert 2 cannot be steered up and down at once."),
        ("swap 3:4>4 token 1", "A swap needs two different experts, not 4 twice."),
        ("swap 3:4>5", "A swap is of one token in one layer, as in swap 3:17>4 token 5."),
        ("mask 3:4 of 4", "Of 4 groups, counted from 0, there is no group 4."),
        ("capacity vmoe 1; capacity vmoe 2", "A rule can hold one capacity only."),
    ],
)
def test_what_is_no_rule_is_one_sentence(text, sentence):
    with pytest.raises(RuleError) as caught:
        parse_rule(text)
    assert str(caught.value).startswith(sentence)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("mute 3:0-15", "In layer 3 each token takes 2 of 16 experts, but the rule leaves it 0. "
                        "Mute at most 14, or drop them instead."),
        ("k=4 @3; mute 3:0-12", "In layer 3 each token takes 4 of 16 experts, but the rule leaves "
                                "it 3. Mute at most 12, or drop them instead."),
        ("mute 1:0-7; mute 1:8-14 token 30", "In layer 1 each token takes 2 of 16 experts, but the "
                                             "rule leaves it 1. Mute at most 14, or drop them "
                                             "instead."),
        ("mute 3:99", "Layer 3 has 16 experts, 0 to 15; there is no expert 99."),
        ("steer 0:-16", "Layer 0 has 16 experts, 0 to 15; there is no expert 16."),
        ("k=17", "K = 17 is more than the 16 experts of layer 0. Choose 1 to 16."),
        ("k=3 tokens 1", "K can be raised from 2 to 3 only for all tokens of a layer."),
        ("force 2:1-3", "In layer 2 each token takes 2 experts, but the rule forces 3 on it. "
                        "Force at most 2."),
        ("route 2:1 token 4", "A token takes 2 experts in layer 2, so a route names 2, not 1."),
        ("mask 0:0 of 5", "The 16 experts of layer 0 cannot be cut into 5 equal groups."),
        ("temperature 2 @6", "Layer 6 is not one of the routed layers. Choose 0 to 5."),
        ("mute 0:1 token 40", "The text has 40 tokens, 0 to 39; there is no token 40."),
    ],
)  # fmt: skip
def test_the_impossible_is_one_sentence(text, sentence):
    with pytest.raises(RuleError) as caught:
        check_rule(parse_rule(text), SIZES, tokens=40)
    assert str(caught.value) == sentence


def test_the_possible_passes():
    for text in ("mute 3:0-13", "mute 3:0-15 drop", "k=16", "route 2:1,3 token 4", "force 2:1-2"):
        check_rule(parse_rule(text), SIZES, tokens=40)


def test_a_later_part_overrules_an_earlier_one():
    rule, places = parse_rule("mute *:0-2; force 1:2 token 5"), np.array([4, 5])
    assert rule.wishes("1", places, 4).tolist() == [[-1, -1, -1, 0], [-1, -1, 1, 0]]
    assert rule.wishes("0", places, 4).tolist() == [[-1, -1, -1, 0], [-1, -1, -1, 0]]
    assert rule.muted("1", places, 4) is None
    assert parse_rule("mask *:1 of 2 drop").muted("0", places[:1], 4).tolist() == [
        [False, False, True, True]
    ]


def test_a_number_means_every_router_of_the_layer_and_a_letter_one():
    assert [Mute(0, layers=3).covers(name) for name in ("3", "3a", "3b", "13")] == [
        True, True, True, False
    ]  # fmt: skip
    assert [Mute(0, layers="3b").covers(name) for name in ("3", "3a", "3b")] == [
        False, False, True
    ]  # fmt: skip


@pytest.mark.parametrize("part", [Noise(1.0, 4), RandomExperts(4)])
def test_a_token_draws_the_same_wherever_the_text_is_cut(part):
    draw = part.drawn if isinstance(part, Noise) else part.scores
    whole = draw("2", np.arange(9), 5)
    assert len(np.unique(whole)) == whole.size
    np.testing.assert_array_equal(draw("2", np.arange(6, 9), 5), whole[6:])
    assert (draw("3", np.arange(9), 5) != whole).any()


def test_a_swap_knows_the_route_it_changes():
    swap = Swap(7, 4, layers=3, tokens=5)
    swap.check_route([7, 1])
    for route, sentence in (
        ([1, 2], "Token 5 does not go to expert 7 in layer 3: its experts there are 1 and 2."),
        ([4, 7], "Token 5 goes to expert 4 already in layer 3: its experts there are 4 and 7."),
    ):
        with pytest.raises(RuleError) as caught:
            swap.check_route(route)
        assert str(caught.value) == sentence


def test_the_control_mutes_as_many_other_experts_of_the_same_layers():
    rule = parse_rule("mute 1,3:0-4 drop; mask 2:0 of 4; temperature 2")
    drawn = [random_mutes(rule, SIZES, seed) for seed in range(20)]
    assert len(set(drawn)) == 20 and drawn[0] == random_mutes(rule, SIZES, 0)
    for control in drawn:
        assert [(p.layers, len(p.experts), p.drop) for p in control.parts] == [
            (("1",), 5, True), (("2",), 4, False), (("3",), 5, True)
        ]  # fmt: skip
        assert min(control.parts[0].experts) > 4 and min(control.parts[1].experts) > 3
    with pytest.raises(RuleError) as caught:
        random_mutes(parse_rule("k=1"), SIZES)
    assert str(caught.value) == (
        "Only a rule that mutes experts can be compared with random mutes."
    )
