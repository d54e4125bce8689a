"""Choices recorded elsewhere become a trace, or are refused in a sentence that says why."""

import numpy as np
import pytest

import moeviz
from moeviz.store.arrays import routing_from
from moeviz.trace import TraceError


def drawn(tokens: int, layers: int, experts: int, chosen: int, seed: int = 0) -> np.ndarray:
    """Choices [T, L, K] of a router that has no preferences."""
    ranking = np.random.default_rng(seed).random((tokens, layers, experts)).argsort(axis=-1)
    return ranking[..., :chosen]


CHOICES = drawn(20, 6, 16, 2)
ZEROS = (
    "Some engines hand out a buffer that their kernels never wrote to (vLLM issue 54730): try "
    "another version, or another MoE backend."
)
ONLY = "Only the choices are known, in the order that their source gave them: no gates and no "
ONLY += "router logits."


def refusal(array, num_experts=16, **options) -> str:
    with pytest.raises(TraceError) as caught:
        routing_from(array, num_experts, **options)
    return str(caught.value)


def test_an_array_of_tokens_layers_slots_becomes_layers_tokens_slots():
    trace = moeviz.routing_from(CHOICES.astype(np.uint8), 16, model="a/b", engine="vLLM 0.22")
    np.testing.assert_array_equal(trace.experts, CHOICES.transpose(1, 0, 2))
    assert trace.shape == (6, 20, 16, 2)
    assert trace.gates is None
    assert trace.logits is None
    assert trace.layers == (0, 1, 2, 3, 4, 5)
    assert trace.source.model == "a/b"
    assert trace.source.notes == (
        "What the tokens are is not known: they are shown by their place, from #1 on.",
        "Only the choices are known, in the order that vLLM 0.22 gave them: no gates and no "
        "router logits.",
    )
    assert trace.tokens.texts[:3] == ["#1", "#2", "#3"]
    assert (trace.tokens.ids < 0).all()


def test_a_trace_of_choices_alone_is_saved_and_opened(tmp_path):
    trace = routing_from(CHOICES, 16, texts=["a", "né"] * 10)
    again = moeviz.open_trace(trace.save(tmp_path / "a.moetrace"))
    assert again.key == trace.key
    assert again.gates is None
    assert again.tokens.texts == ["a", "né"] * 10


def test_the_last_token_that_was_written_has_no_routing():
    trace = routing_from(CHOICES, 16, tokens=range(100, 121), prompt=15)
    assert trace.tokens.ids.tolist() == list(range(100, 120))
    assert trace.tokens.generated.tolist() == [False] * 15 + [True] * 5
    assert trace.tokens[0].text == "id 100"
    assert trace.source.notes == (
        "The text of the tokens is not known: they are shown by their ids.",
        "The last token was written but never read, so it has no routing.",
        ONLY,
    )


def test_rows_that_start_later_belong_to_later_tokens():
    trace = routing_from(CHOICES, 16, tokens=range(30), start=10, prompt=12)
    assert trace.tokens.ids.tolist() == list(range(10, 30))
    assert trace.tokens.generated.tolist() == [False] * 2 + [True] * 18


def test_a_cached_prefix_is_left_out_and_said():
    array = CHOICES.copy()
    array[:5] = -1
    trace = routing_from(array, 16, tokens=range(20))
    assert trace.tokens.ids.tolist() == list(range(5, 20))
    np.testing.assert_array_equal(trace.experts[:, 0], CHOICES[5])
    assert trace.source.notes[1] == (
        "The routing of the first 5 tokens was not recorded (a cached prefix, for example), so "
        "they are left out."
    )


def test_dense_layers_are_left_out_whether_found_or_named():
    array = CHOICES.copy()
    array[:, [0, 3]] = 0
    found = routing_from(array, 16)
    named = routing_from(array, 16, layers=(1, 2, 4, 5))
    np.testing.assert_array_equal(found.experts, named.experts)
    assert found.layers == named.layers == (1, 2, 4, 5)
    assert found.source.notes[1] == (
        "Layers that hold only zeros, or nothing, are taken for dense and left out: 0 and 3. No "
        "token can choose expert 0 twice."
    )
    assert named.source.notes[1] == "Layers without a router are left out: 0 and 3."
    packed = routing_from(CHOICES[:, [1, 2, 4, 5]], 16, layers=(1, 2, 4, 5))
    np.testing.assert_array_equal(packed.experts, named.experts)


