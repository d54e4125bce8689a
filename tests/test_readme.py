"""What the README promises can be typed as it stands."""

import re
from pathlib import Path

import numpy as np

import moeviz
from moeviz.cli import _parser

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()


def test_the_python_example_runs(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (example,) = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    names = {}
    exec(example, names)
    trace = names["trace"]
    assert trace.shape == (6, len(trace.tokens), 16, 2)
    assert moeviz.open_trace(tmp_path / "a.moetrace").key == trace.key
    assert np.isfinite(moeviz.overflow(trace, names["rule"]).rate).all()


def test_every_command_it_shows_is_understood():
    shown = re.findall(r"^    moeviz (.*?)(?:\s+#.*)?$", README, re.MULTILINE)
    assert len(shown) >= 4
    for line in shown:
        words = [word.strip('"') for word in re.findall(r'"[^"]*"|\S+', line)]
        assert callable(_parser().parse_args(words).run)


def test_continuous_integration_runs_the_readmes_test_command():
    assert "\n    bash tests/run.sh\n" in README
    assert (ROOT / ".ci" / "run").read_text().splitlines()[-1] == "exec bash tests/run.sh"


def test_its_start_command_installs_what_the_app_needs():
    (command,) = re.findall(
        r"^    (python3 -m venv .*streamlit run app\.py)$", README, re.MULTILINE
    )
    assert "-r requirements.txt" in command
    assert (ROOT / "app.py").exists()
