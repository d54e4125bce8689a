"""What a person does on the Explore page, and how long it takes until the answer is painted."""

import time
from contextlib import contextmanager, suppress

from playwright.sync_api import TimeoutError

STRIP, GRID = ".root[data-colour]", ".root[data-columns]"

# Selectors that look into shadow roots, for code that runs inside the page.
_FIND = """
window.inShadows ??= (selector) => [...document.querySelectorAll('*')]
  .flatMap((e) => (e.shadowRoot ? [...e.shadowRoot.querySelectorAll(selector)] : []));
"""


def open_app(page, url: str, query: str = "") -> None:
    """Open the page and wait until everything is drawn."""
    page.goto(f"{url}/{query}")
    page.locator(".strip .t").first.wait_for(timeout=60_000)
    settle(page)


def settle(page) -> None:
    """Wait until the script has run and the browser has drawn."""
    page.wait_for_selector("[data-test-script-state=notRunning]", state="attached")
    page.wait_for_function("() => !document.querySelector('[data-stale=true]')")
    page.evaluate("() => new Promise(f => requestAnimationFrame(() => requestAnimationFrame(f)))")


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


def token(page, place: int):
    """The first stretch of text of token `place`."""
    return page.locator(f".strip .t[data-token='{place}']").first


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


def paste_times(page, text: str, repeats: int) -> list[float]:
    """`time_paste` of as many different texts of the same length, so that no cache answers."""
    return [time_paste(page, f"{n % 10}{text[1:]}") for n in range(repeats)]


def time_paste(page, text: str) -> float:
    """Milliseconds from Ctrl+Enter on a pasted text until its strip and grids are painted."""
    area = page.get_by_label("Text", exact=True)
    area.fill(text)
    before = page.locator(STRIP).get_attribute("data-key")
    page.evaluate(_FIND)
    page.evaluate(
        """(before) => {
          window.painted = null;
          document.addEventListener('keydown', () => {
            const start = performance.now();
            const look = () => {
              const keys = inShadows('.root[data-key]').map((r) => r.dataset.key);
              if (keys.length === 4 && keys.every((k) => k === keys[0] && k !== before))
                requestAnimationFrame(() => { window.painted = performance.now() - start; });
              else requestAnimationFrame(look);
            };
            requestAnimationFrame(look);
          }, { once: true, capture: true });
        }""",
        before,
    )
    area.press("Control+Enter")
    took = _read(page)
    settle(page)
    return took


def time_token(page, place: int) -> float:
    """Milliseconds from a click on a token until its journey is painted."""
    return _time_click(page, token(page, place), "fixedToken", str(place))


def time_layer(page, name: str) -> float:
    """Milliseconds from a click on a layer's button until text and grid show that layer."""
    button = page.get_by_role("radio", name=name, exact=True)
    return _time_click(page, button, "layer", name)


def _time_click(page, target, fact: str, value: str) -> float:
    page.evaluate(_FIND)
    page.evaluate(
        """([fact, value]) => {
          window.painted = null;
          const roots = inShadows('.root');
          document.addEventListener('click', () => {
            const start = performance.now();
            const look = () => {
              if (roots.some((r) => r.dataset[fact] === value))
                requestAnimationFrame(() => { window.painted = performance.now() - start; });
              else requestAnimationFrame(look);
            };
            requestAnimationFrame(look);
          }, { once: true, capture: true });
        }""",
        [fact, value],
    )
    target.click()
    took = _read(page)
    settle(page)
    time.sleep(0.05)
    return took


def _read(page) -> float:
    page.wait_for_function("() => window.painted !== null")
    return float(page.evaluate("() => window.painted"))
