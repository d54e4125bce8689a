"""The Capacity page's own logic, driven without a browser, on the demo model."""

from pathlib import Path

import pytest
from reading import read
from streamlit.testing.v1 import AppTest

import moeviz
from moeviz.charts.evenness import MEASURES
from moeviz.metrics.balance import balance, loss_chance, pooled_aux_loss
from moeviz.metrics.compare import compare
from moeviz.metrics.overflow import overflow, overflow_chance
from moeviz.rules.capacity import CapacityRule
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
    """The app in this process, turned to the Capacity page when it first runs."""
    app = AppTest.from_file(APP, default_timeout=120)
    app.switch_page("pages/capacity.py")
    return app


def said(page) -> str:
    return read(m.value for m in page.markdown)


def components(page) -> list[str]:
    return [c.proto.component_name for c in page.get("bidi_component")]


def press(page, label: str):
    return next(b for b in page.button if b.label == label).click().run()


def test_the_first_visit_says_what_overflows_beside_chance(page, trace):
    page.run()
    assert not page.exception
    row, rule = trace.shape[0] // 2, CapacityRule(1.25, "vmoe")
    _, tokens, experts, chosen = trace.shape
    lost, sent = int(overflow(trace, rule).lost[row].sum()), tokens * chosen
    chance = overflow_chance(tokens, experts, chosen, rule)
    band = f"{round(chance.low * sent)} to {round(chance.high * sent)}"
    assert f"At capacity factor 1.25, {lost} of {sent} assignments overflow" in said(page)
    assert f"chance alone gives {band}." in said(page)
    assert components(page).count("moeviz_plot") == 6
    assert components(page).count("moeviz_strip") == 1


def test_a_link_restores_rule_layer_and_devices(page, trace):
    wanted = {"factor": "0.5", "convention": "tutel", "priority": "slot", "group": "40",
              "devices": "2", "placement": "balanced", "spare": "2",
              "layer": str(trace.layers[0])}  # fmt: skip
    for name, value in wanted.items():
        page.query_params[name] = value
    page.run()
    assert not page.exception
    found = overflow(trace, CapacityRule(0.5, "tutel", "slot", group=40))
    assert f"{int(found.lost[0].sum())} of" in said(page)
    assert page.button_group(key="convention").value == "tutel"
    assert page.number_input(key="window").value == 40
    assert page.number_input(key="spare").value == 2
    assert {n: page.query_params[n] for n in wanted} == wanted


def test_a_picked_expert_leads_to_muting_it(page):
    page.query_params["expert"] = "3"
    page.run()
    assert "What if expert 3 were muted?" in [b.label for b in page.button]


def test_nonsense_in_a_link_is_passed_over(page):
    for name in ("factor", "convention", "priority", "group", "absolute", "devices", "placement"):
        page.query_params[name] = "<nonsense>"
    page.run()
    assert not page.exception
    assert "At capacity factor 1.25," in said(page)


def test_a_group_larger_than_the_text_is_one_sentence(page, trace):
    page.query_params["group"] = "5000"
    page.run()
    tokens = len(trace.tokens)
    assert [e.value.replace("\\", "") for e in page.error] == [
        f"A group of 5,000 tokens is larger than the text, which has {tokens}."
    ]
    assert page.button_group(key="devices").value
    page.button_group(key="grouping").set_value("all").run()
    assert not page.error
    assert "group" not in page.query_params


def test_a_convention_without_a_factor_has_no_curve(page):
    page.run()
    page.button_group(key="convention").set_value("gshard").run()
    assert (
        read([page.info[0].value]) == "GShard has no capacity factor, so there is no curve over it."
    )
    page.button_group(key="convention").set_value("absolute").run()
    page.number_input(key="places").set_value(1).run()
    assert page.query_params["absolute"] == "1"
    assert "Under this rule," in said(page)


def test_the_rule_is_enforced_on_request_until_it_changes(page, model, trace):
    page.query_params["factor"] = "0.5"
    page.run()
    press(page, "Enforce it in the model")
    enforced = moeviz.trace_text(model, MIXED, rule=CapacityRule(0.5, "vmoe"))
    cost = compare(trace, enforced)
    way = "rises" if cost.mean_change >= 0 else "falls"
    assert f"loss {way} by {abs(cost.mean_change):.3f} nats" in said(page)
    dropped = int(overflow(trace, CapacityRule(0.5, "vmoe")).dropped[0].sum())
    assert dropped == int(cost.dropped[0].sum())
    assert f"(layer {trace.layers[0]}: {dropped} in both)" in said(page)
    page.button_group(key="priority").set_value("gate").run()
    assert "nats" not in said(page)
    assert any(b.label == "Enforce it in the model" for b in page.button)


def test_with_ample_room_the_enforced_run_is_the_plain_one(page):
    page.query_params["convention"] = "absolute"
    page.query_params["absolute"] = "5000"
    page.run()
    press(page, "Enforce it in the model")
    assert "Nothing overflows, so the enforced run is the plain run, bit for bit." in said(page)


def test_every_measure_of_balance_stands_beside_chance(page, trace):
    page.run()
    row, found, losses = trace.shape[0] // 2, balance(trace), loss_chance(trace)
    for name, measure in MEASURES.items():
        page.button_group(key="balance").set_value(name).run()
        assert not page.exception
        value = getattr(found, name)[row]
        shown = f"{value:.0f}" if name == "dead" else f"{value:.2f}"
        assert f"{measure.name} of layer {trace.layers[row]} is {shown}" in said(page)
        beside = "shuffled logits give" if name == "z_loss" else "chance alone gives"
        assert beside in said(page).split(f"is {shown}")[-1]
        if name == "importance":
            low, high = losses.importance_low[row], losses.importance_high[row]
            assert f"; chance alone gives {low:.2f} to {high:.2f}." in said(page)
        pooled = f"Transformers pools all layers before it multiplies: {pooled_aux_loss(trace):.3f}"
        assert (pooled in said(page)) == (name == "aux_loss")
    assert page.query_params["balance"] == "z_loss"


@pytest.mark.parametrize("text", ["a", "two words"])
def test_short_texts_have_a_balance_too(page, text):
    page.query_params["text"] = text
    page.query_params["balance"] = "aux_loss"
    page.run()
    assert not page.exception
    assert "Auxiliary loss of layer" in said(page)


def test_one_token_can_be_counted_too(page):
    page.query_params["text"] = "a"
    page.run()
    assert not page.exception
    assert "of" in said(page)


def test_the_text_is_shared_between_the_pages(page):
    page.switch_page("pages/explore.py").run()
    page.text_area(key="text").set_value("words for both pages")
    press(page, "Run")
    page.switch_page("pages/capacity.py").run()
    assert page.session_state["shown"][1] == "words for both pages"
