"""Models that are on this machine already, told without loading any of them, and without torch."""

from __future__ import annotations

from pathlib import Path

from huggingface_hub import try_to_load_from_cache
from huggingface_hub.errors import HFValidationError

from moeviz.ui.shelf import shelf


def at_hand(name: str) -> bool:
    """Whether `name` can be loaded with no network: in memory, bundled, a folder, or cached."""
    if name in shelf() or name == "demo":
        return True
    folder = Path(name).expanduser() if name else Path("/nowhere")
    if (folder / "config.json").is_file():
        return True
    try:
        return isinstance(try_to_load_from_cache(name, "config.json"), str)
    except HFValidationError:  # not an id of the hub
        return False
