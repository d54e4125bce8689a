"""Models that are on this machine already, told without loading any of them, and without torch."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import streamlit as st
from huggingface_hub import CachedRevisionInfo, HfApi, constants, scan_cache_dir
from huggingface_hub import try_to_load_from_cache as cached_file
from huggingface_hub.errors import CacheNotFound, HFValidationError

from moeviz.ui.hosted import may_use
from moeviz.ui.shelf import how, shelf

_WEIGHTS = ("model.safetensors", "model.safetensors.index.json")
"""Files of the hub that a model's weights are in, or are listed in."""


@dataclass(frozen=True)
class Found:
    """A model on this machine: its hub id, and bytes its files take."""

    name: str
    bytes: int


def at_hand(name: str) -> bool:
    """Whether `name` can be loaded with no network: in memory, bundled, a folder, or cached."""
    if not may_use(name):
        return False
    plain = how(name)["name"]
    if name in shelf() or plain == "demo":
        return True
    folder = Path(plain).expanduser() if plain else Path("/nowhere")
    if (folder / "config.json").is_file():
        return True
    try:
        return any(isinstance(cached_file(plain, file), str) for file in _WEIGHTS)
    except HFValidationError:  # not an id of the hub
        return False


@st.cache_data(ttl=60, show_spinner=False)
def cached_models() -> tuple[Found, ...]:
    """Models of the Hugging Face cache that look like a mixture of experts, by name.

    Of a model with safetensors only the configuration is read; the load itself decides.
    """
    try:
        repos = scan_cache_dir(constants.HF_HUB_CACHE).repos
    except (CacheNotFound, ValueError, OSError):  # no cache yet, or none that can be read
        return ()
    found = [
        Found(repo.repo_id, repo.size_on_disk)
        for repo in repos
        if repo.repo_type == "model" and any(_is_routed(r) for r in repo.revisions)
    ]
    return tuple(sorted(found, key=lambda model: model.name.lower()))


def download_size(name: str) -> int | None:
    """Bytes of safetensors that loading `name` would fetch; None where nobody can tell."""
    try:
        info = HfApi().model_info(how(name)["name"], files_metadata=True, timeout=5)
    except Exception:  # whatever a network may do: then the size is just not known
        return None
    sizes = [f.size for f in info.siblings or () if f.rfilename.endswith(".safetensors")]
    return sum(size for size in sizes if size) or None


def disk_size(name: str) -> int | None:
    """Bytes of safetensors of a folder or a cached model; None where there are none."""
    plain = how(name)["name"]
    folder = Path(plain).expanduser()
    if not (folder / "config.json").is_file():
        found = cached_file(plain, "config.json") if plain != "demo" else None
        if not isinstance(found, str):
            return None
        folder = Path(found).parent
    return sum(file.stat().st_size for file in folder.glob("*.safetensors")) or None


def _is_routed(revision: CachedRevisionInfo) -> bool:
    files = {file.file_name: file.file_path for file in revision.files}
    if "config.json" not in files or not any(name.endswith(".safetensors") for name in files):
        return False
    try:
        config = json.loads(files["config.json"].read_text("utf-8"))
    except (OSError, ValueError, RecursionError):
        return False
    return any(count > 1 for count in _expert_counts(config))


def _expert_counts(config: object) -> Iterator[int]:
    """Every whole number that a configuration gives for something with "expert" in its name."""
    if not isinstance(config, dict):
        return
    for name, value in config.items():
        if "expert" in name and isinstance(value, int) and not isinstance(value, bool):
            yield value
        yield from _expert_counts(value)
