"""The figures of the model card, each by a second road."""

import lzma
import math

import numpy as np
import pytest
import torch

from moeviz.training import evaluate
from moeviz.training.card import table
from moeviz.training.curves import curves_svg
from moeviz.training.data import Document
from moeviz.training.emergence import saturation
from moeviz.training.model import SIZES, build_model, watch_routers
from moeviz.training.specialise import RoutedPassages, centroid_answer, route_passages

DOCUMENTS = [
    Document("the cat sat on a mat", "en", "tales"),
    Document("die Katze saß " * 40, "de", "tales"),
    Document("x + 1", "code", "python"),
]


@pytest.fixture(scope="module")
def scored(shards):
    model = build_model(SIZES["tiny"], False, 0).eval()
    watch = watch_routers(model)
    return model, evaluate.score_documents(model, watch, shards.tokenizer, DOCUMENTS)


def test_loss_of_a_padded_batch_equals_a_plain_run(scored, shards):
    model, result = scored
    ids = torch.tensor([shards.tokenizer.encode(DOCUMENTS[0].text).ids])
    plain = model(ids, labels=ids).loss.item() * (ids.shape[1] - 1)
    assert result.nats[0] == pytest.approx(plain, rel=1e-4)


def test_every_real_token_is_counted_and_no_pad(scored, shards):
    _, result = scored
    for document, counts in zip(DOCUMENTS, result.counts, strict=True):
        tokens = len(shards.tokenizer.encode(document.text).ids) - 1
        pieces = math.ceil(tokens / 127)  # the tiny model reads 128, one of them <|endoftext|>
        assert counts.sum(-1).tolist() == [2 * (tokens + pieces)] * 2


def test_bits_per_byte_by_hand(scored):
    _, result = scored
    score = evaluate.scores_by(result, "language")[0]
    assert (score.name, score.documents, score.bytes) == ("code", 1, 5)
    assert score.bits_per_byte == pytest.approx(result.nats[2] / math.log(2) / 5)
    assert score.xz_bits_per_byte == 8 * len(lzma.compress(b"x + 1", preset=9)) / 5


def test_balance_of_a_lopsided_layer():
    layer = evaluate.layer_balance(np.array([[0.5, 0.48, 0.02, 0.0]]))[0]
    assert layer.max_violation == pytest.approx(1.0)
    assert layer.starved == 2


def test_batches_keep_every_row_and_their_size():
    rows = [[0] * n for n in (5, 1, 9, 3, 3, 20)]
    batches = list(evaluate.batches_by_length(rows, 10))
    assert sorted(i for batch in batches for i in batch) == list(range(6))
    assert all(len(b) == 1 or len(b) * max(len(rows[i]) for i in b) <= 10 for b in batches)


def passages_of(counts, labels):
    families = np.arange(len(labels)).astype(str)
    return RoutedPassages(counts, counts.astype(float), labels, labels, families)


def test_centroids_tell_apart_what_differs_and_nothing_else():
    rng = np.random.default_rng(0)
    labels = np.array(["a", "b"] * 100)
    alike = rng.multinomial(64, [0.25] * 4, size=(200, 1))
    everything = np.ones(200, dtype=bool)
    answer = centroid_answer(passages_of(alike, labels), "?", labels, everything)
    assert 0.35 < answer.accuracy < 0.65
    unlike = alike + 60 * (labels == "b")[:, None, None] * [0, 1, 0, 0]
    answer = centroid_answer(passages_of(unlike, labels), "?", labels, everything)
    assert (answer.accuracy, answer.right, answer.classes, answer.passages) == (1, 1, 2, 200)
    assert answer.right_chance == pytest.approx(0.5, abs=0.01)
    assert centroid_answer(passages_of(unlike, labels), "?", labels, np.arange(200) < 1) is None


def test_passages_are_counted_and_weighed_and_keep_their_family(shards):
    model = build_model(SIZES["tiny"], False, 0).eval()
    documents = [
        Document("the cat sat " * 300, "en", "tales", "same"),
        Document("le chat " * 300, "fr", "tales", "same"),
    ]
    passages = route_passages(model, watch_routers(model), shards.tokenizer, documents)
    assert len(passages.families) > 4 and set(passages.families) == {"same"}
    assert (passages.counts.sum(-1) == 2 * 64).all()  # top 2
    np.testing.assert_allclose(passages.gates.sum(-1), 64, rtol=1e-5)  # gates sum to 1


def test_saturation_by_hand():
    # Two moments, one layer, one passage of two tokens, top 2: {0,1},{2,3} then {1,0},{2,0}.
    experts = np.array([[[[[0, 1], [2, 3]]]], [[[[1, 0], [2, 0]]]]])
    np.testing.assert_allclose(saturation(experts), [[0.75], [1.0]])


def test_table_and_curves_are_well_formed():
    assert table(("a", "b"), [(1, 2)]) == "| a | b |\n| --- | ---: |\n| 1 | 2 |"
    log = {"tokens": np.arange(1, 9), "loss": np.ones(8), "max_violation_recent": np.ones((8, 2))}
    assert curves_svg(log).count("<polyline") == 3
