"""Taking things home and bringing them back: figures, tables, traces, and what their files hold."""

import csv
import io
import xml.etree.ElementTree as ET
from pathlib import Path

import numpy as np
import pandas as pd
from browser.screen import answered, grid, run_text
from PIL import Image
from playwright.sync_api import expect

import moeviz
from moeviz.bench.screen import STRIP, open_app, settle
from moeviz.corpora.models import known_facts, known_models
from moeviz.metrics.load import expert_load
from moeviz.metrics.table import routing_table
from moeviz.rules.facts import from_json
from moeviz.ui.examples import MIXED

HOSTILE = '<b>bold</b> & "quoted" <script>window.hit = 1</script> مرحبا بكم, 夜里 =1+1'
SVG = "{http://www.w3.org/2000/svg}"


def saved(page, card, way: str) -> bytes:
    """What the Save menu of a card hands out."""
    card.locator(".save summary").click()
    with page.expect_download() as download:
        card.get_by_role("button", name=way, exact=True).click()
    assert download.value.suggested_filename.endswith(f".{way.lower()}")
    return Path(download.value.path()).read_bytes()


def words(root: ET.Element) -> str:
    return " ".join("".join(node.itertext()) for node in root.iter(f"{SVG}text"))


def test_every_figure_can_be_saved_as_an_svg_that_says_what_it_shows(page, app_url, truth):
    trace = truth(MIXED)
    open_app(page, app_url)
    cards = page.locator(".card.savable").all()
    assert len(cards) >= 4
    for card in cards:
        root = ET.fromstring(saved(page, card, "SVG"))
        assert root.tag == f"{SVG}svg"
        assert root.find(f"{SVG}title").text == card.locator("h3").inner_text()
        said = words(root)
        assert card.locator("h3").inner_text() in said
        assert "demo" in said
        first = card.locator("p.read").first.inner_text().split(". ")[0]
        assert first.replace(" ", "") in said.replace(" ", "")
        assert trace.key[:8] in said
        kinds = {node.tag.removeprefix(SVG) for node in root.iter()}
        assert not kinds & {"script", "foreignObject", "style"}
    layers = ET.fromstring(saved(page, cards[-1], "SVG"))
    assert {str(e) for e in range(trace.shape[2])} <= set(words(layers).split())


def test_a_png_is_the_svg_at_twice_the_size_in_the_colours_of_the_theme(visitor, app_url):
    page = visitor(width=390, color_scheme="dark")
    open_app(page, app_url)
    card = grid(page, "One token").locator(".card")
    root = ET.fromstring(saved(page, card, "SVG"))
    data = saved(page, card, "PNG")
    assert data[:8] == b"\x89PNG\r\n\x1a\n"
    pixels = np.asarray(Image.open(io.BytesIO(data)).convert("RGB"))
    assert pixels.shape[:2] == (2 * int(root.get("height")), 2 * int(root.get("width")))
    ground = page.locator(".card").first.evaluate("e => getComputedStyle(e).backgroundColor")
    assert f"rgb({', '.join(map(str, pixels[4, 4]))})" == ground
    assert len(np.unique(pixels.reshape(-1, 3), axis=0)) > 50


def test_a_page_of_a_figure_works_offline_and_text_stays_text(visitor, app_url, tmp_path, truth):
    page = visitor()
    open_app(page, app_url)
    run_text(page, HOSTILE)
    strip, tokens = page.locator(f"{STRIP} .card"), grid(page, "token by token").locator(".card")
    reader = visitor()
    asked = []
    reader.on("request", lambda request: asked.append(request.url))
    reader.context.set_offline(True)
    for card in (strip, tokens):
        title = card.locator("h3").inner_text()
        file = tmp_path / "figure.html"
        file.write_bytes(saved(page, card, "HTML"))
        reader.goto(file.as_uri())
        assert reader.title() == f"{title} · MoEViz"
        assert title in reader.locator("svg").text_content()
        for summary in reader.locator("summary").all():
            summary.click()
        assert reader.locator("tbody tr").count() >= len(truth(HOSTILE).tokens)
        expect(reader.locator("svg b, td b, svg ~ script")).to_have_count(0)
        assert reader.evaluate("window.hit") is None
    assert all(url.startswith("file:") for url in asked)
    lines = ET.fromstring(saved(page, strip, "SVG"))
    assert '<b>bold</b> & "quoted" <script>window.hit' in words(lines)


def test_the_menu_is_there_for_the_keyboard(page, app_url):
    open_app(page, app_url)
    card = grid(page, "One token").locator(".card")
    summary = card.locator(".save summary")
    summary.focus()
    page.keyboard.press("Enter")
    expect(card.get_by_role("button", name="PNG", exact=True)).to_be_visible()
    page.keyboard.press("Escape")
    expect(card.get_by_role("button", name="PNG", exact=True)).to_be_hidden()
    page.keyboard.press("Enter")
    page.keyboard.press("Tab")
    page.keyboard.press("Tab")
    with page.expect_download() as download:
        page.keyboard.press("Enter")
    assert download.value.suggested_filename.endswith(".svg")


def sheet(figure, name: str, way: str) -> bytes:
    """The file of the table called `name` under a figure."""
    box = figure.locator("details", has=figure.page.locator("summary", has_text=name)).last
    if not box.evaluate("e => e.open"):
        box.locator("summary").click()
    with figure.page.expect_download() as download:
        box.get_by_role("button", name=f"Save as {way}").click()
    assert download.value.suggested_filename.endswith(f".{way.lower()}")
    return Path(download.value.path()).read_bytes()


