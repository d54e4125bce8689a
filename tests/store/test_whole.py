"""A file is there whole, or as it was before: whatever stops the writing."""

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from moeviz.store.whole import WriteError, whole_file, whole_folder, write_whole

ROOT = Path(__file__).parent.parent.parent


def names(folder) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_file_holds_what_was_written_and_everybody_can_read_it(tmp_path):
    path = write_whole(tmp_path / "a.txt", "é")
    assert path.read_bytes() == "é".encode()
    assert path.stat().st_mode & 0o777 == 0o644
    write_whole(path, b"other")
    assert path.read_bytes() == b"other"
    assert names(tmp_path) == ["a.txt"]


def test_an_error_while_writing_leaves_the_former_file_and_nothing_else(tmp_path):
    path = write_whole(tmp_path / "a.txt", "before")
    with pytest.raises(ZeroDivisionError), whole_file(path) as draft:
        draft.write_text("half")
        _ = 1 / 0
    assert path.read_text() == "before"
    assert names(tmp_path) == ["a.txt"]


def test_a_folder_that_is_not_there(tmp_path):
    with pytest.raises(WriteError) as caught:
        write_whole(tmp_path / "nowhere" / "a.txt", "x")
    assert str(caught.value) == (
        f"Cannot write {tmp_path}/nowhere/a.txt: No such file or directory."
    )


def run(code: str, folder) -> subprocess.CompletedProcess:
    return subprocess.run(
        [sys.executable, "-c", code, str(folder)], capture_output=True, text=True, cwd=ROOT
    )


FULL = """
import resource, signal, sys
from pathlib import Path
from moeviz.store.whole import WriteError, write_whole
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))  # no file may grow beyond this
try:
    write_whole(Path(sys.argv[1]) / "a.txt", "x" * 5000)
except WriteError as error:
    print(error)
"""


def test_a_disk_without_room(tmp_path):
    write_whole(tmp_path / "a.txt", "before")
    assert run(FULL, tmp_path).stdout == f"Cannot write {tmp_path}/a.txt: File too large.\n"
    assert (tmp_path / "a.txt").read_text() == "before"
    assert names(tmp_path) == ["a.txt"]


KILLED = """
import os, signal, sys
from pathlib import Path
from moeviz.store.whole import whole_file, whole_folder
with whole_file(Path(sys.argv[1]) / "a.txt") as draft, whole_folder(Path(sys.argv[1]) / "b") as new:
    draft.write_text("half")
    (new / "part").write_text("half")
    os.kill(os.getpid(), signal.SIGKILL)
"""


def test_a_process_that_is_killed_while_it_writes(tmp_path):
    write_whole(tmp_path / "a.txt", "before")
    (tmp_path / "b").mkdir()
    write_whole(tmp_path / "b" / "part", "before")
    assert run(KILLED, tmp_path).returncode == -signal.SIGKILL
    assert (tmp_path / "a.txt").read_text() == "before"
    assert (tmp_path / "b" / "part").read_text() == "before"
    with whole_folder(tmp_path / "b") as fresh:  # what was left behind is in nobody's way
        write_whole(fresh / "part", "after")
    assert (tmp_path / "b" / "part").read_text() == "after"
    assert not (tmp_path / "b.new").exists() and not (tmp_path / "b.old").exists()
