"""The Lab page's settings: they follow the model, and a link cannot put nonsense into them."""

import pytest
from handmade import make_trace

from moeviz.rules.routing import ALGORITHMS
from moeviz.trace import RouterSpec
from moeviz.ui.lab_setting import Lab, changed, from_link, group_choices, to_link


def trace_of(experts: int, chosen: int):
    router = RouterSpec(experts=experts, chosen=chosen)
    return make_trace([[list(range(chosen))]], text="a", router=router)


@pytest.mark.parametrize(
    ("experts", "chosen", "groups", "kept"),
    [(16, 2, 4, 1), (64, 8, 4, 2), (8, 2, 4, 1), (256, 8, 4, 2), (6, 4, 3, 2), (7, 2, 1, 1)],
)
def test_settings_follow_the_model_and_always_fit(experts, chosen, groups, kept):
    trace = trace_of(experts, chosen)
    rule = Lab().rule("group-limited", trace, 0)
    assert (rule.chosen, rule.groups, rule.kept) == (chosen, groups, kept)
    assert experts % rule.groups == 0 and rule.kept * experts // rule.groups >= chosen


def test_what_the_visitor_set_stays():
    lab = changed(Lab(), {"chosen": 3, "names": ["hash"]})
    assert lab.rule("hash", trace_of(16, 2), 0).chosen == 3


def test_two_algorithms_at_a_time_the_latest_win():
    lab = changed(Lab(), {"names": ["hash", "dense", "hash", "base"]})
    assert lab.names == ("dense", "base")
    assert changed(lab, {"names": []}).names == lab.names
    assert changed(lab, {"names": ["<b>"]}).names == lab.names


def test_a_link_brings_the_lab_back():
    lab = Lab(("loss-free", "noisy"), {"chosen": 4, "noise": 0.5, "speed": 0.01, "kept": 2}, 40)
    assert to_link(lab) == {
        "algorithms": "loss-free,noisy", "k": "4", "noise": "0.5", "speed": "0.01", "keep": "2",
        "moment": "40",
    }  # fmt: skip
    assert from_link(to_link(lab)) == lab
    assert to_link(Lab()) == {} and from_link({}) == Lab()


@pytest.mark.parametrize("value", ["<b>", "nan", "-1", "1e9", "", "2.5"])
def test_nonsense_in_a_link_is_passed_over(value):
    names = ("k", "groups", "keep", "steps", "moment", "algorithms")
    assert from_link(dict.fromkeys(names, value)) == Lab()


def test_groups_divide_the_experts():
    assert group_choices(12) == [2, 3, 4, 6]
    assert group_choices(7) == [1]
    assert set(Lab().names) <= set(ALGORITHMS)
