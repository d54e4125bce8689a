"""Corpus runs against the traces of the same passages: the same choices, only added up."""

import dataclasses
import tracemalloc

import numpy as np
import pytest
import tiny
from same_counts import same_counts
from transformers.masking_utils import create_bidirectional_mask
from transformers.models.olmoe import modeling_olmoe

from moeviz.corpora.corpus import Corpus, CorpusError
from moeviz.corpora.routing import POSITIONS
from moeviz.engines import local, tally
from moeviz.engines.local import CorpusCancelled, label_words, route_corpus, route_written
from moeviz.metrics.coactivation import coactivation
from moeviz.metrics.repetition import repetition
from moeviz.metrics.words import words_explain
from moeviz.models import adopt, trace_text
from moeviz.models.generate import generate
from moeviz.models.zoo import tiny_model
from moeviz.trace import EMPTY

TEXTS = (
    "the router sends each token to two experts",
    "le routeur choisit",
    "der Router schickt jedes Zeichen zu zwei Experten, und die rechnen",
    "x",
    "two experts two experts two experts",
)


@pytest.fixture(scope="module")
def model():
    return adopt(tiny.olmoe(), tiny.tokenizer(), "tiny")


@pytest.fixture(scope="module")
def corpus():
    return Corpus("five", TEXTS, {"language": ["en", "fr", "de", "", "en"]})


@pytest.fixture(scope="module")
def routing(model, corpus):
    return route_corpus(model, corpus, vocabulary=("input", "next", "predicted"))


@pytest.fixture(scope="module")
def traces(model):
    """Each passage traced alone, its start token left out of what is counted."""
    return [trace_text(model, text) for text in TEXTS]


def test_counts_are_those_of_the_traces(routing, traces):
    assert routing.tokens.tolist() == [len(trace.tokens) - 1 for trace in traces]
    for passage, trace in enumerate(traces):
        for layer in range(3):
            ids, gates = trace.experts[layer, 1:], trace.gates[layer, 1:]
            assert (routing.counts[passage, layer] == np.bincount(ids.ravel(), minlength=8)).all()
            assert (routing.first[passage, layer] == np.bincount(ids[:, 0], minlength=8)).all()
            summed = np.bincount(ids.ravel(), gates.ravel(), minlength=8)
            assert np.allclose(routing.gates[passage, layer], summed, atol=1e-5)


def test_neighbours_and_pairs_are_those_of_the_traces(routing, traces):
    together = np.zeros((3, 8, 8))
    for passage, trace in enumerate(traces):
        counted = without_start(trace)
        pairs = max(0, len(counted.tokens) - 1)
        assert routing.neighbours[passage] == pairs
        if pairs:
            told = repetition(counted)
            assert np.allclose(routing.same_first[passage], told.first * pairs)
            assert np.allclose(routing.shared[passage], told.shared * pairs)
        for layer in range(3):
            loads = np.bincount(counted.experts[layer].ravel(), minlength=8)
            together[layer] += np.nan_to_num(coactivation(counted, layer) * loads[:, None])
    assert np.allclose(routing.together, together)
    assert (routing.ranked == routing.together).all()  # top-2: every pair stands side by side


def test_words_are_counted_with_the_experts_that_read_them(routing, traces):
    ids = np.concatenate([trace.tokens.ids[1:] for trace in traces])
    following = np.concatenate([np.append(trace.tokens.ids[2:], -1) for trace in traces])
    experts = np.concatenate([trace.experts[:, 1:] for trace in traces], axis=1)
    for kind, words in (("input", ids), ("next", following)):
        counts = routing.vocabulary[kind]
        assert (counts.tokens == np.bincount(words[words >= 0], minlength=300)).all()
        for layer, expert in ((0, 3), (2, 7)):
            met = words[(experts[layer] == expert).any(axis=-1)]
            tokens, times = counts.of(layer * 8 + expert)
            found = np.zeros(300, int)
            found[tokens] = times
            assert (found == np.bincount(met[met >= 0], minlength=300)).all()
    assert routing.pieces[int(ids[0])] == traces[0].tokens[1].piece