def test_gates_put_the_largest_first():
    gates = np.tile(np.float32([0.25, 0.75]), (20, 6, 1))
    trace = routing_from(CHOICES, 16, gates=gates)
    np.testing.assert_array_equal(trace.experts, CHOICES.transpose(1, 0, 2)[..., ::-1])
    np.testing.assert_array_equal(trace.gates, gates.transpose(1, 0, 2)[..., ::-1])
    assert ONLY not in trace.source.notes


def test_zeros_are_refused():
    assert refusal(np.zeros_like(CHOICES)) == f"The array holds nothing but zeros. {ZEROS}"
    assert refusal(np.zeros((20, 6, 1), int)) == (
        "Every token has expert 0 in all 6 layers. Experts of different layers have nothing to do "
        f"with each other, so this is no routing. {ZEROS}"
    )


def test_one_route_everywhere_is_refused():
    assert refusal(np.tile([3, 4], (20, 6, 1))) == (
        "Every token has experts 3, 4 in all 6 layers. Experts of different layers have nothing "
        f"to do with each other, so this is no routing. {ZEROS}"
    )


def test_an_expert_that_does_not_exist_is_refused():
    array = CHOICES.copy()
    array[2, 3, 1] = 16
    assert refusal(array) == (
        "Slot 1 of token 2 in routed layer 3 (all counted from 0) holds 16, but the experts are 0 "
        "to 15; 0.4% of all slots are so. Check the number of experts, and that the array is of "
        "this model."
    )
    array[2, 3, 1] = -2
    assert refusal(array) == (
        "The array holds -2; expert ids run from 0 to 15, and -1 stands for what was not recorded."
    )


@pytest.mark.parametrize("filler", [255, 65535])
def test_fillers_are_refused(filler):
    array = np.concatenate([CHOICES, np.full((20, 6, 1), filler)], axis=2)
    assert refusal(array) == (
        f"Slot 2 of token 0 in routed layer 0 (all counted from 0) holds {filler}, but the experts "
        "are 0 to 15; 33.3% of all slots are so. That number fills slots that no router wrote to, "
        "such as those of shared experts (SGLang pull request 9499): leave these slots out."
    )


def test_a_filler_that_is_also_an_expert_is_refused():
    array = np.concatenate([drawn(3, 8, 255, 2), np.full((3, 8, 1), 255)], axis=2)
    assert refusal(array, 256) == (
        "Slot 2 holds expert 255 for every token in all 8 layers. That is a filler, such as of a "
        "shared expert, and no choice: leave the slot out."
    )


def test_an_expert_named_twice_is_refused():
    array = CHOICES.copy()
    array[4, 5] = 7
    assert refusal(array) == (
        "Token 4 names expert 7 twice in routed layer 5 (both counted from 0), which no router "
        "does, and 1 of 20 tokens have such a layer. The array was not filled, or its axes are not "
        "[tokens, layers, top-k]."
    )


def test_ranks_that_are_not_merged_are_refused():
    assert refusal(CHOICES[None]) == (
        "The array has 4 axes, (1, 20, 6, 2). If the first counts ranks, they are not merged: give "
        "the tokens of all ranks one after the other, as [tokens, layers, top-k]."
    )
    assert refusal(np.where(CHOICES < 8, CHOICES, -1)).startswith(
        "Token 0 in routed layer 0 (both counted from 0) has 1 of 2 slots that were not recorded "
    )
    assert refusal(CHOICES, 64) == (
        "No token chose an expert above 15 of 0 to 63, in any of 6 layers. The ids may be one "
        "rank's own numbers: merge the ranks, and give ids that count over all of them; or check "
        "the number of experts."
    )


def test_the_ranking_of_one_token_is_not_taken_for_the_choices_of_many():
    ranking = drawn(1, 6, 16, 16)[0]
    assert refusal(ranking.reshape(6, 8, 2).transpose(1, 0, 2)) == (
        "In every layer the first 8 tokens share no expert. That is one token's ranking of all "
        "experts, cut into pieces, and not what the tokens chose: early versions of llama.cpp's "
        "moe-trace (pull request 28544) read it so. Record it again with a version that minds the "
        "stride."
    )


