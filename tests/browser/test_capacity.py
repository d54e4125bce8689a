"""The Capacity page as a visitor uses it: turn the dial, read what is lost, enforce it."""

from pathlib import Path

import numpy as np
import pytest
from browser.screen import (
    answered,
    cell,
    grid,
    linked,
    pick,
    plot,
    rows,
    run_text,
    says,
    shown_text,
)
from playwright.sync_api import expect

import moeviz
from moeviz.bench.screen import open_app, running_app, settle, token
from moeviz.charts.units import text_units
from moeviz.charts.words import percent
from moeviz.metrics.compare import compare
from moeviz.metrics.overflow import overflow, overflow_curve
from moeviz.metrics.parallel import parallel_load
from moeviz.rules.capacity import CapacityRule
from moeviz.ui.examples import MIXED

OUTPUT = Path(__file__).parent.parent / "output"
FIRST = CapacityRule(1.25, "vmoe")


def marked(page, kind: str) -> set[int]:
    """First tokens of the units that the text shows as `kind` ("partly" or "gone")."""
    read = "es => es.map(e => +e.dataset.token)"
    return set(page.locator(".strip").first.locator(f".t.{kind}").evaluate_all(read))


def expected_marks(trace, row: int, rule: CapacityRule) -> tuple[set[int], set[int]]:
    """(partly, gone) as they should be: a unit shows the worst of its tokens."""
    found = overflow(trace, rule)
    some, gone = found.dropped[row].any(axis=1), found.fully_dropped[row]
    units = [u for u in text_units(trace.tokens) if u.count]
    lost = {u.first for u in units if gone[u.first : u.first + u.count].any()}
    partly = {u.first for u in units if some[u.first : u.first + u.count].any()}
    return partly - lost, lost


@pytest.mark.parametrize(("width", "scheme"), [(390, "light"), (1280, "dark"), (1920, "light")])
def test_the_first_visit_marks_what_would_be_lost(visitor, app_url, truth, width, scheme):
    page = visitor(width=width, color_scheme=scheme)
    open_app(page, app_url, "capacity")
    trace = truth(MIXED)
    row = trace.shape[0] // 2
    assert (marked(page, "partly"), marked(page, "gone")) == expected_marks(trace, row, FIRST)
    sideways = "e => e.scrollWidth - e.clientWidth"
    assert page.locator("[data-testid=stMain]").evaluate(sideways) <= 0
    expect(page.locator("[data-testid=stException]")).to_have_count(0)
    for card in page.locator("section.card").filter(has=page.locator("h3")).all():
        assert card.locator(".read").first.inner_text().endswith(".")
        assert card.locator(".model").inner_text()
    page.set_viewport_size({"width": width, "height": 5000})
    settle(page)
    page.screenshot(path=OUTPUT / f"capacity_{scheme}_{width}.png")


def test_the_dial_answers_to_the_keyboard(page, app_url, truth):
    trace = truth(MIXED)
    row = trace.shape[0] // 2
    open_app(page, app_url, "capacity?factor=0.5")
    dial = page.locator("input[type=range]")
    dial.focus()
    with answered(page):
        dial.press("ArrowRight")
    rule = CapacityRule(0.55, "vmoe")
    lost = int(overflow(trace, rule).lost[row].sum())
    says(page, f"At capacity factor 0.55, {lost} of {trace.shape[1] * trace.shape[3]}")
    page.wait_for_url("**factor=0.55*")
    assert (marked(page, "partly"), marked(page, "gone")) == expected_marks(trace, row, rule)
    room = rule.capacity(trace.shape[1], trace.shape[2], trace.shape[3])
    assert f"= {room} tokens an expert" in page.locator(".formula").inner_text()
    took = [time_turn(page, factor) for factor in (0.9, 1.5, 2.1, 2.5, 3)]
    print("turn", took)
    assert np.median(took) < 2000  # wide, so that a busy machine passes


def test_bars_curve_grid_and_devices_show_the_simulation(page, app_url, truth):
    trace = truth(MIXED)
    row, found = trace.shape[0] // 2, overflow(trace, FIRST)
    open_app(page, app_url, "capacity")
    table = rows(plot(page, "Load against capacity"))
    pairs = zip(found.kept[row], found.lost[row], strict=True)
    assert [line[1:] for line in table] == [[str(k), str(n)] for k, n in pairs]
    factors = [float(line[0]) for line in rows(plot(page, "How much room"))]
    curve = overflow_curve(trace, FIRST, factors)
    for line, shares in list(zip(rows(plot(page, "How much room")), curve, strict=True))[::15]:
        assert line[1 : 1 + trace.shape[0]] == [percent(share) for share in shares]
    shares = found.lost / np.maximum(found.lost + found.kept, 1)
    table = rows(grid(page, "Where tokens are lost"))
    assert [line[1:] for line in table] == [[percent(s) for s in layer] for layer in shares]
    pick(page, "Balanced by load")
    spread = parallel_load(trace, 4, "balanced", spare=1)
    table = rows(plot(page, "Load of each device"))
    assert [line[1] for line in table] == [str(n) for n in spread.assignments[row]]
    facts = plot(page, "Load of each device").locator(".facts dd").all_inner_texts()
    assert facts[0] == f"{spread.straggler[row]:.2f}"
    linked(page, "placement=balanced")


