"""Reading beside writing: by hand, and nothing where there is nothing."""

import dataclasses

import numpy as np
import pytest
from handmade import make_routing

from moeviz.corpora.corpus import CorpusError
from moeviz.metrics.phases import READ, phase_specialisation, to_continue


def written_of(counts, **rest):
    return dataclasses.replace(make_routing(counts, **rest), phase="decode")


def test_every_passage_weighs_the_same_whatever_its_length():
    read = make_routing([[[30, 10]], [[1, 1]], [[9, 0]]])
    written = written_of([[[2, 2]], [[0, 8]]])
    found = phase_specialisation(read, written, np.array([0, 1]), draws=19)
    assert found.names.tolist() == [READ, "written"]
    np.testing.assert_allclose(found.share[0], [[0.625, 0.375], [0.25, 0.75]])
    assert found.base[0].tolist() == pytest.approx([0.4375, 0.5625])


def test_passages_after_which_nothing_was_written_are_left_out():
    read = make_routing([[[3, 1]], [[4, 0]]])
    found = phase_specialisation(read, written_of([[[1, 1]], [[0, 0]]]), np.array([0, 1]), draws=19)
    np.testing.assert_allclose(found.share[0], [[0.75, 0.25], [0.5, 0.5]])
    with pytest.raises(CorpusError) as refused:
        phase_specialisation(read, written_of([[[0, 0]], [[0, 0]]]), np.array([0, 1]), draws=19)
    assert str(refused.value) == "by hand ends every text at once, so it writes nothing."
    with pytest.raises(CorpusError) as refused:
        phase_specialisation(read, written_of([[[1, 1]]]), np.array([0, 1]), draws=19)
    assert str(refused.value) == (
        "by hand wrote after 1 passages and by hand read 2: one model must read and continue the "
        "same passages."
    )


def test_alike_sides_are_rarely_above_chance_and_unlike_ones_are():
    rng = np.random.default_rng(0)
    rows, false = np.arange(40), 0
    for seed in range(40):
        topic = rng.dirichlet(np.ones(6), size=40)  # passages differ much, sides do not
        read = make_routing(np.stack([rng.multinomial(150, p) for p in topic])[:, None])
        written = written_of(np.stack([rng.multinomial(30, p) for p in topic])[:, None])
        found = phase_specialisation(read, written, rows, draws=99, seed=seed)
        false += bool(found.share_band.above.any())
    assert false <= 6  # 5 % of 40, and room for luck
    moved = 0.7 * topic + 0.3 * np.eye(6)[0]
    written = written_of(np.stack([rng.multinomial(30, p) for p in moved])[:, None])
    found = phase_specialisation(read, written, rows, draws=99)
    assert found.share_band.above[0, 1, 0] and found.divergence_band.above[0]


def test_passages_to_continue_are_spread_over_all():
    assert to_continue(5, most=3).tolist() == [0, 2, 4]
    assert to_continue(3, most=120).tolist() == [0, 1, 2]
