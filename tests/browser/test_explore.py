"""The Explore page as a visitor uses it: paste, click, read, take home."""

import io
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from browser.screen import (
    GRID,
    answered,
    click_cell,
    grid,
    legend,
    linked,
    pick,
    pick_token,
    rows,
    run_text,
    shown_text,
)
from playwright.sync_api import expect
from transformers import LlamaConfig, LlamaForCausalLM

import moeviz
from moeviz.bench.screen import (
    STRIP,
    open_app,
    paste_times,
    settle,
    time_layer,
    time_token,
    token,
)
from moeviz.charts.units import text_units
from moeviz.charts.words import percent
from moeviz.metrics.coactivation import coactivation
from moeviz.metrics.expert import expert_tokens
from moeviz.metrics.repetition import repetition
from moeviz.metrics.routes import routes
from moeviz.metrics.similar import similar_tokens
from moeviz.metrics.table import routing_table
from moeviz.metrics.tokens import token_path
from moeviz.trace import EMPTY
from moeviz.ui.examples import EXAMPLES, MIXED
from moeviz.ui.view import first_view

OUTPUT = Path(__file__).parent.parent / "output"
TEXTS = {name: EXAMPLES[name] for name in ("Français", "Python", "中文")}


def first_choices(trace, row) -> list[tuple[int, str]]:
    """(expert, share) as the legend should have them, most frequent first."""
    top = trace.experts[row, :, 0]
    counts = np.bincount(top[top != EMPTY], minlength=trace.shape[2])
    order = np.argsort(-counts, kind="stable")
    return [(int(e), percent(counts[e] / counts.sum())) for e in order if counts[e]]


def shot(page, name: str) -> None:
    """Keep a picture of the whole page as test output."""
    high = page.evaluate("() => document.querySelector('[data-testid=stMain]').scrollHeight")
    size = page.viewport_size
    page.set_viewport_size({"width": size["width"], "height": min(high + 10, 5000)})
    settle(page)
    page.screenshot(path=OUTPUT / f"{name}.png")
    page.set_viewport_size(size)


@pytest.mark.parametrize(
    ("width", "scheme"), [(390, "light"), (390, "dark"), (1280, "light"), (1920, "dark")]
)
def test_the_first_visit_shows_a_traced_example(visitor, app_url, truth, scheme, width):
    page = visitor(width=width, color_scheme=scheme)
    open_app(page, app_url)
    shot(page, f"first_{scheme}_{width}")
    trace = truth(MIXED)
    row = trace.shape[0] // 2
    assert legend(page) == first_choices(trace, row)
    expect(page.locator(GRID)).to_have_count(3)
    expect(page.locator(STRIP)).to_have_attribute("data-key", trace.key)
    sideways = "e => e.scrollWidth - e.clientWidth"
    assert page.locator("[data-testid=stMain]").evaluate(sideways) <= 0
    expect(page.locator("[data-testid=stException]")).to_have_count(0)


def test_french_python_and_chinese_fire_different_experts(page, app_url, truth):
    traces = {name: truth(text) for name, text in TEXTS.items()}
    layers = next(iter(traces.values())).layers
    tops = [
        {n: first_choices(t, row)[0][0] for n, t in traces.items()} for row in range(len(layers))
    ]
    row = max(range(len(layers)), key=lambda r: len(set(tops[r].values())))
    assert len(set(tops[row].values())) >= 2, "no layer of this model tells the three apart"
    open_app(page, app_url)
    pick(page, str(layers[row]))
    for name, text in TEXTS.items():
        run_text(page, text)
        assert legend(page) == first_choices(traces[name], row)
        expect(page.locator(STRIP)).to_have_attribute("data-key", traces[name].key)
        shot(page, f"text_{name}")


def test_the_text_is_shown_letter_by_letter(page, app_url):
    open_app(page, app_url)
    for name in ("العربية", "हिन्दी", "日本語"):
        pick(page, name)
        assert shown_text(page) == EXAMPLES[name]
        direction = page.locator(".strip > div").last.evaluate("e => getComputedStyle(e).direction")
        assert direction == ("rtl" if name == "العربية" else "ltr")
    page.locator(".strip").screenshot(path=OUTPUT / "strip_last_script.png")


