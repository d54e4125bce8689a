"""One running app and one Chromium for all browser tests; a fresh visitor for each."""

import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import pytest
from playwright.sync_api import sync_playwright

import moeviz

ROOT = Path(__file__).parent.parent.parent
OUTPUT = ROOT / "tests" / "output"
MODEL = os.environ.get("MOEVIZ_MODEL", "demo")
FLAGS = ["--no-sandbox", "--disable-gpu"]
HARMLESS = ("/_stcore/health", "/_stcore/host-config", "favicon", "downloadable font")
"""Console complaints of Streamlit itself on a deep link."""


def pytest_collection_modifyitems(items):
    """Every test here needs the browser, and they share one server, hence one worker."""
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.browser)
            item.add_marker(pytest.mark.xdist_group("browser"))


@pytest.fixture(scope="session")
def app_url():
    """Address of the running app."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    OUTPUT.mkdir(exist_ok=True)
    log = (OUTPUT / "server.log").open("w")
    command = [sys.executable, "-m", "streamlit", "run", "app.py", "--server.headless=true",
               f"--server.port={port}", "--server.address=127.0.0.1"]  # fmt: skip
    server = subprocess.Popen(command, cwd=ROOT, stdout=log, stderr=subprocess.STDOUT)
    try:
        _wait_until_healthy(f"http://127.0.0.1:{port}/_stcore/health", server)
        yield f"http://127.0.0.1:{port}"
    finally:
        server.terminate()
        server.wait(10)


def _wait_until_healthy(address: str, server: subprocess.Popen) -> None:
    for _ in range(300):
        assert server.poll() is None, (OUTPUT / "server.log").read_text()
        try:
            with urllib.request.urlopen(address, timeout=1) as answer:
                if answer.status == 200:
                    return
        except OSError:
            time.sleep(0.1)
    raise AssertionError("The app did not start within 30 seconds.")


@pytest.fixture(scope="session")
def chromium():
    where = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("chrome")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=where, args=FLAGS)
        yield browser
        browser.close()


@pytest.fixture
def visitor(chromium):
    """Makes fresh visitors: visitor(width=..., color_scheme=...) is a page of its own browser
    profile. A console error on any of their pages fails the test.
    """
    contexts, complaints = [], []

    def new(width: int = 1280, height: int = 900, **options):
        context = chromium.new_context(viewport={"width": width, "height": height}, **options)
        context.set_default_timeout(30_000)
        page = context.new_page()
        page.on("console", lambda m: complaints.append(m.text) if m.type == "error" else None)
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on("requestfailed", lambda request: complaints.append(request.url))
        contexts.append(context)
        return page

    yield new
    for context in contexts:
        context.close()
    assert [c for c in complaints if not any(word in c for word in HARMLESS)] == []


@pytest.fixture
def page(visitor):
    return visitor()


@pytest.fixture(scope="session")
def model():
    """The app's own model, loaded here too: the independent truth."""
    return moeviz.load_model(MODEL)


@pytest.fixture(scope="session")
def truth(model):
    """The trace of a text, made in this process."""
    return lambda text: moeviz.trace_text(model, text, truncate=True)
