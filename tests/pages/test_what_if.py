"""The What-if page's own logic, driven without a browser, on the demo model."""

import time
from pathlib import Path

import numpy as np
import pytest
from reading import read
from streamlit.testing.v1 import AppTest

import moeviz
from moeviz.metrics.compare import ablations, compare, control
from moeviz.metrics.load import expert_load
from moeviz.models.run import trace_tokens
from moeviz.models.what_if import route_losses
from moeviz.rules.interventions import Mute, random_mutes
from moeviz.ui import session
from moeviz.ui.examples import MIXED
from moeviz.ui.view import first_view

APP = Path(__file__).parent.parent.parent / "app.py"


@pytest.fixture(scope="module")
def model():
    return moeviz.load_model(session.default_model())


@pytest.fixture(scope="module")
def trace(model):
    return moeviz.trace_text(model, MIXED)


@pytest.fixture
def page():
    app = AppTest.from_file(APP, default_timeout=120)
    app.switch_page("pages/what-if.py")
    return app


def said(page) -> str:
    return read(m.value for m in page.markdown)


def press(page, label: str):
    return next(b for b in page.button if b.label == label).click().run()


def wait(page):
    """Until no trial is under way, then draw what came of it."""
    end = time.monotonic() + 120
    while any(t.running for t in page.session_state["trials"].values()):
        assert time.monotonic() < end
        time.sleep(0.05)
    return page.run()


def test_the_first_visit_mutes_the_busiest_expert_and_says_what_changed(page, trace, model):
    page.run()
    assert not page.exception
    row = trace.shape[0] // 2
    busiest = int(expert_load(trace).counts[row].argmax())
    rule = f"mute {trace.layers[row]}:{busiest}"
    assert page.text_input(key="what_if_field").value == rule
    assert page.query_params["rule"] == rule
    muted = moeviz.trace_text(model, MIXED, rule=moeviz.parse_rule(rule))
    cost = compare(trace, muted)
    way = "rises" if cost.mean_change >= 0 else "falls"
    assert f"mean next-token loss {way} by {abs(cost.mean_change):.3f} nats" in said(page)
    users = int((trace.experts[row] == busiest).any(-1).sum())
    assert (
        f"only the {users} tokens that used expert {busiest} changed; the other "
        f"{len(trace.tokens) - users} kept their experts and weights."
    ) in said(page)


def test_the_token_that_changed_most_is_shown_first(page, trace, model):
    page.run()
    rule = moeviz.parse_rule(page.query_params["rule"])
    _, found = moeviz.what_if(model, MIXED, rule)
    assert page.session_state["view"].token == int(np.argmax(found.kl[:-1]))
    assert page.session_state["view"].token != first_view(trace).token


def test_a_link_restores_what_a_sweep_does_with_the_tokens(page):
    page.query_params["swept"] = "drop"
    page.run()
    ways = page.segmented_control(key="sweep_way")
    assert ways.value == "drop"
    assert page.query_params["swept"] == "drop"
    ways.set_value("next").run()
    assert "swept" not in page.query_params


def test_a_link_restores_rule_and_view(page):
    for name, value in {"rule": "force 1:4; k=1 @2", "layer": "1", "token": "7"}.items():
        page.query_params[name] = value
    page.run()
    assert not page.exception
    assert page.text_input(key="what_if_field").value == "force 1:4; k=1 @2"
    assert page.query_params["rule"] == "force 1:4; k=1 @2"
    assert page.session_state["view"].token == 7
    page.button_group(key="parts").set_value(["k=1 @2"]).run()
    assert page.query_params["rule"] == "k=1 @2"


def test_a_link_with_an_expert_alone_mutes_it(page):
    page.query_params["layer"], page.query_params["expert"] = "2", "5"
    page.run()
    assert page.query_params["rule"] == "mute 2:5"


@pytest.mark.parametrize(
    ("rule", "sentence"),
    [
        ("mute 3:0-15", "In layer 3 each token takes 2 of 16 experts, but the rule leaves it 0. "
                        "Mute at most 14, or drop them instead."),
        ("mute 3:99", "Layer 3 has 16 experts, 0 to 15; there is no expert 99."),
        ("k=20", "K = 20 is more than the 16 experts of layer 0. Choose 1 to 16."),
        ("<img src=x>", '"<img src=x>" is not a rule: it must begin with one of '),
    ],
)  # fmt: skip
def test_an_impossible_rule_is_one_sentence_and_loses_nothing(page, rule, sentence):
    page.query_params["rule"] = rule
    page.run()
    assert not page.exception
    assert len(page.error) == 1
    assert page.error[0].value.replace("\\", "").startswith(sentence)
    assert page.text_input(key="what_if_field").value == rule
    page.text_input(key="what_if_field").set_value("k=1 @2").run()
    assert not page.error
    assert "At layer 2, the first that changed" in said(page)


