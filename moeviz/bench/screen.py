"""How long does a person wait for the app: from the key or click until the answer is painted?

Needs playwright (tests/requirements.txt) and Chromium.
"""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from moeviz.bench.timing import Ratio
from moeviz.trace import MoevizError

HERE = Path(__file__).parent.parent.parent
DEMO = Path(__file__).parent.parent / "demo_model"
FLAGS = ["--no-sandbox", "--disable-gpu"]
STRIP = ".root[data-colour]"
WORDS = "The lighthouse keeper counted the ships before he went to sleep. "

# Selectors that look into shadow roots, for code that runs inside the page.
_FIND = """
window.inShadows ??= (selector) => [...document.querySelectorAll('*')]
  .flatMap((e) => (e.shadowRoot ? [...e.shadowRoot.querySelectorAll(selector)] : []));
"""


STARTS = 3
"""Starts of the app that are timed; each takes seconds."""


def screen_speed(rounds: int = 15, tokens: int = 512, long: int = 4096) -> list[Ratio]:
    """Waiting times on the demo model as a share of the time each may take, in one browser.

    Every paste is a text not seen before, about `tokens` tokens long; clicks are timed on it and
    on a text of about `long` tokens, which the demo model is let read for this.
    """
    with chromium() as browser, patient_demo(long) as model:
        starts = [time_start(browser) for _ in range(STARTS)]
        with running_app(model=model) as url:
            page = browser.new_page(viewport={"width": 1280, "height": 900})
            open_app(page, url)
            text = text_of(tokens)
            time_paste(page, "#" + text)  # the first of a kind warms up
            pastes = paste_times(page, text, rounds)
            short = _clicks(page, tokens, 0.2, rounds)
            time_paste(page, text_of(long))
            return [
                share_of("start of the app to its first picture", starts, 15.0),
                share_of(f"paste of {tokens} tokens to painted", pastes, 1.0),
                *short,
                *_clicks(page, long, 0.4, rounds),
            ]


@contextmanager
def patient_demo(tokens: int) -> Iterator[str]:
    """A folder with the demo model's weights that takes `tokens` tokens: more than it was trained
    on, so for timing only.
    """
    with tempfile.TemporaryDirectory() as folder:
        shutil.copytree(DEMO, folder, dirs_exist_ok=True)
        config = Path(folder) / "config.json"
        words = json.loads(config.read_text("utf-8"))
        config.write_text(json.dumps({**words, "max_position_embeddings": tokens}), "utf-8")
        yield folder


def _clicks(page, tokens: int, allowed: float, rounds: int) -> list[Ratio]:
    """Clicks on tokens and changes of layer; the first of a kind warms up."""
    picks = [time_token(page, 3 + 2 * n) for n in range(rounds + 1)][1:]
    layers = [time_layer(page, str(n % 2)) for n in range(rounds + 2)][2:]
    return [
        share_of(f"click on a token of {tokens} to painted", picks, allowed),
        share_of(f"change of layer at {tokens} tokens to painted", layers, allowed),
    ]


def share_of(what: str, milliseconds: list[float], allowed: float) -> Ratio:
    """Waiting times as a share of the `allowed` seconds."""
    seconds = np.array(milliseconds) / 1000
    low, middle, high = np.quantile(seconds / allowed, (0.25, 0.5, 0.75))
    median = float(np.median(seconds))
    against = f"{1000 * allowed:.0f} ms"
    return Ratio(what, against, middle, low, high, 1.0, median, allowed, len(seconds))


