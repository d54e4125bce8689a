"""Parameter arithmetic, worked by hand."""

import pytest

from moeviz.rules.facts import PARTS, ModelFacts, as_table, from_json
from moeviz.rules.words import short_bytes, short_count


@pytest.fixture
def facts() -> ModelFacts:
    """1,000 parameters: 600 in two routed layers of 4 experts, top-1; 100 in the embedding."""
    parts = dict.fromkeys(PARTS, 0)
    parts |= {"embeddings": 100, "output head": 100, "attention": 200, "routed experts": 600}
    return ModelFacts("toy", "toy", parts, 150, 2, 2, 4, 1, kv_values=16, lookups=100)


def test_total_active_and_what_a_token_leaves_alone(facts):
    assert facts.total == 1000
    assert facts.active == 1000 - 600 + 150
    assert facts.active_without_lookup == 450
    assert facts.sparsity == pytest.approx(0.45)


def test_memory_in_bytes(facts):
    assert (facts.memory(16), facts.memory(8), facts.memory(4)) == (2000, 1000, 500)
    assert facts.touched(16) == 900
    assert facts.cache(1000) == 16 * 1000 * 2


def test_what_the_configuration_does_not_show_stays_unknown(facts):
    assert ModelFacts("toy", "toy", facts.parts, 150, 2, 2, 4, 1).cache(1000) is None


def test_facts_survive_json(facts):
    assert from_json(facts.as_json()) == facts


def test_the_table_names_every_part(facts):
    lines = as_table([facts]).splitlines()
    assert lines[0] == "toy (toy)"
    assert "  parameters          1 K" in lines
    assert "  experts             top-1 of 4 in 2 of 2 layers" in lines
    assert "  routed experts      600" in lines
    assert "  weights in bfloat16 2 KB, read for one token 900 B" in lines
    assert "  keys and values     32 KB for 1,000 tokens in 16 bits" in lines
    assert not any("dense" in line for line in lines), "what is not there is not listed"


@pytest.mark.parametrize(
    ("count", "words"), [(0, "0"), (950, "950"), (5_280_960, "5.28 M"), (46.7e9, "46.7 B")]
)
def test_counts(count, words):
    assert short_count(count) == words


@pytest.mark.parametrize(
    ("count", "words"), [(0, "0 B"), (950, "950 B"), (93.4e9, "93.4 GB"), (1.34e12, "1.34 TB")]
)
def test_bytes(count, words):
    assert short_bytes(count) == words