def test_the_figures_follow_the_text_as_it_is_typed(page, app_url, model):
    open_app(page, app_url, "capacity")
    field = page.get_by_role("textbox", name="Text", exact=True)
    field.fill("")
    expect(page.get_by_text("There is no text yet.")).to_be_visible()
    expect(page.locator(".strip").first).to_contain_text(MIXED.split()[0])  # the former view stays
    field.press_sequentially("One two three four five six seven")
    trace = moeviz.trace_text(model, "One two three four five six seven")
    says(page, f"of {trace.shape[1] * trace.shape[3]} assignments overflow")
    expect(page.locator(".strip").first).to_contain_text("seven")
    expect(page.get_by_text("There is no text yet.")).to_have_count(0)
    expect(field).to_have_value("One two three four five six seven")


def test_clicks_open_a_layer_set_the_factor_and_find_an_expert(page, app_url, truth):
    trace = truth(MIXED)
    open_app(page, app_url, "capacity")
    figure = grid(page, "Where tokens are lost")
    with answered(page):
        figure.locator(".view").click(position=cell(figure, 0, 2))
    expect(page.locator(".strip").first).to_be_visible()
    says(page, f"in layer {trace.layers[0]};")
    curve = plot(page, "How much room").locator(".holder")
    box = curve.bounding_box()
    with answered(page):
        curve.click(position={"x": box["width"] / 2, "y": 100})
    factor = float(page.url.split("factor=")[1].split("&")[0])
    assert 1.9 < factor < 2.4
    says(page, f"At capacity factor {factor:g}, ")
    bars = plot(page, "Load against capacity").locator(".holder")
    wide = bars.bounding_box()["width"] - 72
    with answered(page):
        bars.click(position={"x": 56 + wide * 5.5 / trace.shape[2], "y": 120})
    linked(page, "expert=5")
    read = "es => es.map(e => +e.dataset.token)"
    mine = set(page.locator(".strip").first.locator(".t.mine").evaluate_all(read))
    units = [u for u in text_units(trace.tokens) if u.count]
    ids = trace.experts[0]
    assert mine == {u.first for u in units if 5 in ids[u.first : u.first + u.count]}


def test_enforcing_shows_the_models_own_loss(page, app_url, truth, model):
    trace, rule = truth(MIXED), CapacityRule(0.5, "vmoe")
    cost = compare(trace, moeviz.trace_text(model, MIXED, rule=rule))
    open_app(page, app_url, "capacity?factor=0.5")
    with answered(page):
        page.get_by_role("button", name="Enforce it in the model").click()
    says(page, f"by {abs(cost.mean_change):.3f} nats")
    table = rows(plot(page, "What changes downstream"))
    assert [line[1] for line in table] == [percent(x) for x in cost.rerouted.mean(axis=1)]
    assert float(cost.rerouted[0].mean()) == 0  # the first routed layer decides as before
    hovered = page.locator(".strip").nth(1).locator(".t[data-token='5']").first
    hovered.hover()
    tip = page.locator(".root[data-colour=change] .tip").inner_text()
    assert f"{cost.loss_change[5]:.3f}" in tip


def test_markup_in_a_text_is_only_text(page, app_url):
    open_app(page, app_url, "capacity?factor=0.25")
    text = '<img src=x onerror="window.__xss=1"><style>body{display:none}</style> **b** $x^2$'
    run_text(page, text)
    strip = page.locator(".strip").first
    strip.locator(".t").nth(3).hover()
    assert shown_text(page) == text
    assert page.evaluate("() => window.__xss ?? null") is None
    assert page.locator("body").evaluate("e => getComputedStyle(e).display") == "block"


def test_text_and_layer_go_along_to_the_other_page(page, app_url, truth):
    layer = str(truth(MIXED).layers[0])
    open_app(page, app_url)
    run_text(page, "words for both pages")
    pick(page, layer)
    page.get_by_role("link", name="Capacity").click()
    says(page, f"in layer {layer};")
    expect(page.get_by_label("Text", exact=True)).to_have_value("words for both pages")
    assert shown_text(page) == "words for both pages"


@pytest.mark.slow  # starts a server of its own
def test_a_link_to_this_page_may_be_the_first_visit_of_all(visitor):
    with running_app() as url:
        page = visitor()
        open_app(page, url, "capacity?convention=tutel")
        expect(page.get_by_role("link", name="Explore")).to_be_visible()
        expect(page.locator("[data-testid=stSidebar]")).to_have_count(0)
        expect(page.get_by_role("radio", name="Tutel")).to_have_attribute("aria-checked", "true")
        page.close()


@pytest.mark.slow  # starts a server of its own
def test_a_link_to_explore_by_name_is_understood_first_and_later(visitor):
    with running_app() as url:
        for _ in range(2):
            page = visitor()
            open_app(page, url, "explore?token=7")
            expect(page.get_by_role("link", name="Capacity")).to_be_visible()
            expect(page.locator("[data-testid=stSidebar]")).to_have_count(0)
            expect(token(page, 7)).to_have_attribute("aria-selected", "true")
            page.close()


def time_turn(page, factor: float) -> float:
    """Milliseconds from a new position of the dial until the curve stands there."""
    page.evaluate(
        """(factor) => {
          const inside = (s) => [...document.querySelectorAll('*')]
            .flatMap((e) => (e.shadowRoot ? [...e.shadowRoot.querySelectorAll(s)] : []));
          const [dial] = inside('input[type=range]');
          const [curve] = inside('.root[data-plot=lines]');
          const start = performance.now();
          window.painted = null;
          const look = () => {
            if (curve.dataset.at === String(factor))
              requestAnimationFrame(() => { window.painted = performance.now() - start; });
            else requestAnimationFrame(look);
          };
          dial.value = factor;
          dial.dispatchEvent(new Event('input'));
          look();
        }""",
        factor,
    )
    page.wait_for_function("() => window.painted !== null")
    took = float(page.evaluate("() => window.painted"))
    settle(page)
    return took
