"""The habits of experts in words and pictures, from tables worked by hand."""

import numpy as np
from handmade import make_routing

from moeviz.charts.habits import company_grid, company_sentence, phase_grid, words_sentence
from moeviz.metrics.coactivation import company
from moeviz.metrics.phases import phase_specialisation
from moeviz.metrics.words import VocabularySpecialisation


def pairs_run():
    """Top-2 of 3, a thousand times the pair {0, 1} and a hundred times each of the others."""
    together = np.array([[[0, 1000, 100], [1000, 0, 100], [100, 100, 0]]])
    return make_routing([[[1100, 1100, 200]]], chosen=2, together=together, ranked=together // 2)


def test_company_is_told_beside_the_loads():
    routing = pairs_run()
    found = company(routing, 0)
    # Expert 0 has 1,100 of its tokens elsewhere: 1,100 / 1,300 by load against 1,000 / 1,100.
    assert company_sentence(found, "4") == (
        "In layer 4, 2 of 6 pairs of experts fire together more than their loads make them; the "
        "closest: 91 % of expert 0's tokens choose expert 1 too, 1.1 × chance."
    )
    grid = company_grid(routing, found, 0, "4", "paper")
    assert grid.arrays["inside"].tolist() == [[0, 0, 1], [0, 0, 1], [1, 1, 0]]
    assert grid.arrays["values"][0, 0] == 65535  # nobody meets itself
    assert "script" in company_grid(routing, found, 0, "4", "script").meta["read"]


def test_what_tokens_settle_is_told_beside_chance():
    told = VocabularySpecialisation(
        np.array([0.5]), np.array([0.2]), np.array([0.25]), np.array([0.125]), 10, 20
    )
    assert words_sentence({"input": told, "predicted": told}, 0, "3") == (
        "In layer 3, a token's favourite expert takes 50 % where it is read (chance 25 %), 50 % "
        "where the model predicts it (chance 25 %)."
    )


def test_written_minus_read_is_small_where_swapping_gives_as_much():
    rng = np.random.default_rng(0)
    read = make_routing(rng.multinomial(100, [0.25] * 4, size=(60, 1)))
    moved = rng.multinomial(100, [0.55, 0.15, 0.15, 0.15], size=(60, 1))
    found = phase_specialisation(read, make_routing(moved), np.arange(60), draws=99)
    grid = phase_grid(read, found, ["0"])
    assert grid.arrays["inside"][0, 0] == 0
    gap = found.share[0, 1, 0] - found.share[0, 0, 0]
    assert gap > grid.arrays["high"][0, 0] > 0 > grid.arrays["low"][0, 0]
    same = phase_specialisation(read, make_routing(read.counts), np.arange(60), draws=99)
    assert phase_grid(read, same, ["0"]).arrays["inside"].all()
