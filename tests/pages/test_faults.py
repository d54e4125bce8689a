"""When the model fails, runs out of memory or is busy, the page says so and loses nothing."""

import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest
import torch
from streamlit.testing.v1 import AppTest

from moeviz.ui import session

APP = Path(__file__).parent.parent.parent / "app.py"


@pytest.fixture
def page():
    return AppTest.from_file(APP, default_timeout=120).run()


def paste(page, text: str):
    page.text_area(key="text").set_value(text)
    return next(b for b in page.button if b.label == "Run").click().run()


def errors(page) -> list[str]:
    return [e.value.replace("\\", "") for e in page.error]


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (RuntimeError("the device went away"), "demo failed while it ran: the device went away"),
        (torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB."), "2.1 GB"),
    ],
)
def test_a_model_that_fails_leaves_the_former_view_in_place(page, error, said):
    paste(page, "What was there before.")
    before = page.session_state["shown"], page.session_state["facts"]

    def fail(module, args):
        raise error

    handle = session.loaded("demo").network.register_forward_pre_hook(fail)
    try:
        paste(page, f"A text that nobody has read: {said}")
        assert len(errors(page)) == 1 and said in errors(page)[0]
        assert (page.session_state["shown"], page.session_state["facts"]) == before
        assert page.get("bidi_component"), "the former pictures are there"
        page.run()
        assert not page.exception
    finally:
        handle.remove()
    paste(page, "A text that can be read again.")
    assert not page.error
    assert page.session_state["shown"][1] == "A text that can be read again."


def test_a_page_waits_for_its_turn_and_then_shows_the_text(page):
    turns, there, free = session.loaded("demo").lock, threading.Event(), threading.Event()

    def hold():
        with turns:
            there.set()
            free.wait(60)

    def let_go():
        while not turns.waiting and not free.wait(0.01):
            pass
        free.set()

    threads = [threading.Thread(target=work) for work in (hold, let_go)]
    threads[0].start()
    there.wait(60)
    threads[1].start()
    paste(page, "A text that has to wait.")
    free.set()
    for thread in threads:
        thread.join(60)
    assert not page.error and not page.exception
    assert page.session_state["shown"][1] == "A text that has to wait."


NO_NETWORK = """
import sys
from pathlib import Path
from streamlit.testing.v1 import AppTest

page = AppTest.from_file(Path("app.py").resolve(), default_timeout=120).run()
page.text_area(key="text").set_value("What was there before.")
next(b for b in page.button if b.label == "Run").click().run()
before = page.session_state["shown"]
page.text_input(key="model_field").set_value("someone/a-model-elsewhere")
next(b for b in page.button if b.label == "Load").click().run()
assert not page.exception, page.exception
assert len(page.error) == 1
print(page.error[0].value.replace("\\\\", ""))
assert page.session_state["shown"] == before
assert len(page.get("bidi_component")) > 4, "the former pictures are there"
page.text_input(key="model_field").set_value("").run()
page.text_area(key="text").set_value("What comes after.")
next(b for b in page.button if b.label == "Run").click().run()
assert not page.exception and not page.error
assert page.session_state["shown"] == (before[0], "What comes after.", *before[2:])
"""


def test_a_model_from_the_hub_without_a_network_is_one_sentence(tmp_path):
    """Nobody listens where the hub should be; the page stays as it was."""
    online = {name: value for name, value in os.environ.items() if name != "HF_HUB_OFFLINE"}
    away = {"HF_ENDPOINT": "http://127.0.0.1:9", "HF_HOME": str(tmp_path)}
    done = subprocess.run([sys.executable, "-c", NO_NETWORK], capture_output=True, text=True,
                          cwd=APP.parent, env={**online, **away})  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == [
        "someone/a-model-elsewhere is not on this machine and the hub cannot be reached. Check the "
        "network, or use a model you already have, such as demo."
    ]
