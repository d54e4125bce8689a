"""Generation: the same tokens as transformers' own, and the same routing as reading them whole."""

import numpy as np
import pytest
import tiny
import torch

import moeviz
from moeviz.models.generate import generate
from moeviz.models.inputs import TextError

PROMPT = "le routeur é"


@pytest.fixture(scope="module")
def model():
    network = tiny.olmoe(eos_token_id=None)
    network.generation_config.eos_token_id = None
    return moeviz.adopt(network, tiny.tokenizer(), "tiny")


def test_greedy_tokens_are_those_of_transformers(model):
    ids = torch.tensor([model.tokenizer(PROMPT)["input_ids"]])
    expected = model.network.generate(ids, max_new_tokens=12, do_sample=False)
    steps = list(generate(model, PROMPT, max_new_tokens=12))
    assert [step.id for step in steps] == expected[0, ids.shape[1] :].tolist()
    assert [step.number for step in steps] == list(range(12))


def test_prefill_and_decode_route_as_one_full_pass(model):
    *_, last = generate(model, PROMPT, max_new_tokens=12)
    trace = last.trace
    ids = torch.tensor(trace.tokens.ids[None].astype(np.int64))
    with torch.no_grad():
        whole = model.network(ids, output_router_logits=True)
    for row, logits in enumerate(whole.router_logits):
        np.testing.assert_allclose(trace.logits[row], logits.numpy(), atol=1e-4)
        best = logits.topk(2).indices.numpy()
        np.testing.assert_array_equal(trace.experts[row], best)
    predicted = whole.logits[0].log_softmax(-1).numpy()
    expected = -predicted[np.arange(len(ids[0]) - 1), ids[0, 1:]]
    np.testing.assert_allclose(trace.loss[:-1], expected, atol=1e-4)


def test_every_token_has_a_routing_and_new_ones_are_marked(model):
    *_, last = generate(model, PROMPT, max_new_tokens=5)
    asked = len(model.tokenizer(PROMPT)["input_ids"])
    assert len(last.trace.tokens) == asked + 5
    assert last.trace.tokens.generated.tolist() == [False] * asked + [True] * 5
    assert last.finished
    assert last.text == last.trace.tokens.source


def test_spans_of_new_tokens_cover_the_new_text(model):
    *_, last = generate(model, PROMPT, max_new_tokens=40, temperature=1.0, seed=3)
    tokens = last.trace.tokens
    covered = {c for token in tokens if token.generated for c in range(*token.span)}
    assert covered == set(range(len(PROMPT), len(tokens.source)))


def test_probability_is_the_models_before_any_warping(model):
    first = next(generate(model, PROMPT, temperature=2.0, top_p=0.5, seed=1, max_new_tokens=2))
    ids = torch.tensor([model.tokenizer(PROMPT)["input_ids"]])
    with torch.no_grad():
        odds = model.network(ids).logits[0, -1].softmax(-1)
    assert first.probability == pytest.approx(float(odds[first.id]), rel=1e-4)


def test_the_rows_of_all_steps_are_the_rows_of_the_trace(model):
    steps = list(generate(model, PROMPT, max_new_tokens=6))
    asked = len(model.tokenizer(PROMPT)["input_ids"])
    assert [step.experts.shape[1] for step in steps] == [asked, 1, 1, 1, 1, 2]
    trace = steps[-1].trace
    np.testing.assert_array_equal(np.concatenate([s.experts for s in steps], 1), trace.experts)
    np.testing.assert_array_equal(np.concatenate([s.gates for s in steps], 1), trace.gates)


def test_a_stop_repeats_the_last_step_with_the_trace_so_far(model):
    seen = []
    for step in generate(model, PROMPT, max_new_tokens=30, stop=lambda: len(seen) == 4):
        seen.append(step)
    whole = [step.id for step in generate(model, PROMPT, max_new_tokens=30)]
    assert [step.number for step in seen] == [0, 1, 2, 3, 3]
    assert [step.id for step in seen[:4]] == whole[:4]
    assert [step.finished for step in seen] == [False] * 4 + [True]
    assert seen[-1].trace.tokens.ids[-4:].tolist() == whole[:4]
    rows = np.concatenate([step.experts for step in seen], axis=1)
    np.testing.assert_array_equal(rows, seen[-1].trace.experts)


def test_candidates_are_the_models_own_best(model):
    first = next(generate(model, PROMPT, temperature=2.0, seed=1, max_new_tokens=2))
    ids = torch.tensor([model.tokenizer(PROMPT)["input_ids"]])
    with torch.no_grad():
        best = model.network(ids).logits[0, -1].softmax(-1).topk(5)
    assert [c.id for c in first.likeliest] == best.indices.tolist()
    assert [c.probability for c in first.likeliest] == pytest.approx(best.values.tolist(), rel=1e-4)
    assert [c.text for c in first.likeliest] == [model.tokenizer.decode([i]) for i in best.indices]


def test_a_seed_gives_the_same_text_and_another_seed_another(model):
    def text(seed):
        return list(generate(model, PROMPT, 20, temperature=1.0, seed=seed))[-1].text

    assert text(1) == text(1)
    assert len({text(seed) for seed in range(5)}) > 1


def test_it_stops_at_the_end_of_text(model):
    ids = [step.id for step in generate(model, PROMPT, max_new_tokens=8)]
    model.network.generation_config.eos_token_id = ids[3]
    try:
        stopped = list(generate(model, PROMPT, max_new_tokens=8))
    finally:
        model.network.generation_config.eos_token_id = None
    assert [step.id for step in stopped] == ids[: ids.index(ids[3]) + 1]
    assert stopped[-1].trace is not None


def test_closing_early_leaves_no_hooks_and_frees_the_model(model):
    there = sum(len(m._forward_pre_hooks) for m in model.network.modules())
    steps = generate(model, PROMPT, max_new_tokens=30)
    next(steps)
    steps.close()
    assert sum(len(m._forward_pre_hooks) for m in model.network.modules()) == there
    assert model.lock.acquire(blocking=False)
    model.lock.release()


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"max_new_tokens": 0}, "The number of new tokens must be at least 1, not 0."),
        ({"temperature": -1.0}, "The temperature must lie between 0 and 10, not -1.0."),
        ({"top_p": 0.0}, "top-p must be above 0 and at most 1, not 0.0."),
        (
            {"max_new_tokens": 100},
            "The prompt has 6 tokens and 100 more were asked for, but tiny takes at most 64 "
            "in all.",
        ),
    ],
)
def test_settings_out_of_range_are_refused(model, settings, sentence):
    with pytest.raises(TextError) as caught:
        generate(model, PROMPT, **settings)
    assert str(caught.value) == sentence


def test_an_empty_prompt_is_refused(model):
    with pytest.raises(TextError, match=r"^There is no text\."):
        generate(model, " ")
