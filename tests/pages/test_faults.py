"""When the model fails, runs out of memory or is busy, the page says so and loses nothing."""

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
