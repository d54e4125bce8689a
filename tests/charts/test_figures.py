"""Plotly figures from a trace alone: the trace's own numbers, and text that stays text."""

import dataclasses
import json

import numpy as np
import pytest
from handmade import make_trace

import moeviz
from moeviz.charts.figures import as_label
from moeviz.metrics.router import router_probabilities
from moeviz.trace import MoevizError, TraceError


def test_load_is_told_against_the_even_share(tiny_trace):
    figure = tiny_trace.plot()
    heat = figure.data[0]
    # layer 0 by hand: of 8 assignments expert 0 took 4, twice the even quarter
    np.testing.assert_allclose(heat.z[0], np.log2([4 / 2, 2 / 2, 1 / 2, 1 / 2]))
    assert heat.text[0][0] == "50 %"
    assert figure.layout.title.text == "All layers, expert by expert"


def test_tokens_are_the_routers_probabilities_and_its_choices(tiny_trace):
    figure = moeviz.plot(tiny_trace, "tokens", layer=1)
    heat, dots = figure.data
    np.testing.assert_allclose(heat.z, router_probabilities(tiny_trace, 1))
    assert list(zip(dots.y, dots.x, strict=True)) == [
        (t, e) for t in range(4) for e in tiny_trace.experts[1, t]
    ]
    np.testing.assert_allclose(dots.customdata, tiny_trace.gates[1].ravel())
    assert list(figure.layout.yaxis.ticktext) == list("abcd")


def test_a_layer_is_named_by_the_models_own_number():
    trace = make_trace([[[0, 1]] * 4, [[2, 3]] * 4], layers=(3, 7))
    assert trace.plot("tokens", layer=7).layout.title.text == "Layer 7, token by token"
    with pytest.raises(TraceError) as caught:
        trace.plot("tokens", layer=0)
    assert str(caught.value) == (
        "This trace has 2 routed layers and layer 0 is not one of them. Choose 3 and 7."
    )


def test_without_logits_gates_are_shown_and_named():
    trace = make_trace([[[0, 1], [3, -1], [2, 0], [1, 0]]], [[[0.7, 0.3], [1, 0]] * 2])
    figure = trace.plot("tokens")
    np.testing.assert_allclose(
        figure.data[0].z, [[0.7, 0.3, 0, 0], [0, 0, 0, 1], [0.3, 0, 0.7, 0], [0, 1, 0, 0]]
    )
    assert "gate" in figure.data[0].hovertemplate
    assert "the trace holds no logits" in figure.layout.title.subtitle.text


def test_a_journey_is_one_token_through_all_layers(tiny_trace):
    figure = tiny_trace.plot("journey", token=2)
    for row in range(2):
        np.testing.assert_allclose(figure.data[0].z[row], router_probabilities(tiny_trace, row)[2])
    assert figure.layout.title.text == "Token 3, c"


def test_plotly_gets_no_markup_and_no_formula():
    trace = make_trace([[[0, 1]] * 6], text="<b>$x$")
    source = dataclasses.replace(trace.source, model="<a href=x>$m$")
    figure = dataclasses.replace(trace, source=source).plot("tokens")
    assert list(figure.layout.yaxis.ticktext) == ["&lt;", "b", "&gt;", "&#36;", "x", "&#36;"]
    text = json.loads(figure.to_json())["layout"]["title"]["subtitle"]["text"]
    assert "<a" not in text
    assert "$" not in text
    assert as_label("a & b") == "a &amp; b"


def test_another_kind_is_refused_with_the_choices(tiny_trace):
    with pytest.raises(MoevizError) as caught:
        tiny_trace.plot("pie")
    assert str(caught.value) == "There is no figure 'pie'; choose load, tokens, journey."


def test_long_texts_label_every_nth_row():
    trace = make_trace([[[0, 1]] * 500], text="ab" * 250)
    axis = trace.plot("tokens").layout.yaxis
    assert list(axis.tickvals) == list(range(0, 500, 10))
    assert len(axis.ticktext) == 50
