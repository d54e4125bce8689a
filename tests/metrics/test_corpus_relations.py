"""Words, languages, neighbours, pairs and checkpoints of a corpus run, worked by hand."""

import numpy as np
import pytest
from handmade import make_routing

from moeviz.corpora.corpus import CorpusError
from moeviz.corpora.published import published_corpus
from moeviz.corpora.routing import TokenCounts
from moeviz.metrics.coactivation import company, corpus_coactivation
from moeviz.metrics.languages import language_divergence
from moeviz.metrics.load import random_choices
from moeviz.metrics.repetition import corpus_repetition
from moeviz.metrics.saturation import router_saturation
from moeviz.metrics.words import (
    expert_words,
    layer_words,
    vocabulary_specialisation,
    words_explain,
)
from moeviz.trace import TraceError


def words_run(table):
    """Top-1 run of one layer from counts [E, V] of tokens."""
    table = np.array(table)
    vocabulary = table.shape[1]
    keys = np.flatnonzero(table)
    counts = TokenCounts(vocabulary, keys, table.ravel()[keys], table.sum(axis=0))
    return make_routing(
        [[table.sum(axis=1)]],
        vocabulary={"input": counts},
        pieces={number: f"t{number}" for number in range(vocabulary)},
    )


def test_words_of_an_expert_by_hand():
    routing = words_run([[40, 0, 20, 4], [0, 40, 20, 0]])
    found = expert_words(routing, 0, 0)
    assert found.pieces == ("t0", "t2")  # token 3 stands 4 times, less than 8
    assert found.times.tolist() == [40, 40]
    assert found.share.tolist() == [1.0, 0.5]
    assert found.base == pytest.approx(64 / 124)
    assert found.lift.tolist() == pytest.approx([124 / 64, 62 / 64])
    assert found.above.tolist() == [True, False]


def test_words_dealt_by_load_alone_are_not_above_chance():
    rng = np.random.default_rng(0)
    above = 0
    for _ in range(40):
        times = rng.integers(8, 60, size=100)
        table = np.stack([rng.multinomial(n, [0.4, 0.3, 0.2, 0.1]) for n in times], axis=1)
        above += any(expert_words(words_run(table), 0, e).above.any() for e in range(4))
    assert above <= 5  # at most 5 % of 40 runs, and room for luck


def test_vocabulary_specialisation_by_hand():
    found = vocabulary_specialisation(words_run([[40, 0, 20, 4], [0, 40, 20, 0]]))
    assert found.favourite.tolist() == pytest.approx([(1 + 1 + 0.5) / 3])
    assert found.words == 3
    assert 0.4 < found.low[0] < found.high[0] < 0.75
    assert found.even.tolist() == [0.5]


def test_words_that_were_not_counted_are_refused():
    with pytest.raises(CorpusError) as refused:
        expert_words(words_run([[9, 9]]), 0, 0, "predicted")
    assert str(refused.value) == (
        "This run did not count experts by predicted token; it has input. Run the corpus again "
        "with that kind."
    )
    with pytest.raises(CorpusError) as refused:
        vocabulary_specialisation(words_run([[9, 9], [9, 9]]))
    assert str(refused.value) == "No token stands 20 times in hand; read more text."


def test_what_vocabulary_explains_by_hand():
    # Token 0 always goes to expert 0, token 1 to expert 1, token 2 half and half.
    routing = words_run([[40, 0, 20], [0, 40, 20]])
    law, code = [30, 10, 0], [10, 30, 40]
    explained = words_explain(routing, np.array([law, code]))
    assert explained[0].tolist() == [[0.75, 0.25], [(10 + 20) / 80, (30 + 20) / 80]]


def test_languages_on_parallel_text_by_hand():
    # Two passages in two languages; a third only in English is left out.
    routing = make_routing(
        [[[8, 0]], [[0, 8]], [[8, 0]], [[0, 8]], [[4, 4]]],
        {"language": ["en", "de", "en", "de", "en"]},
        parallel=np.array(["a", "a", "b", "b", ""]),
    )
    found = language_divergence(routing, draws=50)
    assert found.names.tolist() == ["de", "en"]
    assert found.passages == 2
    # JSD of disjoint shares is ln 2, their entropies 0, and E = 2: ln 2 / ln 2.
    assert found.pairs[0].tolist() == [[0, 1], [1, 0]]
    assert found.mean.tolist() == [1]
    assert found.low[0] == 0


def test_languages_that_route_alike_diverge_as_little_as_chance():
    rng = np.random.default_rng(0)
    topics = rng.dirichlet(np.ones(8), size=20)
    counts = [[rng.multinomial(60, topic)] for topic in topics for _ in range(3)]
    routing = make_routing(
        counts,
        {"language": ["de", "en", "fr"] * 20},
        parallel=np.repeat([f"p{number}" for number in range(20)], 3),
    )
    found = language_divergence(routing)
    assert found.low[0] <= found.mean[0] <= found.high[0]
    assert found.passages == 20


def test_text_without_translations_is_refused():
    with pytest.raises(CorpusError) as refused:
        language_divergence(make_routing([[[1, 1]]] * 2, {"language": ["en", "de"]}))
    assert str(refused.value) == (
        "hand has no passages that say the same in several languages (two or more values of "
        "'language' with one parallel name)."
    )