def test_a_token_tells_its_whole_path(page, app_url, truth):
    trace = truth(MIXED)
    open_app(page, app_url)
    pick_token(page, 7)
    journey = grid(page, "One token")
    expect(journey.locator(".facts dd").first).to_have_text(
        f"8 of {len(trace.tokens)}", use_inner_text=True
    )
    lines = journey.locator(".sheet tbody tr")
    expect(lines).to_have_count(trace.shape[0])
    for row, line in enumerate(lines.all()):
        cells = line.locator("td").all_inner_texts()
        expected = [
            f"{e}: {g:.3f}" for e, g in zip(trace.experts[row, 7], trace.gates[row, 7], strict=True)
        ]
        assert cells[0] == str(trace.layers[row])
        assert [c.split(" (")[0] for c in cells[1:-1]] == expected
    expect(token(page, 7)).to_have_attribute("aria-selected", "true")
    linked(page, "token=7")


def test_hovering_shows_the_routing_of_the_layer(page, app_url, truth):
    trace = truth(MIXED)
    row = trace.shape[0] // 2
    open_app(page, app_url)
    token(page, 3).hover()
    tip = page.locator(STRIP).locator(".tip")
    for expert, gate in zip(trace.experts[row, 3], trace.gates[row, 3], strict=True):
        assert f"expert {expert}" in tip.inner_text()
        assert f"{gate:.3f}" in tip.inner_text()


def test_a_cell_of_the_token_grid_picks_token_and_expert(page, app_url, truth):
    trace = truth(MIXED)
    row, expert = trace.shape[0] // 2, 5
    open_app(page, app_url)
    click_cell(page, grid(page, "token by token"), 4, expert)
    linked(page, "expert=5")
    linked(page, "token=4")
    expect(grid(page, "One token")).to_have_attribute("data-fixed-token", "4")
    took = {
        unit.first
        for unit in text_units(trace.tokens)
        if expert in trace.experts[row, unit.first : unit.first + unit.count]
    }
    marked = page.locator(".strip .t.mine").evaluate_all("es => es.map(e => +e.dataset.token)")
    assert set(marked) == took
    assert f"expert {expert}" in page.get_by_text("Chance alone").inner_text()


def test_a_cell_of_the_layer_grid_opens_its_layer(page, app_url, truth):
    trace = truth(MIXED)
    open_app(page, app_url)
    click_cell(page, grid(page, "expert by expert"), 0, 2)
    expect(page.locator(STRIP)).to_have_attribute("data-layer", str(trace.layers[0]))
    expect(grid(page, "token by token")).to_have_attribute("data-fixed-layer", str(trace.layers[0]))
    assert legend(page) == first_choices(trace, 0)
    linked(page, "expert=2")


def test_cells_are_coloured_by_their_value(page, app_url, truth):
    trace = truth(MIXED)
    row = trace.shape[0] // 2
    open_app(page, app_url)
    figure = grid(page, "token by token")
    pick(page, "Gate")
    chosen = int(trace.experts[row, 2, 0])
    other = next(e for e in range(trace.shape[2]) if e not in trace.experts[row, 2])
    assert brightness(figure, 2, chosen) < brightness(figure, 2, other) - 40


def brightness(figure, row: int, column: int) -> float:
    """Mean of red, green and blue near the left edge of a cell, away from its mark."""
    return figure.evaluate(
        """(e, [row, column]) => {
          const d = e.dataset, canvas = e.querySelector('.view canvas');
          const x = +d.gutter + column * d.cell + 3, y = +d.head + row * d.rowHeight + 4;
          const [r, g, b] = canvas.getContext('2d').getImageData(x, y, 1, 1).data;
          return (r + g + b) / 3;
        }""",
        [row, column],
    )


