"""The rule and the devices as links: what fits is taken, the rest passed over."""

import pytest
from handmade import make_trace

from moeviz.rules.capacity import CapacityRule
from moeviz.trace import RouterSpec
from moeviz.ui.setting import Setting, changed, device_choices, devices_shown, from_link, to_link


def test_the_first_setting_has_an_empty_link():
    assert to_link(Setting()) == {}
    assert from_link({}) == Setting()


def test_a_link_brings_back_every_part():
    rule = CapacityRule(0.6, "tutel", "random", group=32, absolute=7)
    setting = Setting(rule, devices=8, placement="balanced", spare=2, balance="gini")
    link = to_link(setting)
    assert link == {
        "factor": "0.6", "convention": "tutel", "priority": "random", "group": "32",
        "absolute": "7", "devices": "8", "placement": "balanced", "spare": "2", "balance": "gini",
    }  # fmt: skip
    assert from_link(link) == setting


@pytest.mark.parametrize(
    "value", ["<b>", "", "nan", "inf", "-1", "1e9", "0", "9" * 400, None, True]
)
def test_nonsense_is_passed_over(value):
    names = ("factor", "convention", "priority", "absolute", "devices", "placement", "balance")
    assert changed(Setting(), dict.fromkeys(names, value)) == Setting()
    if value is not None:
        assert changed(Setting(), {"group": value}) == Setting()


def test_a_group_of_none_is_the_whole_text():
    assert changed(changed(Setting(), {"group": 8}), {"group": None}) == Setting()


def test_devices_divide_the_experts_of_every_layer():
    router = RouterSpec(experts=12, chosen=1, experts_per_layer=(12, 8), chosen_per_layer=(1, 1))
    trace = make_trace([[[0]] * 4, [[1]] * 4], router=router)
    assert device_choices(trace) == [2, 4]
    assert devices_shown(Setting(), trace) == 4
    assert devices_shown(Setting(devices=2), trace) == 2
    assert devices_shown(Setting(devices=3), trace) == 4
    prime = make_trace([[[0]] * 4], number=1)
    assert (device_choices(prime), devices_shown(Setting(), prime)) == ([], 1)
