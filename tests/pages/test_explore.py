"""The Explore page's own logic, driven without a browser, on the demo model."""

import json
import shutil
from pathlib import Path

import pytest
import tiny
from handmade import make_trace
from reading import read
from streamlit.testing.v1 import AppTest

import moeviz
from moeviz.models.doctor import diagnose
from moeviz.ui import ask, session
from moeviz.ui.examples import EXAMPLES, MIXED
from moeviz.ui.markdown import plain
from moeviz.ui.shelf import shelf

APP = Path(__file__).parent.parent.parent / "app.py"


@pytest.fixture(scope="module")
def other(tmp_path_factory) -> str:
    """A second model, in a folder: random, of another kind and size."""
    path = tmp_path_factory.mktemp("models") / "other"
    tiny.olmoe(max_position_embeddings=512).save_pretrained(path)
    tiny.tokenizer().save_pretrained(path)
    return str(path)


@pytest.fixture
def page():
    """The app in this process, with the demo model."""
    return AppTest.from_file(APP, default_timeout=120)


def components(page) -> list[str]:
    return [c.proto.component_name for c in page.get("bidi_component")]


def wire(page) -> dict:
    found = [c for c in page.get("bidi_component") if c.proto.component_name == "moeviz_wire"]
    return json.loads(found[0].proto.json)


def load_model(page, name):
    page.text_input(key="model_field").set_value(name)
    return next(b for b in page.button if b.label == "Load").click().run()


def run_text(page, text):
    page.text_area(key="text").set_value(text)
    return next(b for b in page.button if b.label == "Run").click().run()


def test_the_first_visit_shows_a_traced_example(page):
    page.run()
    assert not page.exception
    assert page.text_area(key="text").value == MIXED
    shown = [*["moeviz_grid"] * 3, "moeviz_handout", "moeviz_list", "moeviz_strip", "moeviz_wire"]
    assert sorted(components(page)) == shown
    assert wire(page)["row"] == 3
    assert not page.error


def test_an_example_is_traced_when_picked(page):
    page.run()
    page.button_group(key="example").set_value("Python").run()
    assert page.text_area(key="text").value == EXAMPLES["Python"]
    assert page.session_state["shown"][1] == EXAMPLES["Python"]


def test_trouble_is_one_sentence_and_the_former_view_stays(page):
    run_text(page.run(), "some words")
    before = components(page)
    for text in ("", "\x00\x01\x02\x03"):
        run_text(page, text)
        assert len(page.error) == 1
        assert components(page) == before
        assert page.session_state["shown"][1] == "some words"
    run_text(page, "more words")
    assert not page.error


def test_an_unknown_model_changes_nothing(page, other):
    page.run()
    page.text_input(key="model_field").set_value("no/such").run()
    load_model(page, "no/such")
    assert [e.value for e in page.error] == [
        plain(
            "no/such is not on this machine and the hub cannot be reached. Check the network, or "
            "use a model you already have, such as demo."
        )
    ]
    assert page.session_state["shown"][0] == session.default_model()
    assert session.default_model() == page.session_state["asked_model"]  # not tried again and again
    load_model(page, other)
    assert not page.error
    assert page.session_state["shown"][0] == other
    assert "3 routed layers · top-2 of 8 experts" in page.session_state["facts"]


def test_a_large_model_is_put_to_the_visitor_first(page, other, monkeypatch, tmp_path):
    large = str(Path(shutil.copytree(other, tmp_path / "large")))
    monkeypatch.setattr(ask, "ASK_FIRST", 1000)
    page.run()
    load_model(page, large)
    assert page.session_state["shown"][0] == session.default_model()
    assert large not in shelf()
    assert len(page.info) == 1
    assert "3 routed layers. Its weights need 0.3 MB in float32" in read([page.info[0].value])
    next(b for b in page.button if b.label == "Load it").click().run()
    assert page.session_state["shown"][0] == large
    assert not page.info