@pytest.mark.parametrize(
    ("array", "options", "sentence"),
    [
        (CHOICES[0], {}, "The array has shape (6, 2); [tokens, layers, top-k] is needed, each at "
         "least 1."),
        (CHOICES * 1.0, {}, "The array holds float64 numbers; expert ids are whole numbers."),
        (CHOICES, {"num_experts": 0}, "A layer has 1 to 32,767 experts, not 0."),
        (CHOICES.transpose(0, 2, 1), {"num_experts": 4}, "The array has 6 choices a token, but a "
         "layer only 4 experts. Its axes must be [tokens, layers, top-k]."),
        (CHOICES, {"chosen": 1}, "The array has 2 choices a token, but the model makes 1. Shared "
         "experts are no choices: leave their slots out."),
        (CHOICES, {"layers": range(1, 9)}, "The array has 6 layers, but the model's routed layers "
         "are 1 to 8: 8 layers, or 9 or more with a slot for each dense one."),
        (CHOICES, {"layers": range(1, 6)}, "Layer 0 is not among the routed layers, 1 to 5, but "
         "the array holds choices for it. Check the layers, and that the array is of this model."),
        (CHOICES, {"layers": (2, 1)}, "The routed layers must be different places, counted from 0, "
         "in order."),
        (CHOICES, {"tokens": range(30)}, "The array has 20 rows, but the text has 30 tokens, which "
         "need 30 rows, or 29 without the last. Give all tokens, prompt and continuation, and the "
         "place where the rows start."),
        (CHOICES, {"tokens": range(30), "start": 2}, "The array has 20 rows, but the text has 30 "
         "tokens from token 2 on, which need 28 rows, or 27 without the last. Give all tokens, "
         "prompt and continuation, and the place where the rows start."),
        (CHOICES, {"tokens": range(20), "texts": ["a"]}, "There are 20 token ids, but 1 token "
         "texts."),
        (CHOICES, {"tokens": range(20), "prompt": 21}, "The prompt cannot have 21 of 20 tokens."),
        (CHOICES, {"tokens": [-4] * 20}, "Token ids run from -4 to -4; they must be 0 or more, and "
         "below 2,147,483,648."),
        (np.full_like(CHOICES, -1), {}, "No row of the array was recorded: it holds nothing but "
         "-1."),
        (CHOICES, {"gates": np.ones((20, 6, 3))}, "gates has shape (20, 6, 3), but experts has "
         "(20, 6, 2)."),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_refused(array, options, sentence):
    assert refusal(array, **options) == sentence


def test_a_top_1_layer_of_zeros_may_be_dense_so_the_user_must_say():
    array = drawn(20, 6, 16, 1)
    array[:, ::2] = 0
    assert refusal(array) == (
        "Layers 0, 2 and 4 name only expert 0. They may be dense, or send every token there: say "
        "which layers are routed."
    )
    assert routing_from(array, 16, layers=(1, 3, 5)).layers == (1, 3, 5)
    assert routing_from(array, 16, layers=range(6)).layers == (0, 1, 2, 3, 4, 5)


@pytest.mark.parametrize(
    "array",
    [
        drawn(1, 1, 16, 2),  # one token of one layer
        drawn(1, 6, 16, 2),
        drawn(2, 48, 128, 8),
        np.tile(drawn(1, 6, 16, 2), (40, 1, 1)),  # collapsed in every layer
        np.zeros((40, 2, 1), int),  # a toy of two layers that collapsed on expert 0
        np.tile(np.arange(16), (3, 6, 1)),  # every expert takes every token
        np.sort(drawn(20, 6, 16, 4), axis=2),
    ],
    ids=["single", "token", "long", "collapsed", "toy", "dense", "sorted"],
)
def test_what_could_be_routing_is_not_refused(array):
    experts = 128 if array.shape[1] == 48 else 16
    assert routing_from(array, experts).experts.shape[1] == len(array)


def test_a_constant_layer_is_routing_and_a_constant_text_is_noted():
    array = CHOICES.copy()
    array[:, 2] = [5, 9]
    assert routing_from(array, 16).source.notes[1:] == (ONLY,)
    array[:] = array[0]
    assert routing_from(array, 16).source.notes[1] == (
        "Every token takes the same experts, layer by layer. A router may collapse like that, but "
        "so may a record go wrong."
    )
