"""The Compare page as a visitor uses it: two texts side by side, and every number checked."""

from dataclasses import replace
from pathlib import Path
from urllib.parse import quote

import numpy as np
import pytest
from browser.screen import answered, cell, grid, linked, plot, rows, says
from playwright.sync_api import expect

from moeviz.bench.screen import open_app, settle
from moeviz.charts.compare import ALL, SAME, SOME
from moeviz.charts.units import text_units
from moeviz.charts.words import percent
from moeviz.corpora.emergence import load_emergence
from moeviz.corpora.passages import passage_choices, passage_tokens, passages_in
from moeviz.metrics.difference import difference
from moeviz.metrics.emergence import saturation
from moeviz.metrics.likeness import likeness
from moeviz.metrics.load import expert_load
from moeviz.metrics.runs import Run
from moeviz.trace import Provenance, RouterSpec
from moeviz.ui.against import IN_ENGLISH, PAIRS
from moeviz.ui.examples import MIXED

OUTPUT = Path(__file__).parent.parent / "output"
CLASSES = {SAME: "", SOME: "partly", ALL: "other"}


def strip(page, side: str):
    """The text of one side."""
    return page.locator(f".root[data-side={side}] .strip")


def marks(page, side: str) -> dict[int, str]:
    """Coloured token to how it is underlined: "" for the same experts, partly or other."""
    read = """es => es.filter(e => e.style.background).map(e => [+e.dataset.token,
      ['partly', 'other'].find(c => e.classList.contains(c)) ?? ''])"""
    return dict(strip(page, side).locator(".t").evaluate_all(read))


def expected_marks(run, twins: np.ndarray, overlap: np.ndarray) -> dict[int, str]:
    """First token of each unit with a twin, and the mark of its token that changed most."""
    fates = {int(t): ALL if x == 0 else SAME if x == 1 else SOME
             for t, x in zip(twins, overlap, strict=True)}  # fmt: skip
    found = {}
    for unit in text_units(run.tokens):
        own = [fates[t] for t in range(unit.first, unit.first + unit.count) if t in fates]
        if own:
            found[unit.first] = CLASSES[max(own)]
    return found


@pytest.mark.parametrize(("width", "scheme"), [(390, "dark"), (1280, "light"), (1920, "dark")])
def test_the_first_visit_shows_what_differs(visitor, app_url, truth, width, scheme):
    page = visitor(width=width, color_scheme=scheme)
    open_app(page, app_url, "compare")
    a, b = truth(MIXED), truth(IN_ENGLISH)
    found, row = difference(a, b), a.shape[0] // 2
    for side, run, column in (("A", a, 0), ("B", b, 1)):
        wanted = expected_marks(run, found.twins.pairs[:, column], found.overlap[row])
        assert marks(page, side) == wanted
    worst = int(np.argmax(found.bits))
    says(page, f"Layer {a.layers[worst]} differs most: {found.bits[worst]:.2f} bits, chance gives ")
    sideways = "e => e.scrollWidth - e.clientWidth"
    assert page.locator("[data-testid=stMain]").evaluate(sideways) <= 0
    for card in page.locator("section.card").filter(has=page.locator("h3")).all():
        assert card.locator(".read").first.inner_text().endswith(".")
    page.set_viewport_size({"width": width, "height": 6000})
    settle(page)
    page.screenshot(path=OUTPUT / f"compare_{scheme}_{width}.png")


def test_every_figure_holds_the_computed_numbers(page, app_url, truth):
    a, b = truth(MIXED), truth(IN_ENGLISH)
    found, row = difference(a, b), a.shape[0] // 2
    open_app(page, app_url, "compare")
    table = rows(plot(page, "How far apart"))
    bands = zip(found.bits, found.low, found.high, strict=True)
    assert [line[1:] for line in table] == [
        [f"{x:.3f} bits", f"{low:.3f} bits to {high:.3f} bits"] for x, low, high in bands
    ]
    table = rows(plot(page, "How much is kept"))
    pairs = zip(found.kept, found.loaded_kept, strict=True)
    assert [line[1:] for line in table] == [[percent(x), percent(y)] for x, y in pairs]
    table = rows(plot(page, "Who gains, who loses"))
    shares = zip(found.share_a[row], found.share_b[row], strict=True)
    assert [line[1:3] for line in table] == [[percent(x), percent(y)] for x, y in shares]
    gap = 100 * (found.share_b - found.share_a)
    table = rows(grid(page, "B minus A"))
    shown = [[float(x.removesuffix(" points").replace("−", "-")) for x in line[1:]]
             for line in table]  # fmt: skip
    assert np.array(shown) == pytest.approx(gap, abs=0.051)
    table = rows(grid(page, "B: the other text"))
    assert [line[1:] for line in table] == [[percent(x) for x in r] for r in expert_load(b).share]