def test_predictions_are_the_models_own(model, routing, traces):
    import torch

    predicted = []
    for trace in traces:
        with torch.inference_mode():
            row = torch.tensor(trace.tokens.ids.astype(np.int64))[None]
            predicted += model.network(row).logits[0, 1:].argmax(-1).tolist()
    counts = routing.vocabulary["predicted"].tokens
    assert (counts == np.bincount(predicted, minlength=300)).all()


def test_words_by_label_add_up_to_the_words_of_the_run(model, corpus, routing, traces):
    counts = label_words(model, corpus, ["language"])["language"]
    assert counts.shape == (3, 300)  # de, en, fr
    english = np.concatenate([traces[0].tokens.ids[1:], traces[4].tokens.ids[1:]])
    assert (counts[1] == np.bincount(english, minlength=300)).all()
    explained = words_explain(routing, counts)
    assert np.allclose(explained.sum(axis=-1), 2)  # every token has two experts


def test_positions_fall_into_doubling_bins(routing, traces):
    want = np.zeros((3, 8, POSITIONS), int)
    for trace in traces:
        for place in range(1, len(trace.tokens)):
            for layer in range(3):
                want[layer, trace.experts[layer, place], place.bit_length()] += 1
    assert (routing.positions == want).all()


def test_padding_changes_nothing(model, corpus, routing):
    alone = route_corpus(model, corpus, vocabulary=("input", "next", "predicted"), alone=True)
    assert same(alone, routing)


def test_a_vocabulary_too_large_for_a_table_is_counted_alike(model, corpus, routing, monkeypatch):
    monkeypatch.setattr(tally, "MOST_CELLS", 0)
    monkeypatch.setattr(tally, "MOST_WAITING", 16)
    kinds = ("input", "next", "predicted")
    assert same(route_corpus(model, corpus, vocabulary=kinds, alone=True), routing)


def test_parts_add_up_to_the_whole(model, corpus, routing):
    kinds = ("input", "next", "predicted")
    first = route_corpus(model, corpus.where([0, 1]), vocabulary=kinds)
    rest = route_corpus(model, corpus.where([2, 3, 4]), vocabulary=kinds)
    assert same(first + rest, routing)
    assert (first + rest).labels["language"].tolist() == ["en", "fr", "de", "", "en"]


def test_unlike_runs_do_not_add_up(model, corpus, routing):
    other = dataclasses.replace(routing, model="other")
    with pytest.raises(CorpusError) as refused:
        routing + other
    assert str(refused.value) == (
        "tiny on five (prefill) and other on five (prefill) cannot be added up: model, phase, "
        "labels and what was counted must be the same."
    )


def test_start_tokens_are_counted_when_asked_for(model, corpus, traces):
    routing = route_corpus(model, corpus, special=True)
    assert routing.tokens.tolist() == [len(trace.tokens) for trace in traces]
    assert routing.vocabulary["input"].tokens[0] == len(TEXTS)


def test_a_long_passage_is_cut_and_that_is_said(model, corpus, traces):
    routing = route_corpus(model, corpus, max_tokens=6)
    assert routing.tokens.tolist() == [min(5, len(trace.tokens) - 1) for trace in traces]
    assert sum(len(trace.tokens) > 6 for trace in traces) == 3
    assert routing.notes[-1] == (
        "3 of 5 passages were longer than 6 tokens; only that much of each was read."
    )


def test_what_the_model_writes_is_counted_apart(model, corpus):
    routing = route_written(model, corpus.where([1, 3]), new_tokens=4)
    assert routing.phase == "decode"
    for passage, text in enumerate((TEXTS[1], TEXTS[3])):
        *_, last = generate(model, text, 4)
        new = last.trace.tokens.generated & ~last.trace.tokens.special
        ids = last.trace.experts[:, new]
        assert routing.tokens[passage] == new.sum()
        for layer in range(3):
            want = np.bincount(ids[layer].ravel(), minlength=8)
            assert (routing.counts[passage, layer] == want).all()