def test_the_model_card_tells_the_router_and_runs_the_proofs(page):
    page.run()
    assert "Top-2 of 16 experts in layers 0 to 5; softmax scores, gates add up to 1." in [
        read([m.value]) for m in page.markdown
    ]
    next(b for b in page.button if b.label == "Run the proofs").click().run()
    shown = [m.value for m in page.markdown if m.value[0] in "✅❌➖"]
    proofs = diagnose("demo").proofs
    assert [line.split("**")[1] for line in shown] == [plain(proof.claim) for proof in proofs]
    assert all(line.startswith("✅") for line in shown)


def test_encoder_and_decoder_are_shown_apart(page, tmp_path):
    tiny.switch().save_pretrained(tmp_path)
    tiny.tokenizer().save_pretrained(tmp_path)
    page.run()
    assert not [c for c in page.button_group if c.key == "stack"]
    load_model(page, str(tmp_path))
    text = "le routeur choisit " * 8
    run_text(page, text)
    assert page.button_group(key="stack").value == "encoder"
    assert "1 routed layer · top-1 of 4 experts" in page.session_state["facts"]
    encoder = session.loaded(str(tmp_path)).routers["encoder"].sites
    page.button_group(key="stack").set_value("decoder").run()
    assert not page.exception
    assert page.button_group(key="stack").value == "decoder"
    expected = moeviz.trace_text(session.loaded(str(tmp_path)), text, stack="decoder")
    assert expected.router.sites != encoder
    assert page.session_state["view_of"] == expected.key
    empty = int((expected.experts < 0).sum())
    assert [read([w.value]) for w in page.warning] == [
        f"The model itself dropped {empty} of {expected.experts.size} assignments: each of its "
        "experts takes at most 3 tokens of a text."
    ]


def test_a_link_restores_everything_that_can_be_chosen(page):
    choices = {"colour": "loss", "cells": "gate", "columns": "layers", "look": "layer",
               "measure": "repeat"}  # fmt: skip
    wanted = {"layer": "5", "expert": "3", "token": "2", "until": "1", **choices}
    for name, value in {**wanted, "text": "abcdef"}.items():
        page.query_params[name] = value
    page.run()
    assert page.session_state["shown"][1] == "abcdef"
    state = wire(page)
    assert (state["row"], state["expert"], state["token"], state["until"]) == (5, 3, 2, 1)
    for name, value in choices.items():
        assert page.button_group(key=name).value == value
    for name, value in wanted.items():
        assert page.query_params[name] == value


def test_nonsense_in_a_link_is_passed_over(page):
    for name in ("layer", "expert", "token", "until", "colour", "cells", "columns", "look"):
        page.query_params[name] = "<nonsense>"
    page.run()
    assert not page.exception
    state = wire(page)
    assert (state["row"], state["expert"], state["token"], state["until"]) == (3, None, 1, None)
    assert page.button_group(key="look").value == "token"


def test_a_link_does_not_load_a_model_by_itself(page, other):
    page.query_params["model"] = other
    page.run()
    assert page.session_state["shown"][0] == session.default_model()
    assert plain(other) in page.info[0].value
    next(b for b in page.button if b.label == "Load it").click().run()
    assert page.session_state["shown"][0] == other


def test_a_long_text_is_known_by_its_digest(page):
    page.run()
    run_text(page, "word " * 400)
    assert page.query_params["long"] == session.digest("word " * 400)
    assert "text" not in page.query_params
    page.query_params["layer"] = "5"
    page.run()  # the same visitor goes back to an older view of the same text
    assert page.session_state["shown"][1] == "word " * 400
    assert wire(page)["row"] == 5


def test_a_strangers_link_to_a_long_text_says_what_is_missing(page):
    page.query_params["long"] = "0123456789ab"
    page.run()
    assert page.session_state["shown"][1] == MIXED
    assert [read([i.value]) for i in page.info] == [
        "This link was made with a text too long for an address. Paste it here to see it."
    ]
    run_text(page, "another text")
    assert not page.info


