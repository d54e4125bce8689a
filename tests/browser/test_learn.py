"""The Learn page as a reader uses it, and the hand-out as a file of its own."""

import pytest
from playwright.sync_api import expect

from moeviz.bench.screen import settle
from moeviz.ui.learn import LESSONS


def open_lesson(page, app_url, name: str) -> None:
    page.goto(f"{app_url}/learn?lesson={name}")
    expect(page.get_by_role("heading", name=LESSONS[name].title)).to_be_visible(timeout=60_000)
    settle(page)


def answer(page, name: str) -> None:
    """Answers the lesson's question, where it has one."""
    if name not in ("history", "glossary"):
        quiz = page.locator(f"[class*=st-key-quiz_{name.replace('-', '')}]")
        quiz.locator("[role=radiogroup] label").first.click()
        expect(quiz.locator("[data-testid=stAlert]")).to_be_visible(timeout=60_000)
    settle(page)


@pytest.mark.parametrize(("width", "scheme"), [(1280, "light"), (390, "dark")])
def test_every_lesson_runs_to_its_end(visitor, app_url, width, scheme):
    page = visitor(width=width, color_scheme=scheme)
    open_lesson(page, app_url, "sparse")
    for name, following in zip(list(LESSONS), [*list(LESSONS)[1:], None], strict=True):
        expect(page.get_by_role("heading", name=LESSONS[name].title)).to_be_visible()
        answer(page, name)
        expect(page.locator("[data-testid=stException]")).to_have_count(0)
        sideways = "e => e.scrollWidth - e.clientWidth"
        assert page.locator("[data-testid=stMain]").evaluate(sideways) <= 0
        if following:
            page.get_by_role("button", name=f"Next: {LESSONS[following].short}").click()


# A chart and the words that a screen reader says for it, in the component that drew it.
SPOKEN = """e => {
  for (let n = e; !(n instanceof ShadowRoot); n = n.parentNode)
    if (n.ariaLabel) return [n.ariaLabel, n.closest('.root').querySelector('p.read').textContent];
  return ['', ''];
}"""
FIGURES = {"sparse": 1, "router": 1, "top-k": 1, "purpose": 2, "balance": 3, "capacity": 1,
           "serving": 1, "ensembles": 1}  # fmt: skip


@pytest.mark.parametrize("name", LESSONS)
def test_charts_are_spoken_and_a_hand_out_opens_without_a_server(visitor, app_url, tmp_path, name):
    page = visitor()
    open_lesson(page, app_url, name)
    answer(page, name)
    charts = page.locator(".root svg, .root canvas")
    expect(charts).to_have_count(FIGURES.get(name, 0), timeout=60_000)
    titles = page.locator(".root h3").all_inner_texts()
    for chart, title in zip(charts.all(), titles, strict=True):
        label, read = chart.evaluate(SPOKEN)
        assert label.startswith(title)
        assert len(read) > 30, title
    with page.expect_download() as waiting:
        page.get_by_role("button", name="Hand-out of this page (.html)").click()
    path = tmp_path / waiting.value.suggested_filename
    waiting.value.save_as(path)
    alone = visitor()
    alone.context.set_offline(True)
    alone.goto(path.as_uri())
    expect(alone.get_by_role("heading", name=LESSONS[name].title)).to_be_visible()
    expect(alone.locator(".handout > svg")).to_have_count(len(titles))
    for title in titles:
        expect(alone.locator(".handout > svg", has_text=title)).to_have_count(1)
    expect(alone.locator("script, iframe, [src^=http]")).to_have_count(0)
    home = alone.locator(f"a[href^='{app_url}']").evaluate_all("links => links.map(a => a.href)")
    assert home == [page.url], "only its own address leads back to the server"
    if name == "router":
        assert alone.locator("math").last.text_content().startswith("y=")
    if name == "capacity":
        assert "Served first" in alone.locator("table").all_inner_texts()[-1]


def test_a_way_to_explore_opens_in_a_new_tab(page, app_url):
    """As the first page it has an empty address, which a new tab once took for Learn's."""
    open_lesson(page, app_url, "router")
    answer(page, "router")
    link = page.get_by_role("link", name="See this token in Explore")
    address = link.evaluate("a => a.href")
    page.context.new_page().goto(address)
    expect(page.context.pages[-1].get_by_label("Text", exact=True)).to_be_visible(timeout=60_000)


def test_the_presenter_sees_larger_type(page, app_url):
    page.goto(f"{app_url}/workshop")
    main = page.locator("[data-testid=stMain]")
    zoom = "e => getComputedStyle(e).zoom"
    page.get_by_text("Presenter's view").click(timeout=60_000)
    page.wait_for_function(
        "() => getComputedStyle(document.querySelector('[data-testid=stMain]')).zoom === '1.3'"
    )
    page.get_by_role("link", name="Learn", exact=True).first.click()
    expect(page.get_by_role("heading", name=LESSONS["sparse"].title)).to_be_visible()
    assert main.evaluate(zoom) == "1.3"