def test_an_encoder_and_its_decoder_are_counted_apart():
    model = adopt(tiny.switch(), tiny.tokenizer(), "switch")
    corpus = Corpus("two", TEXTS[:2])
    for stack in ("encoder", "decoder"):
        routing = route_corpus(model, corpus, stack=stack)
        for passage, text in enumerate(TEXTS[:2]):
            trace = trace_text(model, text, stack=stack)
            ids = trace.experts[0, ~trace.tokens.special]
            want = np.bincount(ids[ids != EMPTY], minlength=4)
            assert (routing.counts[passage, 0] == want).all()


def test_progress_is_told_and_may_stop_the_run(model, corpus):
    told = []
    route_corpus(model, corpus, progress=lambda *done: told.append(done), alone=True)
    assert told == [(number, 5) for number in range(1, 6)]

    def stop(done, total):
        raise CorpusCancelled("Enough.")

    with pytest.raises(CorpusCancelled):
        route_corpus(model, corpus, progress=stop)
    assert model.lock.acquire(blocking=False)
    model.lock.release()


def test_memory_does_not_grow_with_the_text(model):
    """Ten times the passages, and only their own counts are added."""
    peaks = []
    for times in (40, 400):
        corpus = Corpus("many", TEXTS[2:3] * times)
        tracemalloc.start()
        route_corpus(model, corpus)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    own = 360 * 3 * 8 * 12 + 360 * 3 * 8  # counts, first, gates, neighbours
    assert peaks[1] - peaks[0] < 4 * own + 1_000_000


def test_a_text_with_broken_characters_is_refused(model):
    with pytest.raises(CorpusError) as refused:
        route_corpus(model, Corpus("mine", ("fine", "bro\ud800ken")))
    assert str(refused.value) == (
        "A text of mine holds broken characters (lone surrogates): 'bro?ken'. Leave it out."
    )


def test_wrong_settings_are_refused(model, corpus):
    with pytest.raises(CorpusError) as refused:
        route_corpus(model, corpus, vocabulary=("output",))
    assert str(refused.value) == "'output' is not one of input, next, predicted."
    with pytest.raises(CorpusError) as refused:
        route_corpus(model, corpus, max_tokens=0)
    assert str(refused.value) == "max_tokens must be at least 1, not 0."
    with pytest.raises(CorpusError) as refused:
        route_corpus(adopt(tiny.olmoe(), None, "mute"), corpus)
    assert str(refused.value) == "mute was adopted without a tokenizer, so it reads no text."


def same(one, other) -> bool:
    """Whether two runs counted exactly the same; gates are sums of floats in another order."""
    return same_counts(one, other) and np.allclose(one.gates, other.gates, atol=1e-4)


def without_start(trace):
    """The trace without its first token."""
    tokens = trace.tokens
    kept = dataclasses.replace(
        tokens,
        ids=tokens.ids[1:],
        spans=tokens.spans[1:],
        special=tokens.special[1:],
        generated=tokens.generated[1:],
    )
    return dataclasses.replace(
        trace,
        tokens=kept,
        experts=trace.experts[:, 1:],
        gates=trace.gates[:, 1:],
        logits=None,
        scores=None,
        loss=None,
    )


def test_batches_are_made_only_as_the_model_routes_them_like_single_texts(corpus, monkeypatch):
    """Doge mixes the keys of all tokens of a batch, and Bert-like attention sees the padding."""

    def shapes(model) -> list[tuple[int, bool]]:
        """(texts, masked) of each forward pass of a run."""
        batching = local._batching(model)  # tried before we listen
        given, forward = [], model.network.forward

        def listening(*args, **inputs):
            given.append((len(inputs["input_ids"]), "attention_mask" in inputs))
            return forward(*args, **inputs)

        model.network.forward = listening
        together = route_corpus(model, corpus)
        found = list(given)
        assert same(route_corpus(model, corpus, alone=True), together), batching
        return found

    assert shapes(adopt(tiny_model("olmoe"), tiny.tokenizer())) == [(5, False)]
    assert shapes(adopt(tiny_model("doge"), tiny.tokenizer())) == [(1, True)] * 5
    both_ways = tiny_model("olmoe")
    for layer in both_ways.model.layers:
        layer.self_attn.is_causal = False
    monkeypatch.setattr(modeling_olmoe, "create_causal_mask", create_bidirectional_mask)
    assert shapes(adopt(both_ways, tiny.tokenizer())) == [(5, True)]
