"""Specialisation by hand, on published counts, and on labels that mean nothing."""

import numpy as np
import pytest
from handmade import make_routing

from moeviz.corpora.corpus import CorpusError
from moeviz.corpora.published import published_corpus
from moeviz.metrics.shuffle import LEVEL, bands, deal_labels
from moeviz.metrics.specialisation import specialisation


def noise(passages=60, layers=2, experts=8, seed=0, labels=3):
    """Passages of 40 tokens, each with its own taste, and labels that tell nothing of it."""
    rng = np.random.default_rng(seed)
    taste = rng.dirichlet(np.full(experts, 2.0), size=(passages, layers))
    counts = rng.multinomial(40, taste)
    return make_routing(counts, {"topic": rng.integers(0, labels, passages).astype(str)})


def test_shares_and_lift_by_hand():
    # One layer, top-1 of two experts: law sends 6 of 8 tokens to expert 0, code 1 of 4.
    routing = make_routing([[[4, 0]], [[2, 2]], [[1, 3]]], {"topic": ["law", "law", "code"]})
    found = specialisation(routing, "topic")
    assert found.names.tolist() == ["code", "law"]
    assert found.tokens.tolist() == [4, 8]
    assert found.share[0].tolist() == [[0.25, 0.75], [0.75, 0.25]]
    assert found.base[0].tolist() == [0.5, 0.5]
    assert found.lift[0].tolist() == [[0.5, 1.5], [1.5, 0.5]]
    assert found.chance.tolist() == [0.5]
    bits = 1 - (-0.25 * np.log2(0.25) - 0.75 * np.log2(0.75))
    assert found.selectivity[0].tolist() == pytest.approx([bits, bits])
    assert found.divergence.tolist() == pytest.approx([bits])


def test_a_text_without_a_label_is_left_out():
    routing = make_routing([[[4, 0]], [[0, 4]], [[2, 2]]], {"topic": ["a", "b", ""]})
    assert specialisation(routing, "topic").share[0].tolist() == [[1, 0], [0, 1]]


@pytest.mark.parametrize(
    ("name", "layer", "domain", "expert", "share"),
    [
        ("olmoe", 0, "arxiv", 0, 0.977),
        ("olmoe", 7, "github", 17, 0.770),
        ("mixtral", 15, "github", None, 0.332),
    ],
)
def test_published_shares(name, layer, domain, expert, share):
    routing = published_corpus(name)
    found = specialisation(routing, "domain")
    row = routing.layers.index(layer) if layer in routing.layers else len(routing.layers) - 1
    column = found.share[row, found.names.tolist().index(domain)]
    assert column.max() == pytest.approx(share, abs=5e-4)
    assert expert is None or column.argmax() == expert


def test_published_divergence_and_what_they_lack():
    found = specialisation(published_corpus("olmoe"), "domain")
    assert found.divergence.tolist() == pytest.approx([0.167, 0.401, 0.501], abs=6e-4)
    assert found.draws == 0
    assert found.share_band.above is None
    assert np.isnan(found.share_band.high).all()
    assert published_corpus("olmoe").notes == (
        "Published counts of layers 0, 7 and 15: they hold no documents to deal labels over, so "
        "chance is only what an even router gives.",
    )


def test_meaningless_labels_rise_above_chance_as_rarely_as_stated():
    runs = 120
    risen = {"share_band": 0, "selectivity_band": 0, "divergence_band": 0}
    for seed in range(runs):
        found = specialisation(noise(seed=seed), "topic", draws=39, seed=seed)
        for name in risen:
            risen[name] += bool(getattr(found, name).above.any())
    # Binomial(120, 0.05): 6 expected, 14 or more in 0.3 % of such tests.
    assert all(times < 14 for times in risen.values())
    assert sum(risen.values()) > 0