def test_parts_are_set_and_added_by_the_controls(page):
    page.query_params["layer"], page.query_params["expert"] = "1", "3"
    page.run()
    for what, rule in (("drop", "mute 1:3 drop"), ("force", "force 1:3"), ("up", "steer 1:+3"),
                       ("down", "steer 1:-3"), ("k", "k=1 @1"), ("temperature", "temperature 2 @1"),
                       ("noise", "noise 1 seed 0 @1"), ("random", "random seed 0 @1")):  # fmt: skip
        page.button_group(key="what").set_value(what).run()
        press(page, "Only this")
        assert not page.exception and not page.error
        assert page.query_params["rule"] == rule
    page.button_group(key="where").set_value("all").run()
    page.button_group(key="what").set_value("temperature").run()
    press(page, "Add to the rule")
    assert page.query_params["rule"] == "random seed 0 @1; temperature 2"


def test_random_mutes_stand_beside_the_rule(page, model, trace):
    page.query_params["rule"] = "mute 3:1-2"
    page.run()
    press(page, "Compare with random mutes")
    wait(page)
    sizes = [(str(layer), 16, 2) for layer in trace.layers]
    rule = moeviz.parse_rule("mute 3:1-2")
    losses = [moeviz.trace_text(model, MIXED, rule=random_mutes(rule, sizes, seed)).loss
              for seed in range(8)]  # fmt: skip
    found = control(trace, losses)
    low, high = (f"{'−' if x < 0 else '+'}{abs(x):.3f}" for x in (found.low, found.high))
    assert f"change the mean loss by {low} to {high} nats (8 draws)." in said(page)


@pytest.mark.parametrize("drop", [False, True])
def test_a_sweep_ranks_the_experts_as_separate_runs_do(page, model, trace, drop):
    page.query_params["layer"] = "4"
    page.run()
    page.button_group(key="sweep_way").set_value("drop" if drop else "next").run()
    press(page, "Mute each of the 16 experts in turn")
    wait(page)
    losses = [trace_tokens(model, trace.tokens, Mute(e, drop, layers=4)).loss for e in range(16)]
    found = ablations(trace, trace.layers.index(4), np.stack(losses))
    top = int(found.order[0])
    assert f"In layer 4, losing expert {top} costs most: +{found.mean_change[top]:.3f}" in said(
        page
    )


def test_a_sweep_can_be_cancelled(page):
    page.query_params["layer"] = "0"
    page.run()
    press(page, "Mute each of the 16 experts in turn")
    page.session_state["trials"]["sweep"].cancel()
    page.run()
    assert any(b.label == "Mute each of the 16 experts in turn" for b in page.button)
    assert "costs most" not in said(page)
    assert not page.exception


def test_the_best_route_is_found_and_can_be_put_in_force(page, model, trace):
    page.query_params["layer"], page.query_params["token"] = "3", "9"
    page.run()
    press(page, "Try other routes")
    wait(page)
    found = list(route_losses(model, trace.tokens, "3", 9))
    best, loss = min(found, key=lambda route: route[1])
    assert f"would have made the next token's loss {loss:.3f} nats instead of" in said(page)
    page.text_input(key="what_if_field").set_value(f"route 3:{best[0]},{best[1]} token 9").run()
    assert "At layer 3, the first that changed, 1 of" in said(page)


def test_both_texts_are_written_from_the_same_seed(page, model):
    page.query_params["rule"], page.query_params["most"] = "random seed 0", "8"
    page.query_params["prompt"] = "The *old* ship"
    page.run()
    press(page, "Write with and without the rule")
    wait(page)
    options = {"max_new_tokens": 8, "temperature": 0.8, "top_p": 0.95, "seed": 0}
    for rule in (None, moeviz.parse_rule("random seed 0")):
        *_, last = moeviz.generate(model, "The *old* ship", rule=rule, **options)
        assert last.text in said(page).replace("  \n", "\n")
    assert page.query_params["prompt"] == "The *old* ship"


def test_explore_leads_here_with_its_expert(page):
    page.run()  # AppTest finds the pages of an app that has run
    page.switch_page("pages/explore.py")
    page.query_params["layer"], page.query_params["expert"] = "1", "6"
    page.query_params["look"] = "expert"
    page.run()
    next(b for b in page.button if b.label == "What if expert 6 were muted?").click().run()
    assert not page.exception
    assert page.query_params["rule"] == "mute 1:6"