def text_of(tokens: int) -> str:
    """Words that the demo model's tokenizer cuts into about so many tokens."""
    from moeviz.models import load_model  # late: only the benchmark needs the model here

    tokenizer = load_model("demo", device="cpu").tokenizer
    text = WORDS * (tokens // 8)
    ends = tokenizer(text, return_offsets_mapping=True)["offset_mapping"]
    return text[: ends[tokens - 1][1]]


@contextmanager
def running_app(
    log: Path | None = None, model: str = "", python: str = sys.executable, folder: Path = HERE
) -> Iterator[str]:
    """The app on a free port of this machine; yields its address, stops it afterwards.

    model: what a visit starts with, "" for the app's own choice. python, folder: whose MoEViz is
    started, and from where; this one's unless given.
    """
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    log = log or Path(tempfile.mkdtemp()) / "server.log"
    command = [python, "-m", "moeviz", "app", "--port", str(port)]
    own = {"STREAMLIT_SERVER_HEADLESS": "true", "STREAMLIT_SERVER_ADDRESS": "127.0.0.1"}
    with log.open("w") as file:
        server = subprocess.Popen(
            command, cwd=folder, stdout=file, stderr=file,
            env={**os.environ, **own, **({"MOEVIZ_MODEL": model} if model else {})},
        )  # fmt: skip
    try:
        _wait_until_healthy(f"http://127.0.0.1:{port}/_stcore/health", server, log)
        yield f"http://127.0.0.1:{port}"
    finally:
        server.terminate()
        try:
            server.wait(30)
        except subprocess.TimeoutExpired:  # a busy machine
            server.kill()
            server.wait()


def _wait_until_healthy(address: str, server: subprocess.Popen, log: Path) -> None:
    end = time.monotonic() + 120
    while time.monotonic() < end:
        if server.poll() is not None:
            raise MoevizError(f"The app stopped as it started: {log.read_text()}")
        try:
            with urllib.request.urlopen(address, timeout=1) as answer:
                if answer.status == 200:
                    return
        except OSError:
            time.sleep(0.1)
    raise MoevizError("The app did not start within two minutes.")


@contextmanager
def chromium() -> Iterator:
    """A headless Chromium of this machine."""
    from playwright.sync_api import sync_playwright  # late: a tool of tests and benchmarks

    names = ("chromium", "chromium-browser", "google-chrome", "chrome")
    where = next(filter(None, map(shutil.which, names)), None)
    if where is None:
        raise MoevizError("There is no Chromium on this machine; install it to time the screen.")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=where, args=FLAGS)
        yield browser
        browser.close()


_CALM = """async () => {
  const main = document.querySelector('[data-testid=stMain]');
  let height = -1;
  while (height !== main.scrollHeight) {
    height = main.scrollHeight;
    await new Promise(f => setTimeout(f, 150));
  }
}"""


def open_app(page, url: str, query: str = "") -> None:
    """Open the page and wait until everything is drawn and nothing moves any more."""
    _arrive(page, url, query)
    page.evaluate(_CALM)


def _arrive(page, url: str, query: str = "") -> None:
    """Open the page and wait until everything is drawn."""
    page.goto(f"{url}/{query}")
    page.locator(".strip .t").first.wait_for(timeout=180_000)
    settle(page)


def time_start(browser) -> float:
    """Milliseconds from `streamlit run` until a new visitor sees the text and its grids."""
    start = time.perf_counter()
    with running_app() as url:
        page = browser.new_page(viewport={"width": 1280, "height": 900})
        _arrive(page, url)
        took = time.perf_counter() - start
        page.close()
    return 1000 * took


def settle(page) -> None:
    """Wait until the script has run and the browser has drawn."""
    page.wait_for_selector("[data-test-script-state=notRunning]", state="attached")
    page.wait_for_function("() => !document.querySelector('[data-stale=true]')")
    page.evaluate("() => new Promise(f => requestAnimationFrame(() => requestAnimationFrame(f)))")


def token(page, place: int):
    """The first stretch of text of token `place`."""
    return page.locator(f".strip .t[data-token='{place}']").first


def paste_times(page, text: str, repeats: int) -> list[float]:
    """`time_paste` of as many different texts of the same length, so that no cache answers."""
    return [time_paste(page, f"{n % 10}{text[1:]}") for n in range(repeats)]


def time_paste(page, text: str) -> float:
    """Milliseconds from Ctrl+Enter on a pasted text until every figure of the page is painted."""
    area = page.get_by_label("Text", exact=True)
    area.fill(text)
    before = page.locator(STRIP).get_attribute("data-key")
    figures = page.locator(".root[data-key]").count()
    page.evaluate(_FIND)
    page.evaluate(
        """([before, figures]) => {
          window.painted = null;
          document.addEventListener('keydown', () => {
            const start = performance.now();
            const look = () => {
              const keys = inShadows('.root[data-key]').map((r) => r.dataset.key);
              if (keys.length === figures && keys.every((k) => k === keys[0] && k !== before))
                requestAnimationFrame(() => { window.painted = performance.now() - start; });
              else requestAnimationFrame(look);
            };
            requestAnimationFrame(look);
          }, { once: true, capture: true });
        }""",
        [before, figures],
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
