"""The Lab and Contrast pages as a visitor uses them."""

import numpy as np
from browser.screen import answered, click_cell, grid, linked
from playwright.sync_api import expect

from moeviz.bench.screen import settle
from moeviz.charts.lab_words import load_words
from moeviz.metrics.rerouted import own_route, rerouted_layer
from moeviz.rules.routing import RoutingRule
from moeviz.ui.examples import MIXED


def open_page(page, url: str, query: str) -> None:
    page.goto(f"{url}/{query}")
    page.locator(".root[data-columns]").first.wait_for(timeout=180_000)
    settle(page)


def fact(figure, name: str) -> str:
    return figure.locator(".facts div").filter(has_text=name).locator("dd").inner_text()


def test_algorithms_are_chosen_stepped_through_and_read_on_every_width(visitor, app_url, truth):
    trace, row = truth(MIXED), truth(MIXED).shape[0] // 2
    page = visitor(width=390, color_scheme="dark")
    open_page(page, app_url, "lab")
    for width in (390, 1920, 1280):
        page.set_viewport_size({"width": width, "height": 900})
        settle(page)
        sideways = "e => e.scrollWidth - e.clientWidth"
        assert page.locator("[data-testid=stMain]").evaluate(sideways) <= 0
    own = grid(page, "The model's own route")
    assert fact(own, "MaxVio") == load_words(own_route(trace, row).max_violation)
    with answered(page):
        page.get_by_role("button", name="Loss-free bias", exact=True).click()
    balanced = rerouted_layer(trace, row, RoutingRule("loss-free"))
    card = grid(page, "Loss-free bias")
    expect(card.locator(".facts")).to_contain_text(load_words(balanced.assignment.max_violation))
    dial = page.locator("input[type=range]")
    dial.focus()
    with answered(page):
        dial.press("Home")
    expect(card.locator(".facts")).to_contain_text(load_words(own_route(trace, row).max_violation))
    expect(page.locator(".root[data-plot=lines]")).to_have_count(1)
    token, expert = 3, int(np.flatnonzero(~own_route(trace, row).taken[3])[0])
    click_cell(page, card, token, expert)
    linked(page, f"token={token}")
    linked(page, f"expert={expert}")


def test_a_contrast_is_found_and_an_expert_looked_at(page, app_url):
    open_page(page, app_url, "contrast?pair=Code+and+prose")
    expect(page.locator("h4")).to_contain_text("tells them apart best")
    figure = grid(page, "Code against Prose")
    click_cell(page, figure, 1, 4)
    expect(page.get_by_text("Expert 4 of layer 1 reads").first).to_be_visible()
    page.get_by_label("Code, one text a line").fill("<b>x = 1</b>\ny = 2\nz = 3\nw = 4")
    with answered(page):
        page.get_by_role("button", name="Compare").click()
    expect(grid(page, "A against B")).to_have_count(1)
