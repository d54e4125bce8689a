"""The package as installed: away from the checkout, with its model, its pages and its look."""

import json
import subprocess
import sys
import sysconfig
import zipfile
from pathlib import Path

import pytest
from playwright.sync_api import expect

from moeviz.bench.screen import running_app, settle

ROOT = Path(__file__).parent.parent.parent
WHOLE_INSTALL = pytest.param(True, marks=pytest.mark.slow)


@pytest.fixture(scope="module")
def wheel(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    build = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation"]
    subprocess.run([*build, "--wheel-dir", str(folder), str(ROOT)], check=True)
    (built,) = folder.glob("*.whl")
    return built


@pytest.fixture(scope="module", params=[False, WHOLE_INSTALL])
def python(request, wheel, tmp_path_factory) -> str:
    """An environment of its own with the wheel in it; what it depends on is this one's, or (slow)
    installed anew.
    """
    folder = tmp_path_factory.mktemp("away")
    subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True)
    own = str(folder / "bin" / "python")
    if not request.param:
        (packages,) = folder.glob("lib/python*/site-packages")
        (packages / "shared.pth").write_text(sysconfig.get_path("purelib") + "\n")
    install = [own, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", str(wheel)]
    subprocess.run(install + ([] if request.param else ["--no-deps"]), check=True)
    return own


def test_the_wheel_holds_what_the_app_needs_and_nothing_of_the_tests(wheel):
    names = zipfile.ZipFile(wheel).namelist()
    pages = {f"moeviz/web/pages/{path.name}" for path in (ROOT / "pages").glob("*.py")}
    wanted = {"moeviz/web/app.py", "moeviz/web/.streamlit/config.toml", *pages}
    wanted |= {"moeviz/demo_model/model.safetensors", "moeviz/demo_model/LICENSES.txt"}
    assert wanted <= set(names)
    assert not [name for name in names if name.startswith(("tests/", "build/", "docs/"))]
    tracked = subprocess.run(
        ["git", "ls-files", "moeviz"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout.split("\n")
    assert {name for name in tracked if name} <= set(names)


def test_the_command_traces_with_the_model_that_came_along(python, tmp_path):
    command = [str(Path(python).parent / "moeviz"), "trace", "--text", "Wo bist du?", "--json"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True)
    told = json.loads(done.stdout)
    assert (told["model"], told["routed_layers"], told["experts"]) == ("demo", 6, 16)
    where = subprocess.run(
        [python, "-c", "import moeviz; print(moeviz.__file__)"],
        cwd=tmp_path, capture_output=True, text=True, check=True,
    ).stdout  # fmt: skip
    assert str(ROOT) not in where


def test_the_app_starts_and_looks_as_in_the_checkout(python, page, tmp_path):
    with running_app(tmp_path / "server.log", python=python, folder=tmp_path) as url:
        page.goto(url)
        expect(page.locator(".strip .t").first).to_be_visible(timeout=90_000)
        settle(page)
        ground = "e => getComputedStyle(e).backgroundColor"
        assert page.locator("[data-testid=stApp]").evaluate(ground) == "rgb(246, 246, 243)"
        page.get_by_role("link", name="Models", exact=True).first.click()
        expect(page.get_by_role("heading", name="How big is a mixture of experts?")).to_be_visible()
        page.close()
