"""Text in, trace out: checked against the model's own forward pass."""

import numpy as np
import pytest
import tiny
import torch

import moeviz
from moeviz.models.errors import ModelError
from moeviz.models.inputs import TextError
from moeviz.models.run import trace_text, trace_tokens
from moeviz.trace import MoevizError

TEXT = "the router sends é 路 to experts"


@pytest.fixture(scope="module")
def model():
    return moeviz.adopt(tiny.olmoe(), tiny.tokenizer(), "tiny")


def inputs(model, text=TEXT):
    return torch.tensor([model.tokenizer(text)["input_ids"]])


def hooks(network) -> int:
    return sum(len(m._forward_hooks) + len(m._forward_pre_hooks) for m in network.modules())


def test_choices_and_gates_are_what_the_experts_received(model):
    received = []
    originals = {}
    for site in model.sites:
        originals[site] = site.experts.forward

        def spy(hidden, ids, gates, forward=site.experts.forward):
            received.append((ids.clone(), gates.clone()))
            return forward(hidden, ids, gates)

        site.experts.forward = spy
    try:
        with torch.no_grad():
            model.network(inputs(model))
    finally:
        for site in originals:
            del site.experts.forward
    trace = trace_text(model, TEXT)
    assert len(received) == len(trace.layers) == 3
    for row, (ids, gates) in enumerate(received):
        np.testing.assert_array_equal(trace.experts[row], ids.numpy())
        np.testing.assert_array_equal(trace.gates[row], gates.numpy())


def test_logits_are_those_the_model_offers_itself(model):
    with torch.no_grad():
        output = model.network(inputs(model), output_router_logits=True)
    trace = trace_text(model, TEXT)
    for row, logits in enumerate(output.router_logits):
        np.testing.assert_array_equal(trace.logits[row], logits.numpy())


def test_the_choice_is_the_top_k_and_gates_are_its_softmax(model):
    trace = trace_text(model, TEXT)
    assert (model.router.scoring, model.router.renormalised) == ("softmax", False)
    odds = np.exp(trace.logits - trace.logits.max(-1, keepdims=True))
    probability = odds / odds.sum(-1, keepdims=True)
    best = np.argsort(-trace.logits, axis=-1)[..., :2]
    np.testing.assert_array_equal(trace.experts, best)
    np.testing.assert_allclose(trace.gates, np.take_along_axis(probability, best, -1), rtol=1e-5)


def test_loss_is_the_cross_entropy_of_the_next_token(model):
    ids = inputs(model)
    with torch.no_grad():
        predicted = model.network(ids).logits[0].log_softmax(-1)
    trace = trace_text(model, TEXT)
    for row in range(len(trace.tokens) - 1):
        assert trace.loss[row] == pytest.approx(-float(predicted[row, ids[0, row + 1]]), rel=1e-4)
    assert np.isnan(trace.loss[-1])


def test_capture_changes_nothing_and_leaves_nothing(model):
    with torch.no_grad():
        before = model.network(inputs(model)).logits
    there = hooks(model.network)
    for _ in range(20):
        trace_text(model, TEXT)
    assert hooks(model.network) == there
    with torch.no_grad():
        assert torch.equal(model.network(inputs(model)).logits, before)


def test_a_hooked_run_gives_bitwise_the_same_output(model):
    from moeviz.models.tape import Tape

    with torch.no_grad():
        plain = model.network(inputs(model)).logits
        with Tape(model.network, model.sites):
            hooked = model.network(inputs(model)).logits
    assert torch.equal(plain, hooked)


def test_hooks_go_even_when_the_run_fails(model):
    tokens = trace_text(model, "abc").tokens
    beyond = type(tokens)(tokens.source, tokens.ids + 10_000, tokens.spans, tokens.special,
                          tokens.generated)  # fmt: skip
    there = hooks(model.network)
    with pytest.raises(ModelError) as caught:
        trace_tokens(model, beyond)
    assert str(caught.value) == "tiny failed while it ran: index out of range in self"
    assert isinstance(caught.value.__cause__, IndexError)
    assert hooks(model.network) == there
    assert trace_text(model, TEXT).shape == (3, len(inputs(model)[0]), 8, 2)


def test_tokens_cover_the_text(model):
    trace = trace_text(model, TEXT)
    assert trace.tokens[0].special
    assert trace.tokens[0].text == "<s>"
    covered = {c for token in trace.tokens for c in range(*token.span)}
    assert covered == set(range(len(TEXT)))
    road = [t for t in trace.tokens if t.text == "路"]
    assert len(road) == 3, "three byte pieces, each carrying the whole character"


def test_special_tokens_are_a_choice(model):
    trace = trace_text(model, TEXT, add_special_tokens=False)
    assert not trace.tokens.special.any()


def test_without_logits_only_the_logits_are_missing(model):
    full, short = trace_text(model, TEXT), trace_text(model, TEXT, logits=False)
    assert short.logits is None
    np.testing.assert_array_equal(full.experts, short.experts)
    np.testing.assert_array_equal(full.gates, short.gates)


def test_the_same_text_gives_the_same_key(model):
    assert trace_text(model, TEXT).key == trace_text(model, TEXT).key
    assert trace_text(model, TEXT).key != trace_text(model, TEXT + ".").key


def test_threads_do_not_mix(model):
    from concurrent.futures import ThreadPoolExecutor

    texts = [f"text {n} " * (n + 1) for n in range(8)]
    alone = [trace_text(model, text).key for text in texts]
    with ThreadPoolExecutor(8) as pool:
        together = list(pool.map(lambda text: trace_text(model, text).key, texts * 3))
    assert together == alone * 3


@pytest.mark.parametrize("text", ["", "   \n\t "])
def test_empty_text_is_refused(model, text):
    with pytest.raises(TextError) as caught:
        trace_text(model, text)
    assert str(caught.value) == "There is no text. Paste or type something first."


def test_broken_characters_are_refused(model):
    with pytest.raises(TextError) as caught:
        trace_text(model, "ab\ud800c")
    assert str(caught.value) == (
        "The text holds broken characters (lone surrogates). Paste it as UTF-8."
    )


def test_a_text_that_is_too_long_is_refused_with_both_numbers(model):
    with pytest.raises(TextError) as caught:
        trace_text(model, "x " * 100)
    assert str(caught.value) == (
        "The text has 201 tokens, but tiny takes at most 64. Shorten it, or allow it to be cut."
    )


def test_a_cut_text_says_so(model):
    trace = trace_text(model, "x " * 100, truncate=True)
    assert len(trace.tokens) == 64
    assert trace.source.notes == (
        "The text was cut: tiny takes at most 64 tokens, so only the first 64 of 201 are shown.",
    )
    np.testing.assert_array_equal(
        trace.experts, trace_text(model, trace.tokens.source).experts[:, :64]
    )


def test_a_stack_the_model_lacks_is_named(model):
    with pytest.raises(MoevizError) as caught:
        trace_text(model, TEXT, stack="encoder")
    assert str(caught.value) == "tiny has no routed layers in its encoder; choose decoder."


def test_provenance_names_model_and_libraries(model):
    source = trace_text(model, TEXT).source
    assert (source.model, source.model_type, source.dtype) == ("tiny", "olmoe", "float32")
    assert dict(source.versions)["torch"] == torch.__version__
    assert len(source.text_sha256) == 64