def test_the_keyboard_does_what_the_mouse_does(page, app_url):
    open_app(page, app_url)
    token(page, 2).focus()
    page.keyboard.press("ArrowRight")
    with answered(page):
        page.keyboard.press("Enter")
    expect(grid(page, "One token")).to_have_attribute("data-fixed-token", "3")
    grid(page, "token by token").locator(".view").focus()
    for key in ("ArrowDown", "ArrowDown", "ArrowRight"):
        page.keyboard.press(key)
    with answered(page):
        page.keyboard.press("Enter")
    expect(grid(page, "One token")).to_have_attribute("data-fixed-token", "4")
    linked(page, "expert=1")


def test_every_figure_has_its_numbers_as_a_table(page, app_url, truth):
    trace = truth(MIXED)
    row = trace.shape[0] // 2
    open_app(page, app_url)
    figure = grid(page, "token by token")
    figure.get_by_text("Load as a table").click()
    figure.locator(".sheet").wait_for()
    shares = figure.locator(".sheet tbody tr").all_inner_texts()
    counts = np.bincount(trace.experts[row].ravel(), minlength=trace.shape[2])
    assert [s.split("\t")[1] for s in shares] == [percent(c / counts.sum()) for c in counts]
    figure.get_by_text("Choices as a table").click()
    lines = figure.locator("details:not(.save)").last.locator("tbody tr")
    expect(lines).to_have_count(len(trace.tokens))
    seventh = f"{trace.experts[row, 6, 0]}: {trace.gates[row, 6, 0]:.3f}"
    assert seventh in lines.nth(6).inner_text()
    grid(page, "expert by expert").get_by_text("As a table").click()
    expect(grid(page, "expert by expert").locator("tbody tr")).to_have_count(trace.shape[0])


def test_every_figure_says_how_to_read_it_and_which_model(page, app_url):
    open_app(page, app_url)
    for card in page.locator("section.card").all():
        assert card.locator(".read").first.inner_text().endswith(".")
        assert card.locator(".model").inner_text()


def test_downloads_open_equal_to_the_trace(page, app_url, truth, tmp_path):
    trace = truth(MIXED)
    open_app(page, app_url)
    files = {}
    for label in ("Trace (.moetrace)", "Table (.csv)"):
        with page.expect_download() as waiting:
            page.get_by_role("button", name=label).click()
        files[label] = tmp_path / waiting.value.suggested_filename
        waiting.value.save_as(files[label])
    assert moeviz.open_trace(files["Trace (.moetrace)"]).key == trace.key
    table = pd.read_csv(io.BytesIO(files["Table (.csv)"].read_bytes()), keep_default_na=False)
    ours = routing_table(trace)
    assert table.expert.tolist() == ours.expert.tolist()
    assert table.text.tolist() == ours.text.tolist()
    assert np.allclose(table.gate, ours.gate, atol=1e-6)


def test_markup_in_a_text_is_only_text(page, app_url):
    open_app(page, app_url)
    for text in (
        "<img src=x onerror=\"window.__xss='img'\"><script>window.__xss='script'</script>",
        "<style>body{display:none}</style> [link](javascript:alert(1)) $x^2$ :material/home: **b**",
    ):
        run_text(page, text)
        assert shown_text(page) == text
        pick_token(page, 2)
        token(page, 3).hover()
        grid(page, "token by token").locator(".view").hover(position={"x": 20, "y": 150})
    assert page.evaluate("() => window.__xss ?? null") is None
    assert page.locator("body").evaluate("e => getComputedStyle(e).display") == "block"


def test_two_visitors_never_see_each_others_text(visitor, app_url):
    secrets = ("the first visitor's private words", "das Geheimnis des zweiten Besuchs")
    pages = [visitor(), visitor()]
    for page in pages:
        open_app(page, app_url)
    for page, secret in zip(pages, secrets, strict=True):
        run_text(page, secret)
    for page, own, other in zip(pages, secrets, secrets[::-1], strict=True):
        pick_token(page, 2)
        seen = page.locator(".strip").inner_text()
        assert own in seen
        assert other not in page.content() + seen + page.url


