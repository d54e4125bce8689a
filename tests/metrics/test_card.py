"""One expert's card against the counts it is made of."""

import numpy as np
import pytest

from moeviz.corpora.atlas import load_atlas
from moeviz.corpora.bundled import bundled
from moeviz.corpora.published import published_corpus
from moeviz.metrics.card import expert_card, place_names


@pytest.fixture(scope="module")
def routing():
    return bundled(load_atlas()).routing


def test_load_places_and_company(routing):
    row, expert = 5, 15
    card = expert_card(routing, row, expert)
    assert card.count == routing.counts[:, row, expert].sum()
    assert card.base == pytest.approx(card.count / routing.tokens.sum())
    assert card.even == 2 / 16
    seen = routing.positions[row].sum(axis=0) / 2  # every token chooses two
    assert seen.sum() == routing.tokens.sum()
    at = np.isfinite(card.positions)
    assert np.allclose(card.positions[at] * seen[at], routing.positions[row, expert][at])
    assert ((card.band[at, 0] <= card.base) & (card.base <= card.band[at, 1])).all()
    assert np.isnan(card.partners[expert])
    assert np.nansum(card.partners) == pytest.approx(1)  # each token has one other choice
    assert np.nansum(card.alone) == pytest.approx(1)


def test_published_totals_have_neither_places_nor_company():
    card = expert_card(published_corpus("olmoe"), 1, 17)
    assert card.positions is None
    assert card.partners is None
    assert card.count == published_corpus("olmoe").counts[:, 1, 17].sum()


def test_places_are_named_like_their_bins(routing):
    names = place_names()
    assert names[:5] == ["0", "1", "2-3", "4-7", "8-15"]
    assert len(names) == routing.positions.shape[2]
    assert names[-1] == "1024+"
