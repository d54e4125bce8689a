"""Scripts and markup typed wherever a stranger can type: nothing runs, and all is shown as text."""

import csv
from urllib.parse import quote

from browser.screen import run_text
from junk import MARKUP
from playwright.sync_api import expect

from moeviz.bench.screen import open_app, settle

ALL = "\n".join(MARKUP)


def unharmed(page) -> None:
    """No script has run, and no element that the markup names is in the page."""
    settle(page)
    assert page.evaluate("document.documentElement.dataset.broken") is None
    expect(page.locator("[onerror], [onload], [onfocus], [ontoggle], marquee")).to_have_count(0)
    expect(page.locator("iframe[srcdoc*=broken], a[href^=javascript]")).to_have_count(0)
    expect(page.locator("[data-testid=stException]")).to_have_count(0)
    expect(page.locator("[data-testid=stMain]")).to_be_visible()


def test_texts_and_addresses(page, app_url, tmp_path):
    open_app(page, app_url)
    run_text(page, ALL)
    unharmed(page)
    expect(page.locator(".strip").first).to_contain_text("onerror")
    with page.expect_download() as waiting:
        page.locator(".card.savable .save summary").first.click()
        page.get_by_role("button", name="HTML", exact=True).first.click()
    path = tmp_path / "figure.html"
    waiting.value.save_as(path)
    page.goto(path.as_uri())
    assert page.evaluate("document.documentElement.dataset.broken") is None
    expect(page.locator("[onerror], [onload], marquee")).to_have_count(0)
    junk = quote("".join(MARKUP[:9]))
    for place, names in (
        ("compare", ("against=text&b", "text")),
        ("contrast", ("set_a", "set_b", "pair")),
        ("specialise", ("ask", "section", "by")),
        ("what-if", ("rule", "prompt")),
        ("learn", ("lesson=glossary&term",)),
        ("", ("model",)),
    ):
        page.goto(f"{app_url}/{place}?" + "&".join(f"{name}={junk}" for name in names))
        page.locator("[data-testid=stMain] [data-testid=stMarkdown]").first.wait_for()
        unharmed(page)


def test_labels_columns_and_the_name_of_a_file(page, app_url, tmp_path):
    page.goto(f"{app_url}/specialise?data=own&view=pca")
    path = tmp_path / "<img src=x onerror=document.documentElement.dataset.broken=1>.csv"
    with path.open("w", encoding="utf-8", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["text", MARKUP[6], MARKUP[0].replace("/", "")])
        rows.writerows(
            [f"{MARKUP[n % len(MARKUP)]} words {n}", MARKUP[n % 9], MARKUP[9 + n % 9]]
            for n in range(40)
        )
    chooser = page.locator("input[type=file]").last
    chooser.wait_for(state="attached", timeout=90_000)
    chooser.set_input_files(path)
    page.get_by_role("button", name="Read them").click(timeout=60_000)
    page.locator(".root[data-cloud][data-scale]").wait_for(timeout=180_000)
    unharmed(page)
    for section in ("experts", "labels", "texts"):
        page.goto(f"{app_url}/specialise?data=own&section={section}")
        page.locator("[data-testid=stMain] [data-testid=stMarkdown]").first.wait_for()
        unharmed(page)
