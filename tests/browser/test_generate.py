"""The Generate page as a visitor uses it: watch, hold, go back, let go on, stop, open elsewhere."""

from pathlib import Path

import numpy as np
import pytest
from browser.screen import answered, shown_text
from playwright.sync_api import expect

import moeviz
from moeviz.bench.screen import open_app, settle
from moeviz.charts.words import percent
from moeviz.metrics.overflow import overflow
from moeviz.rules.capacity import CapacityRule

OUTPUT = Path(__file__).parent.parent / "output"
PROMPT = "The keeper"
LIVE = ".root[data-count]"


def facts(page) -> dict[str, str]:
    return page.locator(LIVE).evaluate("e => ({...e.dataset})")


def until(page, **wanted: str) -> None:
    """Wait until the picture says of itself what is wanted."""
    marks = "".join(f"[data-{name}='{value}']" for name, value in wanted.items())
    page.locator(f"{LIVE}{marks}").wait_for(timeout=90_000)


def written(page) -> str:
    """The words after the prompt, as they stand in the picture."""
    read = """e => [...e.children].map(line => [...line.querySelectorAll('.made')]
      .map(s => s.textContent.replace('⋯', '')).join('')).join('')"""
    return page.locator(".strip").evaluate(read).replace("↵", "\n")


def table(page, card: str) -> list[list[str]]:
    box = page.locator(f"section.card.{card}")
    if not box.locator("details[open] .sheet table").count():
        box.get_by_text("As a table").click()
    box.locator(".sheet tbody tr").first.wait_for()
    return [line.split("\t") for line in box.locator(".sheet tbody tr").all_inner_texts()]


def test_watch_hold_go_back_let_go_on_stop_and_open(page, app_url, model):
    page.set_default_timeout(120_000)  # a busy machine
    open_app(page, app_url, f"generate?prompt={PROMPT}&most=1500&seed=3")
    page.wait_for_function(
        """() => [...document.querySelectorAll('*')].some((e) =>
          [...(e.shadowRoot?.querySelectorAll('.root[data-count]') ?? [])]
            .some((r) => +r.dataset.count > 8))""",
        timeout=90_000,
    )
    page.get_by_role("button", name="Pause", exact=True).click()
    until(page, state="paused")
    held = int(facts(page)["count"])
    steps = moeviz.generate(model, PROMPT, 1500, temperature=0.8, top_p=0.95, seed=3)
    truth = [next(steps) for _ in range(held)]
    assert written(page) == truth[-1].text[len(PROMPT) :]
    _go_back_to_step_three(page, truth)
    page.get_by_role("button", name="Continue", exact=True).click()
    until(page, state="running")
    page.get_by_role("button", name="Stop", exact=True).click()
    until(page, state="finished")
    settle(page)
    page.get_by_role("button", name="Newest", exact=True).click()
    count = int(facts(page)["count"])
    assert count >= held
    trace = _trace_of(model, steps, truth, count)
    assert written(page) == trace.tokens.source[len(PROMPT) :]
    _loads_and_overflow(page, trace)
    page.get_by_role("button", name="Open in Explore").click()
    expect(page.get_by_text("You are looking at a generated trace")).to_be_visible(timeout=60_000)
    settle(page)
    assert shown_text(page).replace("\n", "") == trace.tokens.source.replace("\n", "")


def _go_back_to_step_three(page, truth) -> None:
    slider = page.locator("input#steps")
    slider.focus()
    slider.press("Home")
    slider.press("ArrowRight")
    slider.press("ArrowRight")
    until(page, step="3")
    step = truth[2]
    rows = zip(step.experts[:, -1], step.gates[:, -1], strict=True)
    expected = [[f"{e}: {g:.3f}" for e, g in zip(*row, strict=True)] for row in rows]
    assert [line[1:] for line in table(page, "now")] == expected
    odds = page.locator(".candidate .odds").all_inner_texts()
    assert odds[:5] == [percent(c.probability) for c in step.likeliest]
    said = page.locator(".now .lead").inner_text()
    assert f"which had {percent(step.probability)} of" in said
    page.wait_for_url("**step=3*")
    page.locator(".t.made[data-token='5']").first.click()
    until(page, step="6")


def _trace_of(model, steps, truth, count: int):
    """The trace of the first `count` tokens, generated here."""
    truth += [next(steps) for _ in range(count - len(truth))]
    steps.close()
    text = list(moeviz.generate(model, PROMPT, count, temperature=0.8, top_p=0.95, seed=3))
    assert [step.id for step in text] == [step.id for step in truth]
    return text[-1].trace


def _loads_and_overflow(page, trace) -> None:
    for card, which in (("prompt", False), ("written", True)):
        part = trace.experts[:, trace.tokens.generated == which]
        counts = [np.bincount(layer.ravel(), minlength=trace.shape[2]) for layer in part]
        shown = [[int(n) for n in line[1:-1]] for line in table(page, card)]
        assert shown == [row.tolist() for row in counts]
    rate = overflow(trace, CapacityRule(1.25, "vmoe")).rate
    row = trace.shape[0] // 2
    words = f"Of the {trace.shape[1]:,} tokens so far, {percent(rate[row])} of the assignments"
    expect(page.locator("h4").filter(has_text=words)).to_have_count(1)


@pytest.mark.parametrize(("width", "scheme"), [(390, "dark"), (1920, "light")])
def test_a_link_shows_its_step_and_markup_is_only_text(visitor, app_url, width, scheme):
    page = visitor(width=width, color_scheme=scheme)
    prompt = '<img src=x onerror="window.__xss=1"><style>body{display:none}</style>'
    open_app(page, app_url, f"generate?prompt={prompt}&most=8&seed=1&step=4&layer=1")
    until(page, state="finished", step="4", layer="1")
    settle(page)
    read = "es => es.map(e => e.textContent).join('')"
    assert page.locator(".strip .t.prompt:not(.mark)").evaluate_all(read) == prompt
    page.locator(".strip .t.prompt").nth(3).hover()
    assert "first choice expert" in page.locator(f"{LIVE} .tip").inner_text()
    assert page.evaluate("() => window.__xss ?? null") is None
    assert page.locator("body").evaluate("e => getComputedStyle(e).display") == "block"
    sideways = "e => e.scrollWidth - e.clientWidth"
    assert page.locator("[data-testid=stMain]").evaluate(sideways) <= 0
    page.set_viewport_size({"width": width, "height": 4000})
    settle(page)
    page.screenshot(path=OUTPUT / f"generate_{scheme}_{width}.png")


def test_a_layer_is_picked_by_a_row_and_by_keyboard(page, app_url):
    open_app(page, app_url, f"generate?prompt={PROMPT}&most=5")
    until(page, state="finished")
    box = page.locator("section.now .holder")
    with answered(page):
        box.click(position={"x": 20, "y": 20 + 12})
    until(page, layer="0")
    page.wait_for_url("**layer=0*")
    page.get_by_role("radio", name="Layer 0", exact=True).press("ArrowRight")
    until(page, layer="1")
