"""All findings of a run, and the tables they are taken home in."""

import numpy as np
import pytest
from handmade import make_routing

from moeviz.corpora.corpus import CorpusError
from moeviz.corpora.published import published_corpus
from moeviz.metrics.findings import corpus_summary, corpus_tables, findings


@pytest.fixture(scope="module")
def found():
    rng = np.random.default_rng(0)
    topics = np.repeat(["law", "code"], 40)
    taste = {"law": [0.6, 0.2, 0.1, 0.1], "code": [0.1, 0.1, 0.2, 0.6]}
    counts = [[rng.multinomial(70, taste[topic])] for topic in topics]
    return findings(make_routing(counts, {"topic": topics}), draws=39)


def test_tables_are_tidy_and_agree_with_the_counts(found):
    tables = corpus_tables(found)
    assert set(tables) == {
        "passages", "counts", "specialisation", "selectivity", "divergence", "recall",
    }  # fmt: skip
    counts = tables["counts"]
    assert counts["count"].sum() == 80 * 70
    shares = tables["specialisation"]
    assert len(shares) == 2 * 4
    law = shares[(shares["value"] == "law") & (shares["expert"] == 0)].iloc[0]
    rows = tables["passages"].query("topic == 'law'")["passage"]
    sent = counts[counts["passage"].isin(rows) & (counts["expert"] == 0)]["count"].sum()
    assert law["share"] == pytest.approx(sent / (40 * 70))
    assert law["above_chance"]
    assert law["chance_low"] < law["chance_high"] < law["share"]
    assert tables["recall"]["recall"].min() > 0.9


def test_the_summary_is_plain_values(found):
    told = corpus_summary(found)
    assert (told["passages"], told["tokens"]) == (80, 5600)
    layer = told["labels"][0]["layers"][0]
    assert layer["above_chance"] == 4
    assert layer["bits"] > layer["chance_high"]
    assert told["recall"][0]["chance"] == 0.5


def test_what_published_counts_cannot_tell_is_listed():
    told = corpus_summary(findings(published_corpus("olmoe")))
    assert told["labels"][0]["layers"][1]["bits"] == pytest.approx(0.401, abs=6e-4)
    assert told["labels"][0]["layers"][1]["chance_low"] is None
    assert told["missing"] == [
        "No value of 'domain' has passages of 64 tokens or more in two documents that could be "
        "kept apart, so published counts of allenai/OLMoE-1B-7B-0924 cannot test whether routing "
        "tells it.",
        "For published counts of allenai/OLMoE-1B-7B-0924 it is not known which tokens stood side "
        "by side, nor so how often neighbours share experts.",
    ]


def test_a_label_that_is_not_there_stops_everything(found):
    with pytest.raises(CorpusError) as refused:
        findings(found.routing, ["language"])
    assert str(refused.value) == "hand has no label 'language'; it has topic."