def test_a_click_opens_a_layer_and_selects_a_twin_on_both_sides(page, app_url, truth):
    one, other = PAIRS["One word changed"]
    a, b = truth(one), truth(other)
    found = difference(a, b)
    open_app(page, app_url, f"compare?text={quote(one)}&b={quote(other)}")
    figure = grid(page, "B minus A")
    with answered(page):
        figure.locator(".view").click(position=cell(figure, 1, 4))
    expect(page.locator(".root[data-side=B]")).to_have_attribute("data-layer", "1")
    linked(page, "layer=1")
    assert marks(page, "B") == expected_marks(b, found.twins.pairs[:, 1], found.overlap[1])
    first, second = (int(t) for t in found.twins.pairs[-1])
    assert first != second
    with answered(page):
        strip(page, "B").locator(f".t[data-token='{second}']").first.click()
    linked(page, f"token={first}")
    read = "es => es.map(e => +e.dataset.token)"
    assert strip(page, "A").locator(".t.on").evaluate_all(read) == [first]
    assert strip(page, "B").locator(".t.on").evaluate_all(read) == [second]
    strip(page, "A").locator(f".t[data-token='{first}']").first.hover()
    tip = page.locator(".root[data-side=A] .tip").inner_text()
    for run, place in ((a, first), (b, second)):
        assert f"experts {', '.join(map(str, run.experts[1, place]))}" in tip
    lit = page.locator(".t.twin")
    expect(lit).to_have_count(1)
    expect(strip(page, "B").locator(".t.twin")).to_have_attribute("data-token", str(second))
    changed = next(t for t in range(len(a.tokens)) if t not in found.twins.pairs[:, 0])
    strip(page, "A").locator(f".t[data-token='{changed}']").first.hover()
    expect(lit).to_have_count(0)
    strip(page, "B").locator(f".t[data-token='{second}']").first.focus()
    expect(strip(page, "A").locator(".t.twin")).to_have_attribute("data-token", str(first))


def test_moments_of_training_are_the_recorded_ones(page, app_url):
    open_app(page, app_url, "compare?against=moment&passages=de&layer=2")
    places = passages_in("de")
    tokens, choices = passage_tokens(places), passage_choices(places)
    runs = [Run("m", choices[m], tokens, RouterSpec(16, 2), Provenance("demo"), tuple(range(6)))
            for m in (4, 9)]  # fmt: skip
    found = difference(*runs)
    record = load_emergence()
    settled = saturation(replace(record, experts=record.experts[:, :, places])).values
    assert [line[1] for line in rows(plot(page, "How much is kept"))] == [
        percent(x) for x in found.kept
    ]
    table = rows(plot(page, "When the routes settled"))
    assert [line[1:7] for line in table] == [[percent(x) for x in r] for r in settled]
    assert shown_text_of(page, "A") == tokens.source
    with answered(page):
        page.get_by_role("radio", name="French", exact=True).click()
    linked(page, "passages=fr")
    assert shown_text_of(page, "B") == passage_tokens(passages_in("fr")).source


def shown_text_of(page, side: str) -> str:
    """The text of one side as it is on the screen."""
    read = "e => [...e.children].map(line => line.textContent).join('')"
    return strip(page, side).evaluate(read).replace("↵", "\n").replace("·", " ")


def test_two_models_are_compared_without_naming_experts(page, app_url, truth, folder):
    import moeviz  # here: only this test loads a second model

    a, b = truth(MIXED), moeviz.trace_text(moeviz.load_model(folder), MIXED, truncate=True)
    found = likeness(a, b)
    open_app(page, app_url, "compare")
    with answered(page):
        page.get_by_role("radio", name="Another model").click()
    page.get_by_label("Hub id, local folder or server").last.fill(folder)
    with answered(page):
        page.get_by_role("button", name="Load B").click()
    grid(page, "Which layers sort tokens alike").wait_for()
    table = rows(grid(page, "Which layers sort tokens alike"))
    assert [line[1:] for line in table] == [[percent(x) for x in r] for r in found.agreement]
    table = rows(plot(page, "of A against every layer of B"))
    assert [line[1] for line in table] == [percent(x) for x in found.agreement[3]]


def test_markup_in_the_second_text_is_only_text(page, app_url):
    text = '<img src=x onerror="window.__xss=1"> <b>bold</b> **b** $x^2$'
    open_app(page, app_url, "compare")
    page.get_by_label("Other text", exact=True).fill(text)
    with answered(page):
        page.get_by_role("button", name="Compare", exact=True).click()
    assert text in shown_text_of(page, "B")
    assert page.evaluate("() => window.__xss ?? null") is None
    assert "The old lighthouse" in shown_text_of(page, "A")
