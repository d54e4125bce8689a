"""What the grids hold, read back from the bytes that the screen gets."""

import dataclasses

import numpy as np
import pytest
from handmade import make_trace

from moeviz.charts.heat import expert_grid, load_grid, token_grid, token_journey, token_labels
from moeviz.charts.picture import MISSING, Picture, quantised
from moeviz.metrics.load import expert_load, layer_chance, load_chance
from moeviz.metrics.router import router_probabilities
from moeviz.trace import RouterSpec, Tokens, TraceError


def values(picture: Picture) -> np.ndarray:
    """The cells as numbers again."""
    cell, stored = picture.meta["cell"], picture.arrays["values"]
    real = cell["low"] + stored / (MISSING - 1) * (cell["high"] - cell["low"])
    return np.where(stored == MISSING, np.nan, real)


def grid(trace, row=0, cells="probability", top=1.0):
    return token_grid(trace, row, cells, expert_load(trace), load_chance(4, 4, 2), top)


def test_cells_are_probabilities_logits_or_gates(tiny_trace):
    assert values(grid(tiny_trace)) == pytest.approx(router_probabilities(tiny_trace, 0), abs=1e-4)
    assert values(grid(tiny_trace, cells="logit")) == pytest.approx(tiny_trace.logits[0], abs=1e-3)
    gates = values(grid(tiny_trace, cells="gate"))
    assert gates[0] == pytest.approx([0.7, 0.3, 0, 0], abs=1e-4)


def test_bars_and_choices_are_those_of_the_layer(tiny_trace):
    for row, bars in ((0, [0.5, 0.25, 0.125, 0.125]), (1, [0.125, 0.25, 0.375, 0.25])):
        arrays = grid(tiny_trace, row).arrays
        assert arrays["bars"].tolist() == bars
        assert (arrays["experts"] == tiny_trace.experts[row]).all()
    scaled = dataclasses.replace(tiny_trace, gates=tiny_trace.gates * np.array([[[1]], [[2]]]))
    assert grid(scaled, 1).arrays["gates"][0] == pytest.approx([1.4, 0.6])


def test_without_logits_gates_remain_and_the_rest_says_why():
    bare = make_trace([[[0, 1], [2, 3], [0, 2], [1, 0]]])
    assert values(grid(bare, cells="gate"))[1] == pytest.approx([0, 0, 0.5, 0.5], abs=1e-4)
    with pytest.raises(TraceError) as caught:
        grid(bare)
    assert str(caught.value) == (
        "This trace holds the chosen experts but not the router's logits. Choose Gate above to "
        "see the choices, or trace the text again with logits."
    )


def test_layers_are_compared_with_their_own_even_share():
    router = RouterSpec(experts=4, chosen=1, experts_per_layer=(4, 2), chosen_per_layer=(1, 1))
    trace = make_trace([[[0], [1], [2], [3]], [[0], [1], [0], [0]]], router=router, layers=(1, 3))
    picture = load_grid(trace, expert_load(trace))
    assert picture.arrays["even"].tolist() == [0.25, 0.5]
    assert values(picture)[1] == pytest.approx([0.75, 0.25, np.nan, np.nan], abs=1e-4, nan_ok=True)
    assert picture.meta["rows"]["labels"] == ["1", "3"]


def test_one_expert_is_shown_through_all_layers(tiny_trace):
    load = expert_load(tiny_trace)
    chance = layer_chance(tiny_trace, load, 0)
    picture = expert_grid(tiny_trace, 1, "gate", load, chance, top=1.0)
    assert values(picture) == pytest.approx(
        np.array([[0.3, 0], [0.4, 0.6], [0, 0.1], [0, 0]]), abs=1e-4
    )
    assert picture.arrays["experts"].tolist() == [[0, -1], [0, 1], [-1, 1], [-1, -1]]
    assert picture.arrays["bars"] == pytest.approx([2 / 8, 2 / 8])
    assert picture.meta["across"]["labels"] == ["0", "1"]
    p = values(expert_grid(tiny_trace, 1, "probability", load, chance, top=1.0))
    assert p[:, 1] == pytest.approx(router_probabilities(tiny_trace, 1)[:, 1], abs=1e-4)
    logits = values(expert_grid(tiny_trace, 1, "logit", load, chance, top=1.0))
    assert logits == pytest.approx(tiny_trace.logits[:, :, 1].T, abs=1e-3)