def test_tables_come_as_csv_and_parquet_with_every_digit(page, app_url, truth):
    trace = truth(MIXED)
    open_app(page, app_url)
    layers = grid(page, "expert by expert")
    text = sheet(layers, "As a table", "CSV").decode("utf-8-sig")
    head, *rows = csv.reader(io.StringIO(text))
    assert head == ["Layer", *map(str, range(trace.shape[2]))]
    shares = np.array([[float(cell) for cell in row[1:]] for row in rows])
    np.testing.assert_allclose(shares, expert_load(trace).share, atol=2e-5)
    table = pd.read_parquet(io.BytesIO(sheet(layers, "As a table", "Parquet")))
    assert list(table.columns) == head
    assert table["Layer"].tolist() == list(trace.layers)
    np.testing.assert_allclose(table.iloc[:, 1:], expert_load(trace).share, atol=2e-5)
    with page.expect_download() as download:
        page.get_by_role("button", name="Table (.parquet)").click()
    back = pd.read_parquet(download.value.path())
    pd.testing.assert_frame_equal(back, routing_table(trace))


def test_a_table_of_the_page_comes_as_csv_and_parquet(page, app_url):
    page.goto(f"{app_url}/models")
    wanted = [from_json(known_facts()[model.name]) for model in known_models()]
    for way, read in (("CSV", pd.read_csv), ("Parquet", pd.read_parquet)):
        with page.expect_download(timeout=60_000) as download:
            page.get_by_role("button", name=f"Save as {way}").click()
        table = read(download.value.path())
        assert table["Model"].tolist() == [facts.name for facts in wanted]
        np.testing.assert_allclose(table["Total, B"], [f.total / 1e9 for f in wanted])
        assert table["Scoring"].tolist() == [facts.scoring for facts in wanted]


def test_a_table_of_tokens_keeps_words_as_words_and_numbers_as_numbers(page, app_url, truth):
    text = '7 "7", 007\n\tعدد 数 🙂 =1+1'
    trace = truth(text)
    open_app(page, app_url)
    run_text(page, text)
    table = pd.read_parquet(io.BytesIO(sheet(page.locator(STRIP), "As a table", "Parquet")))
    assert table["#"].tolist() == list(range(1, len(trace.tokens) + 1))
    assert table["Id"].tolist() == list(trace.tokens.ids)
    row = int(page.locator(STRIP).get_attribute("data-layer"))
    for slot in range(trace.shape[3]):
        assert table[f"Choice {slot + 1}"].tolist() == trace.experts[row, :, slot].tolist()
        gates = table[f"Gate {slot + 1}"].to_numpy(np.float32)
        np.testing.assert_array_equal(gates, trace.gates[row, :, slot])
    words = "".join(table["Token"])
    assert all(word in words for word in ("عدد", "数", "🙂", "=", "↵", "⇥"))
    assert table["Token"].map(type).eq(str).all()


def test_every_table_of_a_page_is_the_same_in_both_files(page, app_url):
    open_app(page, app_url)
    tried = 0
    for figure in page.locator(".root:has(details:not(.save))").all():
        for summary in figure.locator("details:not(.save) > summary").all_inner_texts():
            left = pd.read_csv(io.BytesIO(sheet(figure, summary, "CSV")), keep_default_na=False)
            right = pd.read_parquet(io.BytesIO(sheet(figure, summary, "Parquet")))
            assert list(left.columns) == list(right.columns)
            for name in right:
                if pd.api.types.is_numeric_dtype(right[name]):
                    numbers = pd.to_numeric(left[name], errors="coerce")
                    np.testing.assert_allclose(numbers, right[name], rtol=1e-6)
                else:
                    tame = left[name].astype(str).str.removeprefix("'")  # of a formula
                    assert tame.tolist() == right[name].str.removeprefix("'").tolist()
            tried += 1
            page.wait_for_timeout(300)  # Chromium drops downloads beyond ten a second
    assert tried >= 5


def test_a_trace_taken_home_is_opened_again_by_another_visitor(visitor, app_url, truth, tmp_path):
    first, second = visitor(), visitor()
    open_app(first, app_url)
    run_text(first, "A trace to take home.")
    with first.expect_download() as download:
        first.get_by_role("button", name="Trace (.moetrace)").click()
    file = tmp_path / "home.moetrace"
    download.value.save_as(file)
    key = truth("A trace to take home.").key
    assert moeviz.open_trace(file).key == key
    (tmp_path / "broken.moetrace").write_bytes(file.read_bytes()[:-1])
    open_app(second, app_url)
    upload(second, tmp_path / "broken.moetrace")
    expect(second.get_by_role("alert")).to_contain_text("broken.moetrace is not a trace file")
    expect(second.locator(STRIP)).to_have_attribute("data-key", truth(MIXED).key)
    upload(second, file)
    expect(second.get_by_text("You are looking at the file home.moetrace")).to_be_visible()
    expect(second.locator(STRIP)).to_have_attribute("data-key", key)
    assert f"trace={key}" in second.url
    first.goto(second.url)
    expect(first.get_by_text("This link was made with a trace that is not here.")).to_be_visible()
    with answered(second):
        second.get_by_role("button", name="Back to the text").click()
    expect(second.locator(STRIP)).to_have_attribute("data-key", truth(MIXED).key)


def upload(page, file: Path) -> None:
    page.get_by_role("button", name="Open a trace").click()
    with answered(page):
        page.locator("input[type=file]").set_input_files(file)
    settle(page)
