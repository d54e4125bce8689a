"""A hosted server, driven as a stranger would: each refusal, by the page and by its address."""

import os
import sys
from pathlib import Path

import pytest
from reading import read
from streamlit.testing.v1 import AppTest

from moeviz.store.files import trace_bytes
from moeviz.trace import MoevizError
from moeviz.ui import facts
from moeviz.ui.hosted import guests
from moeviz.ui.shelf import shelf

APP = Path(__file__).parent.parent.parent / "app.py"
ELSEWHERE = "http://192.0.2.1:8000"
WATCHED = ("open", "os.listdir", "os.scandir", "socket.connect", "socket.getaddrinfo")
touched: list[str] = []
watching = False


def watch(event, arguments):
    if watching and event in WATCHED:
        touched.append(f"{event} {arguments[0]!r} {arguments[1:2]!r}")


sys.addaudithook(watch)  # Python has no way to take one away again


@pytest.fixture
def untouched(folder, monkeypatch):
    """Fails a test after which anything in `folder`, or any address, was looked at."""
    global watching
    look = os.stat

    def stat(path, *arguments, **options):
        touched.append(f"stat {path!r}")
        return look(path, *arguments, **options)

    monkeypatch.setattr(os, "stat", stat)
    touched.clear()
    watching = True
    yield
    watching = False
    wrong = [what for what in touched if str(folder) in what or "192.0.2" in what]
    assert not wrong


@pytest.fixture
def page(hosted):
    return AppTest.from_file(APP, default_timeout=120)


def said(elements) -> list[str]:
    return [read([e.value]) for e in elements]


def press(page, label: str):
    return next(b for b in page.button if b.label.replace("\\", "") == label).click().run()


def refused(name: str) -> str:
    return f"This link was made with the model {name}, which this server does not offer."


def test_the_watch_sees_what_is_looked_at(folder, untouched):
    Path(folder, "config.json").is_file()
    Path(folder, "config.json").read_bytes()
    assert [what.split()[0] for what in touched if str(folder) in what] == ["stat", "open"]
    touched.clear()


def test_the_page_offers_what_the_operator_named(page, hosted):
    hosted.setenv("MOEVIZ_ALLOW", "org/name")
    page.run()
    assert not page.exception
    assert page.radio(key="picked_model").options == ["demo", "org/name"]
    assert not [field for field in page.text_input if field.key == "model_field"]
    labels = [button.label for button in page.button]
    assert "Load" not in labels
    assert not [label for label in labels if label.startswith("Unload")]
    captions = said(page.caption)
    assert "This server offers these models and no others." in captions
    assert (
        "This server takes texts of up to 20,000 characters, of which 2,048 tokens are read."
        in captions
    )


@pytest.mark.parametrize("place", ["explore", "capacity", "lab", "what-if", "contrast", "generate"])
def test_a_link_to_a_folder_is_refused_and_the_folder_never_touched(page, folder, place, untouched):
    page.switch_page(f"pages/{place}.py")
    page.query_params["model"] = folder
    page.run()
    assert not page.exception
    assert page.session_state["asked_model"] == "demo"
    assert "Load it" not in [button.label for button in page.button]
    if place == "explore":
        assert refused(folder) in said(page.info)


@pytest.mark.parametrize("where", ["org/foreign", ELSEWHERE, f"{ELSEWHERE}#/etc/passwd", "folder"])
def test_a_link_to_compare_with_another_model_is_refused(page, folder, where, untouched):
    name = folder if where == "folder" else where
    page.switch_page("pages/compare.py")
    for parameter, value in (("against", "model"), ("bmodel", name), ("model", name)):
        page.query_params[parameter] = value
    page.run()
    assert not page.exception
    assert said(page.error) == [f"{name} is not among the models of this server, which are demo."]
    assert refused(name) in said(page.info)
    assert page.selectbox(key="b_model").options == ["", "demo"]


def test_the_models_page_reads_no_folder(page, folder, untouched):
    page.switch_page("pages/models.py")
    page.query_params["of"] = folder
    page.run()
    assert not page.exception
    assert page.selectbox(key="facts_of").options == ["", "demo"]
    with pytest.raises(MoevizError):
        facts._facts_of_name(folder)


def test_an_opened_trace_brings_no_model_along(page, tiny_trace, folder, untouched):
    from dataclasses import replace

    trace = replace(tiny_trace, source=replace(tiny_trace.source, model=folder))
    page.run()
    key = f"trace_file_{page.session_state['openings']}"
    page.file_uploader(key=key).set_value(("a.moetrace", trace_bytes(trace), "")).run()
    for place in ("explore", "capacity", "what-if"):
        page.switch_page(f"pages/{place}.py").run()
        assert not page.exception, place
    assert folder not in shelf()


def test_texts_and_files_have_limits(page, hosted):
    hosted.setenv("MOEVIZ_MAX_CHARACTERS", "30")
    hosted.setenv("MOEVIZ_MAX_UPLOAD", "1")
    page.run()
    page.text_area(key="text").set_value("x" * 31)
    press(page, "Run")
    assert said(page.error) == ["The text has 31 characters; paste at most 30 at a time."]
    key = f"trace_file_{page.session_state['openings']}"
    page.file_uploader(key=key).set_value(("a.moetrace", bytes(2**20 + 1), "")).run()
    assert "a.moetrace has 1.0 MB; this server takes files up to 1 MB." in said(page.error)


def test_a_text_is_cut_at_the_limit_of_tokens(page, hosted):
    hosted.setenv("MOEVIZ_MAX_TOKENS", "8")
    shelf().drop("demo")
    try:
        page.run()
        page.text_area(key="text").set_value("nine words that nobody read here before this one")
        press(page, "Run")
        assert not page.exception
        assert any("takes at most 8 tokens" in sentence for sentence in said(page.warning))
    finally:
        shelf().drop("demo")


def test_little_is_written_at_a_time(page, hosted):
    hosted.setenv("MOEVIZ_MAX_NEW_TOKENS", "5")
    page.switch_page("pages/generate.py")
    page.query_params["most"] = "2000"
    page.run()
    assert not page.exception
    assert (page.number_input(key="most").max, page.number_input(key="most").value) == (5, 5)
    assert page.number_input(key="most").help == "At most 5 at a time."


def test_a_full_house_says_so_and_opens_when_there_is_a_place(page, hosted):
    hosted.setenv("MOEVIZ_SESSIONS", "1")
    guests.clear()
    assert guests().let_in("somebody else", 1)
    page.run()
    assert not page.exception
    assert said(page.title) == ["All places are taken"]
    assert "This server takes 1 visitor at a time." in page.markdown[0].value
    assert not page.text_area
    guests.clear()
    page.run()
    assert page.text_area