def test_a_long_text_is_kept_for_a_link_only_when_asked(page):
    long = "a long text kept for a link " * 70
    run_text(page.run(), long)
    stranger = AppTest.from_file(APP, default_timeout=120)
    stranger.query_params["long"] = session.digest(long)
    assert stranger.run().session_state["shown"][1] == MIXED
    next(b for b in page.button if b.label == "Keep the text for a link").click().run()
    assert "The address restores this view for a day, for whoever has it." in [
        read([c.value]) for c in page.caption
    ]
    friend = AppTest.from_file(APP, default_timeout=120)
    friend.query_params["long"] = session.digest(long)
    assert friend.run().session_state["shown"][1] == long
    assert friend.text_area(key="text").value == long
    assert not friend.info


def test_going_back_to_the_plain_address_brings_the_first_text(page):
    run_text(page.run(), "another text")
    page.query_params.clear()
    page.run()
    assert page.session_state["shown"][1] == MIXED
    assert page.text_area(key="text").value == MIXED


def test_the_layer_buttons_move_the_view_and_the_address(page):
    page.run()
    page.button_group(key="layer").set_value("5").run()
    assert wire(page)["row"] == 5
    assert page.query_params["layer"] == "5"
    page.button_group(key="layer").set_value("3").run()
    assert "layer" not in page.query_params


def test_a_new_text_keeps_the_layer_and_starts_at_its_first_token(page):
    page.run()
    page.button_group(key="layer").set_value("5").run()
    run_text(page, "other words")
    state = wire(page)
    assert (state["row"], state["token"], state["expert"]) == (5, 1, None)


def test_a_trace_without_logits_says_what_it_cannot_show(page, monkeypatch):
    bare = make_trace([[[0, 1], [2, 3], [0, 2], [1, 0]]] * 2)  # as read from a file of choices
    monkeypatch.setattr(session, "text_trace", lambda model, text: bare)
    page.run()
    assert not page.exception
    assert page.button_group(key="cells").value == "gate"
    page.button_group(key="cells").set_value("probability").run()
    page.button_group(key="colour").set_value("entropy").run()
    assert len(page.info) == 2
    assert components(page).count("moeviz_grid") == 2


def test_the_panel_shows_what_is_looked_at(page):
    page.run()
    for look, shown in (("expert", "list"), ("layer", "plot"), ("flow", "flow"), ("token", "list")):
        page.button_group(key="look").set_value(look).run()
        assert not page.exception
        assert f"moeviz_{shown}" in components(page)
        assert page.query_params.get("look", "token") == look
    page.button_group(key="columns").set_value("layers").run()
    assert components(page).count("moeviz_grid") == 3


def test_what_one_layer_and_one_choice_cannot_show_is_said(page, monkeypatch):
    lone = make_trace([[[0], [2], [0], [1]]])  # top-1, one routed layer, no logits
    monkeypatch.setattr(session, "text_trace", lambda model, text: lone)
    page.query_params["look"] = "expert"
    page.run()
    assert [
        read([c.value]) for c in page.caption if "no two are chosen together" in read([c.value])
    ] == ["This layer gives every token one expert, so no two are chosen together."]
    page.button_group(key="look").set_value("flow").run()
    assert [read([i.value]) for i in page.info] == [
        "This model routes in one layer only, so there are no ways between layers to draw."
    ]
    page.button_group(key="look").set_value("layer").run()
    page.button_group(key="measure").set_value("doubt").run()
    assert [read([i.value]) for i in page.info] == [
        "This trace holds the chosen experts but not the router's logits, so the router's "
        "entropy is not known."
    ]


def test_a_text_that_is_too_long_is_cut_and_says_so(page, other):
    page.run()
    load_model(page, other)
    run_text(page, "x " * 400)
    assert [read([w.value]) for w in page.warning] == [
        f"The text was cut: {other} takes at most 512 tokens, so only the first 512 of 801 are "
        "shown."
    ]
