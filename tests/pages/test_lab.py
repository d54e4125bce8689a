"""The Lab page's own logic, driven without a browser, on the demo model."""

from pathlib import Path

import numpy as np
import pytest
from reading import read
from streamlit.testing.v1 import AppTest

import moeviz
from moeviz.charts.lab_words import NAMES, OWN
from moeviz.charts.words import percent
from moeviz.metrics.compare import compare
from moeviz.metrics.rerouted import own_route, rerouted_layer
from moeviz.rules.interventions import Assign
from moeviz.rules.routing import ALGORITHMS, RoutingRule
from moeviz.ui import session
from moeviz.ui.examples import MIXED

APP = Path(__file__).parent.parent.parent / "app.py"


@pytest.fixture(scope="module")
def model():
    return moeviz.load_model(session.default_model())


@pytest.fixture(scope="module")
def trace(model):
    return moeviz.trace_text(model, MIXED)


@pytest.fixture
def page():
    """The app in this process, turned to the Lab page when it first runs."""
    app = AppTest.from_file(APP, default_timeout=120)
    app.switch_page("pages/lab.py")
    return app


def said(page) -> str:
    return read(m.value for m in page.markdown)


def components(page) -> list[str]:
    return [c.proto.component_name for c in page.get("bidi_component")]


def table(page):
    return page.dataframe[0].value.set_index("Algorithm")


