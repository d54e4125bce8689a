"""What sets passages apart, against a table worked by hand and against chance."""

import numpy as np
import pytest

from moeviz.corpora.atlas import load_atlas
from moeviz.corpora.bundled import bundled
from moeviz.corpora.routing import CorpusRouting
from moeviz.metrics.apart import set_apart
from moeviz.metrics.map import MapError


@pytest.fixture(scope="module")
def routing():
    return bundled(load_atlas()).routing


def made(counts, families) -> CorpusRouting:
    names = np.array([str(family) for family in families])
    return CorpusRouting(
        model="hand",
        corpus="hand",
        layers=(0,),
        experts=np.array([3]),
        chosen=np.array([1]),
        labels={},
        documents=names,
        families=names,
        parallel=np.full(len(names), ""),
        tokens=np.asarray(counts).sum(axis=(1, 2)).astype(np.int32),
        counts=np.asarray(counts, np.int32),
    )


def test_shares_and_lift_by_hand():
    small = made([[[8, 2, 0]], [[4, 6, 0]], [[1, 9, 0]], [[3, 7, 0]]], range(4))
    found = set_apart(small, [True, True, False, False])
    assert np.allclose(found.share, [[0.6, 0.4, 0]])
    assert np.allclose(found.rest, [[0.2, 0.8, 0]])
    assert np.allclose(found.lift[0, :2], [3, 0.5])
    assert np.isnan(found.lift[0, 2])
    assert (found.passages, found.families) == (2, 2)


def test_german_has_experts_of_its_own(routing):
    german = routing.labels["language"] == "de"
    found = set_apart(routing, german)
    best = found.best(5)
    assert len(best) == 5
    for row, expert in best:
        ours = routing.counts[german, row, expert].sum() / routing.counts[german, row].sum()
        rest = routing.counts[~german, row, expert].sum() / routing.counts[~german, row].sum()
        assert found.lift[row, expert] == pytest.approx(ours / rest, rel=1e-4)
        assert ours > found.high[row, expert]


def test_random_families_seldom_stand_out(routing):
    """At a level of 5 %, 30 random sets show 5 or more in one run of 65."""
    rng, names = np.random.default_rng(1), np.unique(routing.families)
    shown = 0
    for seed in range(30):
        chosen = np.isin(routing.families, rng.choice(names, 100, replace=False))
        shown += set_apart(routing, chosen, seed=seed).stands_out.any()
    assert shown <= 4


@pytest.mark.parametrize(
    ("chosen", "sentence"),
    [
        (False, "No passage is selected, so there is nothing to compare."),
        (True, "All passages are selected, so there are no others to compare them with."),
    ],
)
def test_nothing_and_everything_are_refused(routing, chosen, sentence):
    with pytest.raises(MapError) as error:
        set_apart(routing, np.full(len(routing.tokens), chosen))
    assert str(error.value) == sentence
