"""The published models on one scale, against the published numbers."""

import numpy as np
import pytest

from moeviz.charts.published import (
    Published,
    apart_bars,
    apart_sentence,
    domain_grid,
    strongest_bars,
    strongest_sentence,
)
from moeviz.corpora.published import published_corpus
from moeviz.metrics.specialisation import specialisation


@pytest.fixture(scope="module")
def models():
    routings = {"OLMoE": published_corpus("olmoe"), "Mixtral": published_corpus("mixtral")}
    return [Published(n, r, specialisation(r, "domain")) for n, r in routings.items()]


def test_the_strongest_experts_are_those_published(models):
    domains = models[0].found.names.tolist()
    bars = strongest_bars(models, 1).arrays["OLMoE"]  # 77.0 % of GitHub in layer 7, expert 17
    assert bars[domains.index("github")] == pytest.approx(0.770 / 0.125, abs=0.005)
    bars = strongest_bars(models, 2).arrays["Mixtral"]  # 33.2 % of GitHub in layer 15
    assert bars[domains.index("github")] == pytest.approx(0.332 / 0.25, abs=0.003)
    assert strongest_sentence(models, 0).startswith(
        "In layer 0, OLMoE sends 98 % of arxiv to expert 0 (7.8 × even), Mixtral sends "
    )


def test_both_grids_are_on_one_scale(models):
    grids = [domain_grid(one, 1) for one in models]
    assert [grid.meta["ends"] for grid in grids] == [["even", "8 × even"]] * 2
    for one, grid in zip(models, grids, strict=True):
        counts, tokens = one.routing.counts[:, 1], one.routing.tokens[0]
        chosen, experts = one.routing.chosen[1], one.routing.experts[1]
        by_hand = counts / tokens * experts / chosen
        rows = [list(one.routing.labels["domain"]).index(name) for name in one.found.names]
        np.testing.assert_allclose(grid.arrays["lift"], by_hand[rows], rtol=1e-6)


def test_domains_part_as_published_and_far_beyond_counting(models):
    bars = apart_bars(models).arrays
    np.testing.assert_allclose(bars["OLMoE"], [0.167, 0.401, 0.501], atol=0.0006)
    assert (bars["high"] < 0.0001).all() and (bars["Mixtral"] > 10 * bars["high"]).all()
    assert "from 0.167 to 0.501 bits in OLMoE and from 0.00" in apart_sentence(models)