def test_dealing_real_labels_anew_destroys_their_effect():
    rng = np.random.default_rng(1)
    topics = np.repeat(["law", "code"], 20)
    law, code = np.array([0.7, 0.1, 0.1, 0.1]), np.array([0.1, 0.1, 0.1, 0.7])
    counts = [[rng.multinomial(50, law if topic == "law" else code)] for topic in topics]
    real = specialisation(make_routing(counts, {"topic": topics}), "topic")
    assert real.share_band.above[0].tolist() == [
        [False, False, False, True],
        [True, False, False, False],
    ]
    assert real.divergence_band.above.tolist() == [True]
    dealt = make_routing(counts, {"topic": rng.permutation(topics)})
    assert not specialisation(dealt, "topic").share_band.above.any()
    assert real.corrected[0, 0] < real.selectivity[0, 0]


def test_whole_documents_are_dealt():
    """Ten passages of two documents are two draws, not ten: nothing can be shown with them."""
    counts = [[[9, 1]]] * 5 + [[[1, 9]]] * 5 + [[[5, 5]]] * 2
    documents = np.repeat(["a", "b", "c", "d"], [5, 5, 1, 1])
    labels = {"topic": ["x"] * 5 + ["y"] * 5 + ["x", "y"]}
    apart = specialisation(make_routing(counts, labels), "topic")
    together = specialisation(apart_by(documents, counts, labels), "topic")
    assert apart.unit == "families"
    assert apart.share_band.above.any()
    assert not together.share_band.above.any()
    assert (
        deal_labels(make_routing(counts, labels, families=documents), "topic").codes.shape[1] == 4
    )


def apart_by(documents, counts, labels):
    return make_routing(counts, labels, documents=documents, families=documents)


def test_translations_stay_together_only_where_they_share_the_label():
    families = np.array(["talk", "talk", "law", "law"])
    labels = {"language": ["en", "de", "en", "de"], "domain": ["news", "news", "law", "law"]}
    routing = make_routing([[[1, 1]]] * 4, labels, families=families)
    assert deal_labels(routing, "language").kind == "documents"
    assert deal_labels(routing, "domain").kind == "families"
    assert deal_labels(routing, "domain").draws == 0
    assert deal_labels(routing, "domain", within="language").kind == "documents"


def test_a_deal_within_languages_keeps_what_the_language_explains():
    rng = np.random.default_rng(0)
    language = np.repeat(["en", "de"], 30)
    domain = np.where(rng.random(60) < np.where(language == "en", 0.9, 0.1), "law", "news")
    english, german = np.array([0.8, 0.2]), np.array([0.2, 0.8])
    counts = [[rng.multinomial(50, english if here == "en" else german)] for here in language]
    routing = make_routing(counts, {"language": language, "domain": domain})
    assert specialisation(routing, "domain").divergence_band.above[0]
    assert not specialisation(routing, "domain", within="language").divergence_band.above[0]


def test_seeds_repeat_a_band():
    routing = noise()
    one, two = (specialisation(routing, "topic", seed=3) for _ in range(2))
    assert (one.share_band.high == two.share_band.high).all()
    other = specialisation(routing, "topic", seed=4)
    assert (one.share_band.high != other.share_band.high).any()


def test_the_bar_lies_at_the_stated_level():
    figures = np.random.default_rng(0).normal(size=(200, 50))
    ranked = [bands([np.roll(figures, shift, axis=0)])[0].above.any() for shift in range(200)]
    assert np.mean(ranked) == pytest.approx(LEVEL, abs=0.001)


def test_a_label_that_is_not_there_is_named():
    with pytest.raises(CorpusError) as refused:
        specialisation(noise(), "language")
    assert str(refused.value) == "hand has no label 'language'; it has topic."
    with pytest.raises(CorpusError) as refused:
        specialisation(make_routing([[[1, 1]]], {"topic": ["a"]}), "topic")
    assert str(refused.value) == (
        "hand has 1 value of 'topic'; at least two are needed to compare."
    )


def test_layers_of_unlike_size_are_padded_with_nothing():
    routing = make_routing(
        [[[2, 2, 0], [1, 1, 2]], [[4, 0, 0], [0, 4, 0]]] * 3, {"topic": ["a", "b"] * 3}
    )
    routing = type(routing)(**{**routing.__dict__, "experts": np.array([2, 3])})
    found = specialisation(routing, "topic")
    assert np.isnan(found.share[0, :, 2]).all()
    assert not found.share_band.above[0, :, 2].any()
    assert found.share[1, :, 2].tolist() == [0.5, 0]
