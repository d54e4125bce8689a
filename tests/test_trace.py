"""A trace checks itself, cannot be changed, and is known by its content."""

import dataclasses

import numpy as np
import pytest
from handmade import make_tokens, make_trace

from moeviz.trace import Provenance, RouterSpec, RoutingTrace, Tokens, TraceError


def test_arrays_cannot_be_written(tiny_trace):
    with pytest.raises(ValueError, match="read-only"):
        tiny_trace.gates[0, 0, 0] = 2
    with pytest.raises(dataclasses.FrozenInstanceError):
        tiny_trace.layers = (5, 6)


def test_the_array_given_is_not_shared_with_the_trace():
    gates = np.full((1, 4, 1), 0.5, np.float32)
    trace = make_trace([[[0], [1], [2], [3]]], gates)
    gates[:] = 9
    assert trace.gates.max() == 0.5


def test_shape_is_layers_tokens_experts_chosen(tiny_trace):
    assert tiny_trace.shape == (2, 4, 4, 2)


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (
            {"gates": np.zeros((1, 4, 2))},
            "gates has shape (1, 4, 2), but 2 layers, 4 tokens, 4 experts and top 2 need "
            "(2, 4, 2).",
        ),
        (
            {"experts": np.full((2, 4, 2), 4)},
            "Expert ids run from 4 to 4, but the router has experts 0 to 3 "
            "(and -1 for an empty slot).",
        ),
        ({"gates": np.full((2, 4, 2), np.nan)}, "Some gates are not finite numbers."),
        (
            {"experts": np.full((2, 4, 2), 1)},
            "A token chose the same expert twice in one layer.",
        ),
        ({"experts": np.full((2, 4, 2), -1)}, "An empty slot has a gate other than 0."),
        (
            {"logits": np.zeros((2, 4, 3))},
            "logits has shape (2, 4, 3), but 2 layers, 4 tokens, 4 experts and top 2 need "
            "(2, 4, 4).",
        ),
        ({"router": RouterSpec(4, 2, sites=("a",))}, "router.sites has 1 entries for 2 layers."),
    ],
)
def test_parts_that_do_not_fit_are_refused(tiny_trace, change, sentence):
    with pytest.raises(TraceError) as caught:
        dataclasses.replace(tiny_trace, **change)
    assert str(caught.value) == sentence


def test_a_trace_of_nothing_is_refused():
    with pytest.raises(TraceError) as caught:
        RoutingTrace(
            experts=np.zeros((1, 0, 1)),
            gates=np.zeros((1, 0, 1)),
            tokens=make_tokens(""),
            router=RouterSpec(1, 1),
            source=Provenance("m"),
            layers=(0,),
        )
    assert str(caught.value) == (
        "A trace needs at least one routed layer and one token; this one has 1 layers and 0 tokens."
    )


def test_key_follows_content(tiny_trace):
    same = dataclasses.replace(tiny_trace, gates=tiny_trace.gates.copy())
    assert same.key == tiny_trace.key
    logits = tiny_trace.logits.copy()
    logits[1, 3, 2] += 1e-6
    assert dataclasses.replace(tiny_trace, logits=logits).key != tiny_trace.key
    other = dataclasses.replace(tiny_trace.source, model="another")
    assert dataclasses.replace(tiny_trace, source=other).key != tiny_trace.key


def test_key_tells_apart_large_arrays_that_differ_in_one_number():
    tokens = make_tokens("a" * 2000)
    ids = np.tile([[0], [1]], (1000, 1))[None]
    logits = np.zeros((1, 2000, 300), np.float32)
    changed = logits.copy()
    changed[0, 1234, 123] = 1
    keys = {
        RoutingTrace(
            ids, np.ones_like(ids), tokens, RouterSpec(300, 1), Provenance("m"), (0,), logits=array
        ).key
        for array in (logits, changed)
    }
    assert len(keys) == 2


def test_layer_index_names_the_choices(tiny_trace):
    trace = dataclasses.replace(tiny_trace, layers=(1, 3))
    assert trace.layer_index(3) == 1
    with pytest.raises(TraceError) as caught:
        trace.layer_index(20)
    assert str(caught.value) == (
        "This trace has 2 routed layers and layer 20 is not one of them. Choose 1 and 3."
    )


def test_tokens_read_as_the_text_they_cover():
    tokens = Tokens(
        source="né",
        ids=np.array([9, 5, 6, 7]),
        spans=np.array([[-1, -1], [0, 1], [1, 2], [1, 2]]),
        special=np.array([True, False, False, False]),
        generated=np.zeros(4, bool),
        vocabulary={9: "<s>", 5: "n", 6: "Ã", 7: "©"},
    )
    assert tokens.texts == ["<s>", "n", "é", "é"]
    assert tokens[0].special
    assert tokens[-1].span == (1, 2)
    assert [token.piece for token in tokens[2:]] == ["Ã", "©"]


def test_a_token_beyond_the_text_is_refused():
    with pytest.raises(TraceError) as caught:
        dataclasses.replace(make_tokens("ab"), source="a")
    assert str(caught.value) == "A token ends at character 2, but the text has 1 characters."
