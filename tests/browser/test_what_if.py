"""The What-if page as a visitor uses it: change the routing, read what it costs, search."""

from pathlib import Path

import numpy as np
import pytest
from browser.screen import answered, rows
from playwright.sync_api import expect

import moeviz
from moeviz.bench.screen import open_app, settle, token
from moeviz.charts.words import percent, visible
from moeviz.metrics.compare import ablations, compare
from moeviz.models.run import trace_tokens
from moeviz.models.what_if import route_losses
from moeviz.rules.interventions import Mute
from moeviz.ui.examples import MIXED

OUTPUT = Path(__file__).parent.parent / "output"


def figure(page, title: str):
    """The card whose heading contains `title`."""
    return page.locator(".root[data-key]").filter(has=page.locator("h3", has_text=title))


def press(page, name: str):
    page.get_by_role("button", name=name, exact=True).click()


@pytest.mark.parametrize(("width", "scheme"), [(390, "dark"), (1280, "light"), (1920, "dark")])
def test_the_first_visit_fits_and_explains_itself(visitor, app_url, width, scheme):
    page = visitor(width=width, color_scheme=scheme)
    open_app(page, app_url, "what-if")
    expect(page.locator("h4").first).to_contain_text("With the rule in force the mean next-token")
    expect(page.get_by_text("ENFORCED")).to_be_visible()
    sideways = "e => e.scrollWidth - e.clientWidth"
    assert page.locator("[data-testid=stMain]").evaluate(sideways) <= 0
    expect(page.locator("[data-testid=stException]")).to_have_count(0)
    for card in page.locator("section.card").filter(has=page.locator("h3")).all():
        assert card.locator(".read").first.inner_text().endswith(".")
    page.set_viewport_size({"width": width, "height": 3600})
    settle(page)
    page.screenshot(path=OUTPUT / f"what_if_{scheme}_{width}.png")


def test_figures_show_what_the_library_computes(page, app_url, truth, model):
    rule = moeviz.parse_rule("mute 2:0-5")
    trace, (muted, found) = truth(MIXED), moeviz.what_if(model, MIXED, rule)
    cost = compare(trace, muted, predictions=found)
    open_app(page, app_url, "what-if?rule=mute+2:0-5&layer=2&token=12")
    moved = rows(figure(page, "Routes changed"))
    assert [r[1] for r in moved] == [percent(s) for s in cost.moved.mean(axis=1)]
    for title, ids, odds in (
        ("Predicted without it", found.before_ids, found.before),
        ("Predicted with the rule", found.after_ids, found.after),
    ):
        shown = rows(figure(page, title))
        assert [r[0].split(" ← ")[0].strip() for r in shown] == [
            visible(found.pieces[int(i)]) for i in ids[12]
        ]
        assert [r[1] for r in shown] == [percent(float(p)) for p in odds[12]]
    with answered(page):
        token(page, 20).click()
    page.wait_for_url("**token=20*")
    shown = rows(figure(page, "Predicted with the rule"))
    assert [r[1] for r in shown] == [percent(float(p)) for p in found.after[20]]


def test_a_sweep_and_a_search_run_beside_the_page(page, app_url, truth, model):
    trace = truth(MIXED)
    open_app(page, app_url, "what-if?layer=4&token=9")
    press(page, "Mute each of the 16 experts in turn")
    press(page, "Try other routes")  # at once: no click may be lost
    expect(page.get_by_text("costs most")).to_be_visible(timeout=120_000)
    expect(figure(page, "The best routes")).to_be_visible(timeout=120_000)
    settle(page)
    losses = [trace_tokens(model, trace.tokens, Mute(e, layers=4)).loss for e in range(16)]
    found = ablations(trace, trace.layers.index(4), np.stack(losses))
    shown = rows(figure(page, "What each expert is worth"))
    signed = [f"{'−' if v < 0 else '+'}{abs(v):.3f}" for v in found.mean_change[found.order]]
    assert [r[0].split(" · ")[0] for r in shown] == [f"Expert {e}" for e in found.order]
    assert [r[1] for r in shown] == signed
    routes = list(route_losses(model, trace.tokens, "4", 9))
    best = min(routes, key=lambda route: route[1])
    line = figure(page, "The best routes").locator(".line").first
    assert line.locator(".label").text_content().startswith(f"Experts {best[0][0]}, {best[0][1]}")
    with answered(page):
        line.click()
    rule = f"route 4:{best[0][0]},{best[0][1]} token 9"
    expect(page.get_by_role("textbox", name="The rule in short")).to_have_value(rule)
    page.wait_for_url("**rule=route*")


def test_a_rule_is_typed_and_the_way_from_explore_leads_here(page, app_url):
    open_app(page, app_url, "?layer=1&expert=6&look=expert")
    press(page, "What if expert 6 were muted?")
    field = page.get_by_role("textbox", name="The rule in short")
    expect(field).to_have_value("mute 1:6", timeout=60_000)
    settle(page)
    field.fill("mute 1:0-15")
    with answered(page):
        field.press("Enter")
    expect(page.get_by_text("Mute at most 14, or drop them instead.")).to_be_visible()
    field.fill("mute 1:0-15 drop")
    with answered(page):
        field.press("Enter")
    expect(page.locator("h4").first).to_contain_text("With the rule in force")
