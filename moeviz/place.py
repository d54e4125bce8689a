"""Where the app's start page lies: beside the package in a checkout, inside it once installed."""

from __future__ import annotations

from pathlib import Path

from moeviz.trace import MoevizError


def start_page() -> Path:
    """The `app.py` that Streamlit runs. Raises MoevizError when it is missing."""
    package = Path(__file__).parent
    installed = package / "web" / "app.py"  # a wheel has it; see pyproject.toml
    script = installed if installed.exists() else package.parent / "app.py"
    if not script.exists():
        raise MoevizError(
            f"The app's start page {script} is missing. Install MoEViz from a wheel, or run it "
            "from a checkout."
        )
    return script
