"""What a person does in the app, and reads on it."""

from contextlib import contextmanager, suppress

from playwright.sync_api import TimeoutError, expect

from moeviz.bench.screen import settle, token

GRID = ".root[data-columns]"


@contextmanager
def answered(page):
    """Around something that makes the script run: goes on when it has run and is drawn."""
    settle(page)  # or an earlier run would be taken for ours
    page.evaluate(
        """() => {
          window.ran = false;
          const app = document.querySelector('[data-test-script-state]');
          const look = () => { window.ran ||= app.dataset.testScriptState === 'running'; };
          window.watcher?.disconnect();
          window.watcher = new MutationObserver(look);
          window.watcher.observe(app, { attributes: true });
        }"""
    )
    yield
    with suppress(TimeoutError):  # a very quick run begins and ends between two drawings
        page.wait_for_function("() => window.ran", timeout=3000)
    settle(page)


def run_text(page, text: str) -> None:
    """Type the text over what is there, press Ctrl+Enter, wait for the answer."""
    area = page.get_by_label("Text", exact=True)
    area.fill(text)
    with answered(page):
        area.press("Control+Enter")


def pick(page, name: str) -> None:
    """Press one of the buttons of the toolbar, or an example."""
    with answered(page):
        page.get_by_role("radio", name=name, exact=True).click()


def pick_token(page, place: int) -> None:
    """Click the token at `place`."""
    with answered(page):
        token(page, place).click()


def grid(page, title: str):
    """The grid whose heading contains `title`."""
    return page.locator(GRID).filter(has=page.locator("h3", has_text=title))


def cell(figure, row: int, column: int) -> dict:
    """Where the middle of a cell is, counted from the grid's corner; row -1 is the head."""
    data = figure.evaluate("e => ({...e.dataset})")
    high, wide = float(data["rowHeight"]), float(data["cell"])
    head = float(data["head"])
    y = head + (row + 0.5) * high if row >= 0 else head / 2
    return {"x": float(data["gutter"]) + (column + 0.5) * wide, "y": y}


def click_cell(page, figure, row: int, column: int) -> None:
    with answered(page):
        figure.locator(".view").click(position=cell(figure, row, column))


def shown_text(page) -> str:
    """The text as the strip shows it: line signs and special tokens left out."""
    read = """e => [...e.children].map(line => [...line.children]
      .filter(s => !s.classList.contains('mark')).map(s => s.textContent).join('')).join('')"""
    text = page.locator(".strip").evaluate(read)
    return text.replace("↵", "\n").replace("·", " ")


def legend(page) -> list[tuple[int, str]]:
    """(expert, share) of each chip under the text."""
    read = "es => es.map(e => [+e.dataset.expert, e.lastChild.textContent])"
    return [tuple(chip) for chip in page.locator(".chip").evaluate_all(read)]


def plot(page, title: str):
    """The card of bars or curves whose heading contains `title`."""
    return page.locator(".root[data-plot]").filter(has=page.locator("h3", has_text=title))


def rows(figure) -> list[list[str]]:
    """The numbers of a figure, from its table."""
    if not figure.locator(".sheet").count():
        figure.get_by_text("As a table").click()
    figure.locator(".sheet").wait_for()
    return [line.split("\t") for line in figure.locator(".sheet tbody tr").all_inner_texts()]


def says(page, words: str) -> None:
    """Checks that one of the findings begins or goes on like this."""
    expect(page.locator("h4").filter(has_text=words)).to_have_count(1)


def linked(page, words: str) -> None:
    """Waits for the address to say so."""
    page.wait_for_url(lambda url: words in url)
