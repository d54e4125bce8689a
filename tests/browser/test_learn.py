"""The Learn page as a reader uses it, and the hand-out as a file of its own."""

import pytest
from playwright.sync_api import expect

from moeviz.bench.screen import settle
from moeviz.ui.learn import LESSONS


def open_lesson(page, app_url, name: str) -> None:
    page.goto(f"{app_url}/learn?lesson={name}")
    expect(page.get_by_role("heading", name=LESSONS[name].title)).to_be_visible(timeout=60_000)
    settle(page)


@pytest.mark.parametrize(("width", "scheme"), [(1280, "light"), (390, "dark")])
def test_every_lesson_runs_to_its_end(visitor, app_url, width, scheme):
    page = visitor(width=width, color_scheme=scheme)
    open_lesson(page, app_url, "sparse")
    for name, following in zip(list(LESSONS), [*list(LESSONS)[1:], None], strict=True):
        expect(page.get_by_role("heading", name=LESSONS[name].title)).to_be_visible()
        settle(page)
        quiz = page.locator("[class*=st-key-quiz] [role=radiogroup]")
        if quiz.count():
            quiz.locator("label").first.click()
            expect(page.locator("[data-testid=stAlert]").first).to_be_visible(timeout=60_000)
            settle(page)
        expect(page.locator("[data-testid=stException]")).to_have_count(0)
        sideways = "e => e.scrollWidth - e.clientWidth"
        assert page.locator("[data-testid=stMain]").evaluate(sideways) <= 0
        if following:
            page.get_by_role("button", name=f"Next: {LESSONS[following].short}").click()


def test_a_hand_out_opens_without_a_server(visitor, app_url, tmp_path):
    page = visitor()
    open_lesson(page, app_url, "capacity")
    page.locator("[class*=st-key-quiz] [role=radiogroup] label").first.click()
    figure = page.locator(".root svg").first
    expect(figure).to_be_visible(timeout=60_000)
    expect(page.locator("[data-testid=stTable]")).to_contain_text("Served first")
    settle(page)
    with page.expect_download() as waiting:
        page.get_by_role("button", name="Hand-out of this page (.html)").click()
    path = tmp_path / waiting.value.suggested_filename
    waiting.value.save_as(path)
    alone = visitor()
    alone.context.set_offline(True)
    alone.goto(path.as_uri())
    expect(alone.get_by_role("heading", name=LESSONS["capacity"].title)).to_be_visible()
    assert alone.locator("svg").count() >= 1
    assert "Served first" in alone.locator("table").all_inner_texts()[-1]
    expect(alone.locator("script, iframe, [src^=http]")).to_have_count(0)


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
