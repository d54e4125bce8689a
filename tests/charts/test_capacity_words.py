"""Sentences about a capacity rule, word for word."""

import dataclasses

import numpy as np
import pytest
from handmade import make_trace

from moeviz.charts import capacity_words as words
from moeviz.metrics.compare import compare
from moeviz.metrics.overflow import OverflowChance, overflow
from moeviz.metrics.parallel import parallel_load
from moeviz.rules.capacity import CONVENTIONS, PRIORITIES, CapacityRule


@pytest.mark.parametrize(
    ("rule", "worked"),
    [
        (CapacityRule(1.25, "vmoe"), "V-MoE: round(2 × 412 × 1.25 / 16) = 64 tokens an expert."),
        (CapacityRule(1.25, "switch"), "Switch: floor(412 / 16 × 1.25) = 32 tokens an expert."),
        (CapacityRule(convention="gshard"), "GShard: ceil(2 × 412 / 16) = 52 tokens an expert."),
        (CapacityRule(1.25, "deepspeed"),
         "DeepSpeed: max(4, ceil(412 / 16 × 1.25 × 2)) = 65 tokens an expert."),
        (CapacityRule(1.25, "tutel"),
         "Tutel: 2 × floor(1.25 × ceil(412 / 16)) = 64 tokens an expert."),
        (CapacityRule(convention="absolute", absolute=1), "Absolute: 1 token an expert."),
        (CapacityRule(1.0, "vmoe", group=64),
         "V-MoE: round(2 × 64 × 1 / 16) = 8 tokens an expert in each window of 64."),
    ],
)  # fmt: skip
def test_the_formula_is_worked_out(rule, worked):
    assert words.formula(rule, 412, 16, 2).startswith(worked)


def test_every_convention_and_priority_has_a_name():
    assert set(words.CONVENTIONS) == set(CONVENTIONS)
    assert set(words.PRIORITIES) == set(PRIORITIES)


def test_the_sentence_has_chance_beside_it():
    trace = make_trace([[[0], [0], [1], [0]]], number=2)
    found = overflow(trace, CapacityRule(1.0))  # room for 2, three are sent to expert 0
    said = words.overflow_sentence(trace, 0, "0", found, OverflowChance(0.1, 0.0, 0.5, 200))
    assert said == (
        "At capacity factor 1, 1 of 4 assignments overflows in layer 0; chance alone gives "
        "0 to 2. 1 token loses every expert. Nothing is lost from factor 1.5 on."
    )


def test_a_convention_without_a_factor_claims_none():
    trace = make_trace([[[0], [0], [1], [0]]], number=2)
    found = overflow(trace, CapacityRule(convention="absolute", absolute=4))
    said = words.overflow_sentence(trace, 0, "0", found, OverflowChance(0, 0, 0, 200))
    assert said == (
        "Under this rule, 0 of 4 assignments overflow in layer 0; chance alone gives 0."
    )


def test_the_cost_is_told_with_its_interval(tiny_trace):
    loss = tiny_trace.loss + np.float32(0.5)
    experts = tiny_trace.experts.copy()
    experts[0, 3, 1] = -1
    gates = np.where(experts < 0, 0, tiny_trace.gates)
    changed = dataclasses.replace(tiny_trace, loss=loss, experts=experts, gates=gates)
    cost = compare(tiny_trace, changed)
    assert words.cost_sentence(cost, tiny_trace.loss) == (
        "With the rule in force the mean next-token loss rises by 0.500 nats, from 2.000 to "
        "2.500 (95 % interval of the change +0.500 to +0.500, a real loss for this text)."
    )
    assert words.downstream_sentence(cost, overflow(tiny_trace, CapacityRule()), ["0", "1"]) == (
        "Simulated and enforced drops agree exactly only in the first routed layer (layer 0: 1 in "
        "both): what is dropped there changes what later layers read. No token changed its route."
    )


def test_nothing_dropped_and_nothing_predicted_are_said_so(tiny_trace):
    same = compare(tiny_trace, tiny_trace)
    assert words.cost_sentence(same, tiny_trace.loss) == (
        "Nothing overflows, so the enforced run is the plain run, bit for bit."
    )
    assert words.cost_sentence(same, None) == (
        "This model predicts no next token, so there is no loss to compare."
    )


def test_devices_and_bytes_in_words(tiny_trace):
    spread = parallel_load(tiny_trace, 2, "round-robin")
    assert words.device_sentence(spread, 0, "0") == (
        "In layer 0, device 0 handles 5 of 8 assignments, 1.25 times the mean; the others wait "
        "for it."
    )
    said = [words.byte_count(x) for x in (950, 1536, 2.52e8, 3e9, float("nan"))]
    assert said == ["950 B", "1.54 KB", "252 MB", "3 GB", "size not known for this trace"]


def test_a_model_with_a_limit_of_its_own_is_told_apart(tiny_trace):
    assert words.simulation_note(tiny_trace).startswith("Simulated: this model has no capacity")
    limited = dataclasses.replace(
        tiny_trace, router=dataclasses.replace(tiny_trace.router, capacity=64)
    )
    assert "the model's own limit of 64 tokens an expert" in words.simulation_note(limited)
