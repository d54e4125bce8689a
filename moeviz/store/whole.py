"""Files written whole or not at all: a cut, a crash or a full disk leaves what was there before."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from moeviz.trace import MoevizError


class WriteError(MoevizError):
    """A file could not be written; the sentence says which and why."""


@contextmanager
def whole_file(path: str | Path) -> Iterator[Path]:
    """A draft beside `path` to write to, moved there when the block ends well, else deleted.

    Raises WriteError in the place of OSError, such as a full disk.
    """
    path = Path(path)
    try:
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
        os.close(handle)
        draft = Path(name)
        try:
            yield draft
            _settle(draft)
            os.replace(draft, path)
        finally:
            draft.unlink(missing_ok=True)
    except OSError as error:
        raise WriteError(f"Cannot write {path}: {error.strerror or error}.") from error


def write_whole(path: str | Path, data: bytes | str) -> Path:
    """Path of the file that now holds `data`, text as UTF-8."""
    with whole_file(path) as draft:
        draft.write_bytes(data.encode() if isinstance(data, str) else data)
    return Path(path)


@contextmanager
def whole_folder(folder: Path) -> Iterator[Path]:
    """An empty folder to fill, which takes the place of `folder` when the block ends well.

    A cut while it is filled leaves `folder` as it was; one between the two moves leaves it whole
    under its name with ".old".
    """
    fresh, old = folder.with_name(folder.name + ".new"), folder.with_name(folder.name + ".old")
    shutil.rmtree(fresh, ignore_errors=True)
    try:
        fresh.mkdir(parents=True)
        yield fresh
        if folder.exists():
            shutil.rmtree(old, ignore_errors=True)
            folder.rename(old)
        fresh.rename(folder)
        shutil.rmtree(old, ignore_errors=True)
    except OSError as error:
        raise WriteError(f"Cannot write {folder}: {error.strerror or error}.") from error
    finally:
        shutil.rmtree(fresh, ignore_errors=True)


def _settle(draft: Path) -> None:
    """Everything is on the disk before the name is, and everybody may read it."""
    with draft.open("rb+") as file:
        os.fsync(file.fileno())
    draft.chmod(0o644)
