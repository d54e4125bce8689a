"""The demo model's routing of the first example text, stored, so that a lesson needs no model."""

from __future__ import annotations

from functools import cache
from pathlib import Path

from moeviz.store.files import open_trace
from moeviz.trace import RoutingTrace

PATH = Path(__file__).parent / "first_text.safetensors"


@cache
def lesson_trace() -> RoutingTrace:
    """What the demo model did with the app's first text; a test traces it again."""
    return open_trace(PATH)
