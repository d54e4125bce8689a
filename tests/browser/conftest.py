"""One running app and one Chromium for all browser tests; a fresh visitor for each."""

import os
from pathlib import Path

import pytest
from playwright.sync_api import expect

import moeviz
from moeviz.bench import screen

ROOT = Path(__file__).parent.parent.parent
OUTPUT = ROOT / "tests" / "output"
MODEL = os.environ.get("MOEVIZ_MODEL", "demo")
HARMLESS = ("/_stcore/health", "/_stcore/host-config", "favicon", "downloadable font")
"""Console complaints of Streamlit itself on a deep link."""

expect.set_options(timeout=30_000)  # a busy machine paints late, and late is not wrong


@pytest.hookimpl(tryfirst=True)  # before xdist reads the groups
def pytest_collection_modifyitems(items):
    """Every test here needs the browser, and they share one server, hence one worker."""
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.browser)
            item.add_marker(pytest.mark.xdist_group("browser"))


@pytest.fixture(scope="session")
def app_url(request):
    """Address of the running app."""
    if "PYTEST_XDIST_WORKER" in os.environ:
        ours = [item for item in request.session.items if item.get_closest_marker("browser")]
        assert all(item.nodeid.endswith("@browser") for item in ours), "spread over the workers"
    OUTPUT.mkdir(exist_ok=True)
    with screen.running_app(OUTPUT / "server.log") as url:
        yield url


@pytest.fixture(scope="session")
def chromium():
    with screen.chromium() as browser:
        yield browser


@pytest.fixture
def visitor(chromium):
    """Makes fresh visitors: visitor(width=..., color_scheme=...) is a page of its own browser
    profile. A console error on any of their pages fails the test.
    """
    contexts, complaints = [], []

    def hear(message) -> None:
        if message.type == "error":
            complaints.append(f"{message.text} {message.location.get('url', '')}")

    def new(width: int = 1280, height: int = 900, **options):
        context = chromium.new_context(viewport={"width": width, "height": height}, **options)
        context.set_default_timeout(30_000)
        page = context.new_page()
        page.on("console", hear)
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