def test_what_is_no_text_is_said_in_one_sentence(page, app_url, truth):
    open_app(page, app_url)
    nothing = "There is no text yet. Type or paste some, or pick an example."
    binary = (
        "This looks like binary data rather than text: 4 of 8 characters are control codes. "
        "Paste text instead."
    )
    for text, sentence in (("", nothing), (" \n ", nothing), ("\x01\x02\x03\x04 bin", binary)):
        run_text(page, text)
        expect(page.get_by_role("alert")).to_have_text([sentence], use_inner_text=True)
        expect(page.locator(STRIP)).to_have_attribute("data-key", truth(MIXED).key)
    run_text(page, "Now a text.")
    expect(page.get_by_role("alert")).to_have_count(0)


def test_one_token_and_half_a_character(page, app_url):
    open_app(page, app_url)
    run_text(page, "a")
    assert shown_text(page) == "a"
    expect(page.locator(GRID)).to_have_count(3)
    area = page.get_by_label("Text", exact=True)
    area.evaluate(
        """e => {
          const set = Object.getOwnPropertyDescriptor(HTMLTextAreaElement.prototype, 'value').set;
          set.call(e, 'half \\ud83d of it');
          e.dispatchEvent(new Event('input', { bubbles: true }));
        }"""
    )
    with answered(page):
        area.press("Control+Enter")
    assert shown_text(page) == "half \ufffd of it"
    assert page.get_by_role("alert").inner_text().startswith("The text holds 1 replacement sign")


def test_a_hundred_thousand_characters_are_cut_and_it_says_so(page, app_url, model):
    open_app(page, app_url)
    run_text(page, "Forty words about nothing, again and again. " * 2300)
    note = page.get_by_role("alert").inner_text()
    assert note.startswith("The text was cut:")
    assert f"first {model.max_tokens:,}" in note
    strip = page.locator(STRIP)
    expect(strip.locator(".t").last).to_have_attribute("data-token", str(model.max_tokens - 1))
    assert "text=" not in page.url
    shot(page, "long_text")


def test_a_model_that_cannot_be_had_leaves_the_view(page, app_url, truth, tmp_path):
    LlamaForCausalLM(
        LlamaConfig(vocab_size=99, hidden_size=16, intermediate_size=16, num_hidden_layers=1,
                    num_attention_heads=2)
    ).save_pretrained(tmp_path / "dense")  # fmt: skip
    open_app(page, app_url)
    page.get_by_role("button", name="Change model").click()
    field = page.get_by_role("textbox", name="Hub id, local folder or server")
    for name, words in (
        (str(tmp_path / "dense"), "has no Mixture-of-Experts layers"),
        ("no-such-organisation/no-such-model", "no-such-model"),
        ("/no/such/folder", "There is no folder /no/such/folder."),
    ):
        field.fill(name)
        with answered(page):
            field.press("Enter")
        page.get_by_role("alert").filter(has_text=words).wait_for()
        expect(page.get_by_role("alert")).to_have_count(1)
        expect(page.locator(STRIP)).to_have_attribute("data-key", truth(MIXED).key)


def test_a_link_opens_the_same_view(visitor, app_url, truth):
    first = visitor()
    open_app(first, app_url)
    run_text(first, "Ein kurzer Text, two languages.")
    layer = str(truth(MIXED).layers[0])
    pick(first, layer)
    pick(first, "Loss")
    pick(first, "Logit")
    pick_token(first, 4)
    click_cell(first, grid(first, "token by token"), 3, 6)
    second = visitor()
    open_app(second, app_url, first.url.split("/", 3)[3])
    for page in (first, second):
        strip, journey = page.locator(STRIP), grid(page, "One token")
        expect(strip).to_have_attribute("data-layer", layer)
        expect(strip).to_have_attribute("data-colour", "loss")
        expect(journey).to_have_attribute("data-fixed-token", "3")
        assert page.get_by_label("Text", exact=True).input_value().startswith("Ein kurzer")
    keys = [p.locator(STRIP).get_attribute("data-key") for p in (first, second)]
    assert keys[0] == keys[1] == truth("Ein kurzer Text, two languages.").key
    assert first.url == second.url