def test_one_expert_through_all_layers_needs_logits_for_its_probability():
    bare = make_trace([[[0, 1], [2, 3], [0, 2], [1, 0]]])
    load = expert_load(bare)
    with pytest.raises(TraceError) as caught:
        expert_grid(bare, 0, "probability", load, layer_chance(bare, load, 0), top=1.0)
    assert str(caught.value) == (
        "This trace holds the chosen experts but not the router's logits. Choose Gate above to "
        "see the choices, or trace the text again with logits."
    )


def test_the_load_of_unlike_layers_is_not_drawn_above_one_expert(tiny_trace):
    picture = expert_grid(tiny_trace, 1, "gate", expert_load(tiny_trace), None, top=1.0)
    assert "bars" not in picture.meta
    assert "bars" not in picture.arrays


def test_layers_without_the_expert_are_blank():
    router = RouterSpec(experts=4, chosen=1, experts_per_layer=(4, 2), chosen_per_layer=(1, 1))
    logits = np.zeros((2, 4, 4), np.float32)
    logits[1, :, 2:] = -np.inf
    trace = make_trace([[[0], [1], [2], [3]], [[0], [1], [0], [0]]], logits=logits, router=router)
    load = expert_load(trace)
    chance = layer_chance(trace, load, 0)
    for cells in ("gate", "probability", "logit"):
        shown = values(expert_grid(trace, 3, cells, load, chance, top=1.0))
        assert np.isfinite(shown[:, 0]).all()
        assert np.isnan(shown[:, 1]).all()


def test_a_journey_names_the_runner_up(tiny_trace):
    picture = token_journey(tiny_trace, 0, top=1.0)  # logits rise with the expert's number
    assert picture.arrays["left_out"].tolist() == [3, 1]
    assert picture.arrays["behind"] == pytest.approx([-0.375, 0.125])
    assert picture.meta["read"].endswith("how far behind it was (logits).")
    assert "left_out" not in token_journey(make_trace([[[0, 1]] * 4]), 0, top=1.0).arrays


def test_a_journey_holds_every_layer_of_one_token(tiny_trace):
    picture = token_journey(tiny_trace, 3, top=1.0)
    assert picture.arrays["experts"].tolist() == [[3, 0], [2, 0]]
    assert picture.meta["token"] == "d"
    assert ["Next-token loss", "no next token"] in picture.meta["facts"]
    assert ["Character", "4"] in picture.meta["facts"]


def test_experts_a_layer_does_not_have_are_blank():
    router = RouterSpec(experts=4, chosen=1, experts_per_layer=(4, 2), chosen_per_layer=(1, 1))
    logits = np.zeros((2, 4, 4), np.float32)
    logits[1, :, 2:] = -np.inf
    trace = make_trace([[[0], [1], [2], [3]], [[0], [1], [0], [0]]], logits=logits, router=router)
    for picture in (grid(trace, row=1), grid(trace, row=1, cells="logit")):
        assert np.isnan(values(picture)[:, 2:]).all()
        assert np.isfinite(values(picture)[:, :2]).all()
    journey = values(token_journey(trace, 0, top=1.0))
    assert np.isnan(journey).tolist() == [[False] * 4, [False, False, True, True]]


def test_a_journey_without_logits_shows_gates():
    bare = make_trace([[[0, 1], [2, 3], [0, 2], [1, 0]]], [[[3.0, 1.0]] * 4])
    picture = token_journey(bare, 1, top=0.2)
    assert picture.meta["cell"]["name"] == "Share of the gates"
    assert values(picture)[0] == pytest.approx([0, 0, 0.75, 0.25], abs=1e-4)


def test_long_tokens_are_cut_in_labels():
    whole = make_trace([[[0, 1]]], text="a")
    long = Tokens("a" * 40, np.zeros(1), np.array([[0, 40]]), np.zeros(1), np.zeros(1))
    trace = dataclasses.replace(whole, tokens=long)
    assert token_labels(trace) == ["a" * 15 + "…"]


def test_quantised_keeps_five_digits_and_marks_what_is_missing():
    steps = quantised(np.array([0.0, 0.5, 1.0, np.nan, np.inf]), 0.0, 1.0)
    assert steps.tolist() == [0, 32767, 65534, MISSING, MISSING]
    assert quantised(np.array([2.0, 2.0]), 2.0, 2.0).tolist() == [0, 0]