def test_neighbours_by_label():
    routing = make_routing(
        [[[3, 1]], [[2, 2]], [[1, 3]]],
        {"topic": ["a", "a", "b"]},
        first=np.array([[[3, 1]], [[2, 2]], [[1, 3]]]),
        same_first=np.array([[2], [0], [3]]),
        shared=np.array([[3], [1], [3]]),
        neighbours=np.array([3, 3, 3]),
    )
    found = corpus_repetition(routing, "topic")
    assert found["a"].first.tolist() == [2 / 6]
    assert found["a"].shared.tolist() == [4 / 6]
    assert found["b"].first.tolist() == [1]
    assert found["b"].loaded_first.tolist() == [(1 / 4) ** 2 + (3 / 4) ** 2]
    assert corpus_repetition(routing)["all"].first.tolist() == [5 / 9]
    assert found["a"].even_shared.tolist() == [0.5]


def test_pairs_of_a_run():
    together = np.array([[[0, 3, 1], [3, 0, 0], [1, 0, 0]]])
    routing = make_routing(
        [[[4, 3, 1]]], chosen=2, together=together, ranked=np.zeros_like(together)
    )
    share = corpus_coactivation(routing, 0)
    assert share[0, 1] == 3 / 4
    assert share[1, 0] == 1
    assert np.isnan(np.diag(share)).all()
    assert corpus_coactivation(routing, 0, "script")[0, 1] == 0


def test_what_published_counts_lack_is_said():
    routing = published_corpus("mixtral")
    with pytest.raises(CorpusError) as refused:
        corpus_coactivation(routing, 0)
    assert str(refused.value) == (
        "For published counts of mistralai/Mixtral-8x7B-v0.1 it is not known which experts fired "
        "together, only how often each did."
    )
    with pytest.raises(CorpusError) as refused:
        corpus_repetition(routing)
    assert str(refused.value) == (
        "For published counts of mistralai/Mixtral-8x7B-v0.1 it is not known which tokens stood "
        "side by side, nor so how often neighbours share experts."
    )


def test_saturation_by_hand_and_by_chance():
    earlier = np.array([[[0, 1], [2, 3]], [[0, 1], [0, 1]]])
    later = np.array([[[1, 0], [2, 0]], [[2, 3], [1, 2]]])
    assert router_saturation(earlier, later).tolist() == [3 / 4, 1 / 4]
    rng = np.random.default_rng(0)
    one, two = (random_choices(rng, 20_000, 16, 4)[None] for _ in range(2))
    assert router_saturation(one, two)[0] == pytest.approx(4 / 16, abs=0.01)
    with pytest.raises(TraceError) as refused:
        router_saturation(earlier, later[:1])
    assert str(refused.value) == (
        "Saturation compares two checkpoints on the same tokens: choices of one shape [L, T, K], "
        "not (2, 2, 2) and (1, 2, 2)."
    )


def test_company_by_hand_beside_what_loads_alone_give():
    # Top-2 of 3: tokens {0,1} x 60, {0,2} x 20, {1,2} x 20.
    together = np.array([[[0, 60, 20], [60, 0, 20], [20, 20, 0]]])
    routing = make_routing([[[80, 80, 40]]], chosen=2, together=together, ranked=together)
    found = company(routing, 0)
    np.testing.assert_allclose(found.share[0, 1:], [0.75, 0.25])
    np.testing.assert_allclose(found.alone[0, 1:], [80 / 120, 40 / 120])
    np.testing.assert_allclose(found.alone[2, :2], [0.5, 0.5])
    assert found.even == 0.5
    assert np.isnan(found.share.diagonal()).all() and np.isnan(found.alone.diagonal()).all()
    assert not found.above.any()  # 60 of 80 at two thirds: not beyond six looks


def test_random_company_is_not_above_chance_in_either_variant_and_planted_is():
    rng = np.random.default_rng(0)
    ids = rng.permuted(random_choices(rng, 4000, 12, 3), axis=1)
    ids[:600] = [3, 7, 5]

    def run(ids):
        counted = np.zeros((2, 12, 12), int)
        for a, b in ((0, 1), (0, 2), (1, 2)):
            for kind in (0, 1) if b == a + 1 else (0,):
                np.add.at(counted[kind], (ids[:, a], ids[:, b]), 1)
                np.add.at(counted[kind], (ids[:, b], ids[:, a]), 1)
        counts = np.bincount(ids.ravel(), minlength=12)[None, None]
        return make_routing(counts, chosen=3, together=counted[:1], ranked=counted[1:])

    for variant in ("paper", "script"):
        assert not company(run(ids[600:]), 0, variant).above.any()
        assert company(run(ids), 0, variant).above[3, 7]
    assert not company(run(ids), 0, "script").above[3, 5]  # never next to each other in rank
    assert company(run(ids), 0).above[3, 5]


def test_words_of_a_layer_are_those_above_chance_the_clearest_first():
    found = layer_words(words_run([[40, 0, 20, 4], [0, 60, 20, 0]]), 0)
    assert [(expert, piece, times, share) for expert, piece, times, share, _ in found] == [
        (1, "t1", 60, 1.0), (0, "t0", 40, 1.0),
    ]  # fmt: skip
    assert found[1][4] == pytest.approx(144 / 64)