def test_back_and_forward_walk_through_the_views(page, app_url, truth):
    middle, layer = (str(truth(MIXED).layers[row]) for row in (len(truth(MIXED).layers) // 2, 0))
    open_app(page, app_url)
    pick(page, layer)
    page.wait_for_url("**layer=*")
    pick_token(page, 6)
    page.wait_for_url("**token=6*")
    strip, journey = page.locator(STRIP), grid(page, "One token")
    first = str(first_view(truth(MIXED)).token)
    for step, place, token_shown in (
        (page.go_back, layer, first),
        (page.go_back, middle, first),
        (page.go_forward, layer, first),
        (page.go_forward, layer, "6"),
    ):
        with answered(page):
            step()
        expect(strip).to_have_attribute("data-layer", place)
        expect(journey).to_have_attribute("data-fixed-token", token_shown)


def test_nonsense_in_a_link_opens_the_plain_view(page, app_url, truth):
    open_app(page, app_url, "?layer=99&expert=-1&token=1e9&colour=x&cells=<b>&text=")
    expect(page.locator(STRIP)).to_have_attribute("data-key", truth(MIXED).key)
    expect(page.get_by_role("alert")).to_have_count(0)


def test_answers_come_quickly(page, app_url):
    """Wide limits, so that a busy machine passes; the benchmark measures in earnest."""
    open_app(page, app_url)
    words = " ".join(EXAMPLES[name] for name in ("English", "Français", "Deutsch", "Español"))
    pastes = paste_times(page, words, 3)
    tokens = [time_token(page, n) for n in (5, 25, 45)]
    layers = [time_layer(page, name) for name in ("0", "1", "0")]
    print("paste", pastes, "token", tokens, "layer", layers)
    assert np.median(pastes) < 6000
    assert np.median(tokens) < 2000
    assert np.median(layers) < 2000


def lines(page, title: str):
    """The lines of the list whose heading contains `title`."""
    cards = page.locator(".root[data-list]").filter(has=page.locator("h3", has_text=title))
    return cards.locator(".line")


def at(found) -> list[int]:
    return found.evaluate_all("es => es.map(e => +e.dataset.at)")


def test_a_range_of_tokens_is_selected_everywhere_and_flows(page, app_url, truth):
    trace = truth(MIXED)
    open_app(page, app_url)
    pick_token(page, 4)
    with answered(page):
        token(page, 9).click(modifiers=["Shift"])
    flow = page.locator(".root[data-flow]")
    linked(page, "token=4")
    linked(page, "until=9")
    expect(flow).to_have_attribute("data-place", "tokens 5 to 10")
    inside = page.locator(".strip .t.in").evaluate_all("es => es.map(e => +e.dataset.token)")
    assert inside == [4, 5, 6, 7, 8, 9]
    found = routes(trace, np.arange(4, 10))
    shown = [line[:4] for line in rows(flow)]
    assert shown == [
        [f"{trace.layers[r]} to {trace.layers[r + 1]}", str(a), str(b), str(n)]
        for r, a, b, n in zip(found.row, found.source, found.target, found.tokens, strict=True)
    ]
    token(page, 12).focus()
    with answered(page):
        page.keyboard.press("Enter")
    for _ in range(3):
        page.keyboard.press("Shift+ArrowRight")
    page.wait_for_url("**until=15*")
    settle(page)
    linked(page, "token=12")
    expect(flow).to_have_attribute("data-place", "tokens 13 to 16")
    with answered(page):
        page.keyboard.press("Escape")
    expect(flow).to_have_attribute("data-place", "all tokens")
    expect(page.locator(".strip .t.in")).to_have_count(0)
    page.get_by_role("button", name="Select a range").click()
    with answered(page):
        token(page, 20).click()
    expect(page.get_by_text("Tokens 13 to 21 selected")).to_have_count(1)


def test_a_click_on_the_flow_opens_that_expert(page, app_url, truth):
    trace = truth(MIXED)
    expert = int(np.bincount(trace.experts[1, :, 0]).argmax())
    open_app(page, app_url, "?look=flow")
    flow = page.locator(".root[data-flow]")
    with answered(page):
        flow.locator(f".block[data-row='1'][data-expert='{expert}']").click()
    expect(page.locator(STRIP)).to_have_attribute("data-layer", str(trace.layers[1]))
    linked(page, f"expert={expert}")
    expect(flow.locator(".block.on")).to_have_attribute("data-expert", str(expert))
    flow.locator(".holder").focus()
    page.keyboard.press("ArrowDown")  # to where the selection stands
    page.keyboard.press("ArrowDown")
    with answered(page):
        page.keyboard.press("Enter")
    expect(page.locator(STRIP)).to_have_attribute("data-layer", str(trace.layers[2]))
    assert flow.locator(".said").inner_text().startswith(f"Layer {trace.layers[2]}, expert ")


def test_the_panel_tells_of_token_expert_and_layer(page, app_url, truth):
    trace = truth(MIXED)
    row = trace.shape[0] // 2
    open_app(page, app_url)
    pick_token(page, 7)
    alike = similar_tokens(trace, 7)
    assert at(lines(page, "Routed most alike")) == alike.tokens.tolist()
    with answered(page):
        lines(page, "Routed most alike").first.click()
    first = int(alike.tokens[0])
    expect(grid(page, "One token")).to_have_attribute("data-fixed-token", str(first))
    runner_up = token_path(trace, first).runner_up
    assert [int(r[-1].split(",")[0]) for r in rows(grid(page, "One token"))] == runner_up.tolist()
    expert = int(legend(page)[0][0])
    with answered(page):
        page.locator(f".chip[data-expert='{expert}']").click()
    took = expert_tokens(trace, row, expert)
    page.get_by_role("button", name="In the text").click()
    assert at(lines(page, f"Tokens of expert {expert}")) == took.tokens.tolist()
    partner = int(np.nanargmax(coactivation(trace, row)[expert]))
    assert at(lines(page, "Chosen together").first) == [partner]
    lines(page, "Chosen together").first.focus()
    with answered(page):
        page.keyboard.press("Enter")
    linked(page, f"expert={partner}")
    click_cell(page, grid(page, "expert by expert"), 1, -1)
    among = page.locator(".root[data-plot]")
    expect(among.locator("h3")).to_have_text(
        f"Layer {trace.layers[1]} among all layers", use_inner_text=True
    )
    pick(page, "Repetition")
    share = percent(repetition(trace).first[1])
    assert f"Same first choice as the token before\n{share} (chance" in among.inner_text()


def test_one_expert_is_followed_through_all_layers(page, app_url, truth):
    trace = truth(MIXED)
    open_app(page, app_url, "?expert=5")
    pick(page, "One expert, all layers")
    pick(page, "One expert")
    assert "Probability of expert 5" in page.locator(STRIP).inner_text()
    figure = grid(page, "Expert 5 of every layer")
    expect(figure).to_have_attribute("data-columns", str(trace.shape[0]))
    click_cell(page, figure, 3, 1)
    expect(page.locator(STRIP)).to_have_attribute("data-layer", str(trace.layers[1]))
    linked(page, "token=3")
    linked(page, "expert=5")
    figure.get_by_text("Choices as a table").click()
    lines = figure.locator("details:not(.save)").last.locator("tbody tr")
    lines.first.wait_for()
    took = [[f"{g:.3f}" if e == 5 else "" for e, g in zip(*pair, strict=True)]
            for pair in zip(trace.experts[:, 8], trace.gates[:, 8], strict=True)]  # fmt: skip
    assert lines.nth(8).inner_text().split("\t")[2:] == ["".join(cells) or "–" for cells in took]


def test_rows_are_made_smaller_and_larger(page, app_url):
    open_app(page, app_url)
    figure = grid(page, "token by token")
    before = float(figure.get_attribute("data-row-height"))
    for _ in range(3):
        figure.get_by_role("button", name="Smaller rows").click()
    assert float(figure.get_attribute("data-row-height")) < before / 5
    expect(figure.get_by_role("button", name="Smaller rows")).to_be_disabled()
    figure.locator(".view").focus()
    for _ in range(4):
        page.keyboard.press("+")
    assert float(figure.get_attribute("data-row-height")) > 1.5 * before
