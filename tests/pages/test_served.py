"""A model on a server, asked from the app: who may ask what, and what each page makes of it."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from reading import read
from served import engine, send, serving
from streamlit.testing.v1 import AppTest

import moeviz
from moeviz.serving.wire import KEY
from moeviz.trace import MoevizError
from moeviz.ui import house
from moeviz.ui.picker import SERVER_FIELD
from moeviz.ui.served import WITHOUT_MODEL

ROOT = Path(__file__).parent.parent.parent
APP = ROOT / "app.py"


@pytest.fixture(scope="module")
def model(folder):
    return moeviz.load_model(folder)


@pytest.fixture
def served(model, folder):
    """(address#configuration, what was asked) of a tiny model as vLLM serves it."""
    with serving(engine("vllm", model, "tiny")) as (address, log):
        yield f"{address}#{folder}", log


@pytest.fixture
def page():
    return AppTest.from_file(APP, default_timeout=120)


def enter(page, name: str):
    page.text_input(key="model_field").set_value(name).run()
    return press(page, "Load")


def press(page, label: str):
    return next(b for b in page.button if b.label.replace("\\", "") == label).click().run()


def said(elements) -> list[str]:
    return [read([e.value]) for e in elements]


def run_text(page, text):
    page.text_area(key="text").set_value(text)
    return press(page, "Run")


def test_a_server_is_entered_and_its_routing_shown(page, served):
    name, log = served
    run_text(enter(page.run(), name), "deux experts")
    assert not page.exception
    assert not page.error
    assert page.session_state["shown"] == (name, "deux experts")
    place = name.removeprefix("http://").partition("#")[0]
    assert page.session_state["facts"] == f"tiny on {place} · 3 routed layers · top-2 of 8 experts"
    assert page.query_params["model"] == name
    assert log.requests[-1][3]["prompt"] == "deux experts"
    before = len(log.requests)
    page.run()
    assert len(log.requests) == before, "the same text is asked once"


def test_trouble_with_a_server_leaves_the_former_view(page, served):
    run_text(page.run(), "some words")
    with serving(lambda handler, _: send(handler, 404, b"")) as (other, _):
        enter(page, other)
    assert said(page.error) == [
        f"{other} has nothing at /v1/models (404). Is this the address of a vLLM or SGLang server?"
    ]
    assert page.session_state["shown"] == ("demo", "some words")


def test_a_link_asks_no_server_by_itself(page, served):
    name, log = served
    page.query_params["model"] = name
    page.run()
    assert log.requests == []
    assert f"This link asks the server {name}, which would read your text." in said(page.info)
    press(page, "Ask it")
    assert page.session_state["shown"][0] == name
    assert log.requests


def test_a_link_to_compare_asks_no_server_by_itself(page, served):
    name, log = served
    page.switch_page("pages/compare.py")
    for parameter, value in (("against", "model"), ("bmodel", name)):
        page.query_params[parameter] = value
    page.run()
    assert not page.exception
    assert log.requests == []
    press(page, "Ask it")
    assert not page.exception
    assert log.requests


@pytest.mark.parametrize("others", ["none", "http://other:1"])
def test_the_house_may_forbid_servers(page, served, monkeypatch, others):
    name, log = served
    monkeypatch.setenv("MOEVIZ_SERVERS", others)
    enter(page.run(), name)
    refused = f"{name.partition('#')[0]} is not among the servers that may be asked from here."
    assert said(page.error) == [refused]
    assert (log.requests, page.session_state["shown"][0]) == ([], "demo")
    label = page.text_input(key="model_field").label
    assert label == ("Hub id or local folder" if others == "none" else SERVER_FIELD)


def test_the_house_may_name_the_servers(page, served, monkeypatch):
    name, _ = served
    monkeypatch.setenv("MOEVIZ_SERVERS", f"http://other:1, {name.partition('#')[0]}/v1/")
    enter(page.run(), name)
    assert not page.error
    assert page.session_state["shown"][0] == name


NEAR = [
    "http://a:8000.evil.example", "http://a:80000", "http://a:8000/x", "http://A:8000@evil",
    "http://evil.example/?http://a:8000",
]  # fmt: skip


@pytest.mark.parametrize("near", NEAR)
def test_only_the_very_address_is_allowed(near, monkeypatch):
    monkeypatch.setenv("MOEVIZ_SERVERS", "http://a:8000")
    house.check_server("http://a:8000/")
    house.check_server("http://a:8000/v1")
    with pytest.raises(MoevizError):
        house.check_server(near)
    assert not house.may_have_key(near)


def test_the_key_goes_only_where_the_house_said(page, served, monkeypatch):
    name, log = served
    monkeypatch.setenv(KEY, "hush-4711")
    enter(page.run(), name)
    assert not any("Authorization" in headers for _, _, headers, _ in log.requests)
    monkeypatch.setenv("MOEVIZ_SERVERS", name.partition("#")[0])
    run_text(page, "deux experts encore")
    assert log.requests[-1][2]["Authorization"] == "Bearer hush-4711"


def test_every_page_shows_it_or_says_what_it_lacks(page, served):
    name, _ = served
    lacks = WITHOUT_MODEL.format(name=name)
    enter(page.run(), name)
    for place in ("capacity", "compare", "contrast", "what-if", "lab", "generate"):
        page.switch_page(f"pages/{place}.py").run()
        assert not page.exception, place
        told = said([*page.info, *page.error])
        assert (lacks in told) == (place in ("capacity", "what-if", "generate")), (place, told)
        assert place != "lab" or "router's logits" in told[0]


def test_a_visit_to_a_server_needs_no_torch(served):
    code = """
import json, sys
from streamlit.testing.v1 import AppTest
page = AppTest.from_file("app.py", default_timeout=120).run()
page.switch_page("pages/capacity.py").run()
print(json.dumps([page.session_state["shown"][0], len(page.exception), "torch" in sys.modules]))
"""
    name = served[0]
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=True,
        env={**os.environ, "MOEVIZ_MODEL": name},
    )  # fmt: skip
    assert json.loads(done.stdout.strip().split("\n")[-1]) == [name, 0, False]
