"""The Specialise page as a visitor uses it: lasso, search, a card, a file of one's own."""

import csv
from pathlib import Path

import numpy as np
import pytest
from browser.screen import answered
from playwright.sync_api import expect

from moeviz.bench.screen import settle
from moeviz.corpora.atlas import load_atlas
from moeviz.corpora.bundled import bundled
from moeviz.metrics.apart import set_apart
from moeviz.metrics.map import pca_map, routing_features

OUTPUT = Path(__file__).parent.parent / "output"
EDGE = 26


@pytest.fixture(scope="module")
def routing():
    return bundled(load_atlas()).routing


def open_map(page, url: str, query: str = ""):
    """Open the page and wait for its cloud; hands the cloud back."""
    page.goto(f"{url}/specialise{query}")
    cloud = page.locator(".root[data-cloud][data-scale]")
    cloud.first.wait_for(timeout=90_000)
    settle(page)
    return cloud.first


def on_canvas(routing, box) -> np.ndarray:
    """[P, 2] where each passage of the PCA map is drawn, from the corner of the canvas."""
    at = pca_map(routing_features(routing.counts)).coordinates
    span = at.max(axis=0) - at.min(axis=0)
    part, size = (at - at.min(axis=0)) / span, span / span.max()
    scale = min((box["width"] - 2 * EDGE) / size[0], (box["height"] - 2 * EDGE) / size[1])
    canvas = np.array([box["width"], box["height"]])
    corner = (canvas - size * scale) / 2
    part[:, 1] = 1 - part[:, 1]
    return corner + part * size * scale


def test_the_map_is_there_at_once_at_every_width(visitor, app_url, routing):
    page = visitor(width=390, color_scheme="dark")
    cloud = open_map(page, app_url)
    expect(cloud).to_have_attribute("data-points", str(len(routing.tokens)))
    expect(cloud).to_have_attribute("data-kind", "umap")
    for width in (390, 1280, 1920):
        page.set_viewport_size({"width": width, "height": 2400})
        settle(page)
        fits = "() => (e => e.scrollWidth <= e.clientWidth)"
        page.wait_for_function(f"({fits}(document.querySelector('[data-testid=stMain]')))()")
        page.screenshot(path=OUTPUT / f"specialise_dark_{width}.png")
    expect(page.locator("[data-testid=stException]")).to_have_count(0)


def test_passages_are_selected_by_lasso_by_name_and_found_by_keyboard(page, app_url, routing):
    cloud = open_map(page, app_url, "?view=pca")
    canvas = cloud.locator(".board canvas")
    canvas.scroll_into_view_if_needed()
    box = canvas.bounding_box()
    points = on_canvas(routing, box)
    middle = np.median(points[routing.labels["language"] == "zh"], axis=0)
    low, high = middle - 41.3, middle + 41.3
    (left, top), (right, bottom) = low.tolist(), high.tolist()
    corners = [(left, top), (right, top), (right, bottom), (left, bottom)]
    inside = ((points > low) & (points < high)).all(axis=1)
    with answered(page):
        page.mouse.move(box["x"] + corners[0][0], box["y"] + corners[0][1])
        page.mouse.down()
        for x, y in corners[1:]:
            page.mouse.move(box["x"] + x, box["y"] + y)
        page.mouse.up()
    expect(cloud).to_have_attribute("data-selected", str(inside.sum()))
    page.get_by_text(f"{inside.sum()} passages of {len(points):,}").wait_for()
    count = int(set_apart(routing, inside).stands_out.sum())
    page.get_by_text(f"{count} of 96 experts are used differently").wait_for()
    canvas.focus()
    with answered(page):
        canvas.press("Escape")
    page.get_by_text("Select some passages").wait_for()

    cloud.locator(".classes button", has_text="Greek").click()
    with answered(page):
        cloud.get_by_role("button", name="Select Greek").click()
    greek = int((routing.labels["language"] == "el").sum())
    page.get_by_text(f"{greek} passages of {len(routing.tokens):,}: Greek 100 %").wait_for()
    cloud.get_by_text("As a table").click()
    expect(cloud.locator(".sheet tbody tr")).to_have_count(greek)
    canvas.focus()
    canvas.press("ArrowRight")
    canvas.press("ArrowUp")
    expect(cloud.locator(".tip")).to_be_visible()
    expect(cloud.locator(".said")).not_to_be_empty()


def test_search_opens_a_card_and_its_link_opens_it_again(visitor, page, app_url, routing):
    page.goto(f"{app_url}/specialise?section=texts")  # the box is above every section
    box = page.get_by_placeholder("Which experts fire on German law?")
    box.wait_for(timeout=90_000)
    box.fill("who reads Greek laws?")
    with answered(page):
        box.press("Enter")
    labels = routing.labels
    found = set_apart(routing, (labels["language"] == "el") & (labels["domain"] == "law"))
    row, expert = found.best(1)[0]
    with answered(page):
        page.get_by_role("button", name=f"Layer {row} · expert {expert}").first.click()
    heading = f"Layer {row}, expert {expert}"
    page.get_by_role("heading", name=heading).wait_for()
    page.wait_for_url(f"**layer={row}*")
    other = visitor()
    other.goto(f"{app_url}/specialise?layer={row}&expert={expert}")
    other.get_by_role("heading", name=heading).wait_for(timeout=90_000)
    chose = int(routing.counts[:, row, expert].sum())
    other.get_by_text(f"{chose:,} of {routing.tokens.sum():,} tokens chose it").wait_for()
    read = other.get_by_role("button", name="Read its passages")
    marked = other.locator("[data-testid=stMarkdown] span[style*=background]").first
    read.or_(marked).wait_for(timeout=180_000)
    if read.is_visible():  # nobody has loaded the model on this server yet
        read.click()
    marked.wait_for(timeout=180_000)  # the model loads first


def test_a_file_of_ones_own_is_read_and_mapped(page, app_url, tmp_path):
    page.goto(f"{app_url}/specialise?data=own&view=pca")
    bad, good = tmp_path / "bad.csv", tmp_path / "good.csv"
    bad.write_bytes(b"\xff\xfe\x00broken")
    atlas = load_atlas()
    rows = np.flatnonzero(np.isin(atlas.labels["language"], ["de", "zh"]))[::20]
    with good.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["content", "tongue"])
        writer.writerows([atlas.texts[i], atlas.labels["language"][i]] for i in rows)
    chooser = page.locator("input[type=file]").last
    chooser.wait_for(state="attached", timeout=90_000)
    chooser.set_input_files(bad)
    page.locator("[data-testid=stAlert]", has_text="bad.csv").wait_for()
    chooser.set_input_files(good)
    page.get_by_text(f"good.csv: {len(rows)} passages, tongue.").wait_for()
    page.get_by_role("button", name="Read them").click()
    cloud = page.locator(".root[data-cloud][data-scale]")
    cloud.wait_for(timeout=180_000)
    expect(cloud).to_have_attribute("data-points", str(len(rows)))
    expect(cloud).to_have_attribute("data-column", "tongue")