def test_the_first_visit_sets_expert_choice_beside_the_own_route(page, trace):
    page.run()
    assert not page.exception
    found = rerouted_layer(trace, trace.shape[0] // 2, RoutingRule("expert-choice"))
    assert f"Expert choice keeps {percent(found.kept)} of the choices" in said(page)
    assert f"{found.assignment.left_out} tokens would get no expert at all." in said(page)
    assert components(page).count("moeviz_grid") == 2
    assert "moeviz_plot" not in components(page)
    assert "SIMULATED" in said(page)


def test_the_table_has_every_algorithm_on_this_layer(page, model, trace):
    page.query_params["layer"] = "0"
    page.run()
    lines = table(page)
    assert list(lines.index) == [OWN, *NAMES.values()]
    assert lines.loc[OWN, "MaxVio"] == own_route(trace, 0).max_violation
    assert lines.loc["Token choice", "Own choices kept"] == 100
    config = model.network.config
    size = 3 * config.hidden_size * config.moe_intermediate_size  # gate, up and down projection
    assert lines.loc[OWN, "Parameters a token"] == trace.shape[3] * size
    assert lines.loc["Dense", "Parameters a token"] == trace.shape[2] * size
    for name in ("hash", "base", "gshard"):
        found = rerouted_layer(trace, 0, RoutingRule(name)).assignment
        line = lines.loc[NAMES[name]]
        assert line["MaxVio"] == found.max_violation
        assert (line["Dropped"], line["Without an expert"]) == (found.dropped, found.left_out)
        assert line["Causal"] == ("yes" if found.causal else "no")


def test_a_link_restores_algorithms_and_settings(page, trace):
    wanted = {"algorithms": "loss-free,noisy", "k": "3", "noise": "0.5", "moment": "10",
              "steps": "50", "layer": str(trace.layers[1])}  # fmt: skip
    for name, value in wanted.items():
        page.query_params[name] = value
    page.run()
    assert not page.exception
    assert components(page).count("moeviz_grid") == 3
    assert components(page).count("moeviz_plot") == components(page).count("moeviz_dial") == 1
    noisy = rerouted_layer(trace, 1, RoutingRule("noisy", chosen=3, noise=0.5))
    assert f"Noisy top-K keeps {percent(noisy.kept)}" in said(page)
    assert page.number_input(key="lab_noise").value == 0.5
    assert {name: page.query_params[name] for name in wanted} == wanted


def test_only_the_settings_that_matter_are_offered(page):
    page.query_params["algorithms"] = "base"
    page.run()
    assert [n.key for n in page.number_input] == []
    page.button_group(key="algorithms").set_value(["base", "switch"]).run()
    assert [n.key for n in page.number_input] == ["lab_factor"]
    page.button_group(key="algorithms").set_value(["base", "switch", "hash"]).run()
    assert page.button_group(key="algorithms").value == ["switch", "hash"]
    page.number_input(key="lab_factor").set_value(2.0).run()
    assert page.query_params["cf"] == "2"
    assert page.query_params["algorithms"] == "switch,hash"


def test_a_setting_that_does_not_fit_is_one_sentence(page):
    page.query_params["algorithms"] = "group-limited,dense"
    page.query_params["groups"] = "5"
    page.run()
    assert not page.exception
    assert [e.value.replace("\\", "") for e in page.error] == [
        "Group-limited: 16 experts cannot be parted into 5 equal groups. "
        "Choose a number of groups that divides 16."
    ]
    assert components(page).count("moeviz_grid") == 2  # the own route, and dense
    assert "cannot be parted" in table(page).loc["Group-limited", "Note"]


@pytest.mark.parametrize("text", ["a", "Ω" * 3])
def test_every_algorithm_takes_the_shortest_text(page, text):
    page.query_params["text"] = text
    page.query_params["algorithms"] = "switch,expert-choice"
    page.run()
    assert not page.exception and not page.error
    assert len(table(page)) == 1 + len(ALGORITHMS)


def test_a_trace_without_logits_says_why_the_lab_cannot_work(page, model):
    page.run()
    bare = moeviz.trace_text(model, "no logits here", logits=False)
    page.session_state["kept_traces"] = {bare.key: session.Kept(bare, "uploaded", "bare.moetrace")}
    page.session_state["kept"] = bare.key
    page.run()
    assert not page.exception
    assert any(
        read([i.value])
        == "The lab needs the router's logits. This trace holds the chosen experts but not the "
        "router's logits, so only choices and gates can be shown. Trace the text again with "
        "logits to see the rest."
        for i in page.info
    )
    assert "moeviz_grid" not in components(page)


def press(page, label: str):
    return next(b for b in page.button if b.label == label).click().run()


def test_an_algorithm_is_run_in_the_model_on_request(page, model, trace):
    page.query_params["algorithms"] = "switch,expert-choice"
    page.run()
    press(page, "Run with Switch and Expert choice")
    assert not page.exception and not page.error
    before = float(np.nanmean(trace.loss))
    for rule in (RoutingRule("switch"), RoutingRule("expert-choice")):
        forced = moeviz.trace_text(model, MIXED, rule=Assign(rule))
        cost = compare(trace, forced)
        after = float(np.nanmean(forced.loss))
        assert (
            f"With {NAMES[rule.name]} in every layer the loss rises from {before:.3f} to "
            f"{after:.3f} nats a token ({cost.mean_change:+.3f}, "
        ) in said(page)
    assert components(page).count("moeviz_strip") == 2
    assert any("a loss that falls may be a peek ahead" in read([c.value]) for c in page.caption)
    page.number_input(key="lab_factor").set_value(2.0).run()
    assert "nats a token" not in said(page)


def test_the_models_own_rule_leaves_the_loss_as_it_is(page, trace):
    page.query_params["algorithms"] = "token-choice,soft"
    page.run()
    press(page, "Run with Token choice")
    before = float(np.nanmean(trace.loss))
    assert f"With Token choice in every layer the loss stays at {before:.3f} nats a token." in said(
        page
    )
    assert not page.error
    assert any(
        read([c.value])
        == "Soft MoE mixes tokens before the experts read them, which no choice of experts can do, "
        "so it cannot be enforced."
        for c in page.caption
    )


def test_the_sentence_follows_the_balancing_step(page, trace):
    page.query_params["algorithms"] = "loss-free"
    page.query_params["moment"] = "0"
    page.run()
    assert "Loss-free bias keeps 100 % of the choices" in said(page)
