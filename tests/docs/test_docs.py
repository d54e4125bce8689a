"""What the documentation says can be typed, opened and found as it stands."""

import re
import runpy
from pathlib import Path

import pytest

from moeviz.cli import _parser

ROOT = Path(__file__).parent.parent.parent
DOCS = ROOT / "docs"
WRITTEN = sorted([ROOT / "README.md", *DOCS.glob("*.md")])
EXAMPLES = [
    pytest.param(code, id=f"{path.name} {number}")
    for path in WRITTEN
    if path.name not in ("README.md", "python.md")  # the README's has a test of its own
    for number, code in enumerate(re.findall(r"```python\n(.*?)```", path.read_text(), re.DOTALL))
]
PAGES = runpy.run_path(str(DOCS / "references.py"))["PAGES"]


@pytest.mark.parametrize("name", PAGES)
def test_references_are_what_the_code_says_now(name, monkeypatch):
    monkeypatch.setenv("COLUMNS", "96")
    made = PAGES[name]()
    assert (DOCS / name).read_text() == made, "run: python docs/references.py"


@pytest.mark.parametrize("code", EXAMPLES)
def test_an_example_runs(code, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    exec(code, {})


@pytest.mark.parametrize("path", WRITTEN, ids=lambda path: path.name)
def test_every_link_to_a_file_leads_somewhere(path):
    linked = re.findall(r"\]\(([^)#\s]+)(?:#[^)]*)?\)", path.read_text())
    missing = [link for link in linked if "://" not in link and not (path.parent / link).exists()]
    assert not missing


@pytest.mark.parametrize("path", WRITTEN, ids=lambda path: path.name)
def test_every_command_is_understood(path):
    for line in re.findall(r"^    moeviz (.*?)(?:\s+#.*)?$", path.read_text(), re.MULTILINE):
        words = [word.strip('"') for word in re.findall(r'"[^"]*"|\S+', line)]
        assert callable(_parser().parse_args(words).run)


def test_every_page_of_the_app_is_in_the_readme():
    titles = re.findall(r'title="([^"]+)"', (ROOT / "app.py").read_text())
    readme = (ROOT / "README.md").read_text()
    assert [title for title in set(titles) if title not in readme] == []
