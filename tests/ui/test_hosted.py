"""What strangers may do on a hosted server: the rules themselves, without a page."""

from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from moeviz import cli
from moeviz.corpora.read import table_corpus
from moeviz.models import load_model, trace_text
from moeviz.trace import MoevizError
from moeviz.ui import draft, house, session
from moeviz.ui.hosted import Guests, check_model, check_upload, text_limits, within_limits


@pytest.mark.parametrize("value", ["", "0", " "])
def test_nothing_is_forbidden_unless_asked_for(monkeypatch, value):
    monkeypatch.setenv("MOEVIZ_HOSTED", value)
    assert not house.hosted()
    assert house.offered_models() is None
    check_model("/any/folder")
    assert (house.most_tokens(), house.most_sessions(), text_limits()) == (0, 0, "")


def test_only_models_that_the_operator_named_are_there(hosted):
    assert house.offered_models() == ("demo",)
    hosted.setenv("MOEVIZ_ALLOW", "demo, org/name")
    hosted.setenv("MOEVIZ_MODEL", "org/first")
    check_model("org/name")
    for name in ("/etc", "org/other", "org/name/", "ORG/name", "org/name@float16", "http://a#x"):
        with pytest.raises(MoevizError) as error:
            check_model(name)
        assert str(error.value) == (
            f"{name} is not among the models of this server, which are org/first, demo, org/name."
        )


def test_a_hosted_server_asks_no_other_server_unless_named(hosted):
    assert house.servers() == frozenset()
    hosted.setenv("MOEVIZ_ALLOW", "http://gpu:8000/v1#org/name")
    hosted.setenv("MOEVIZ_SERVERS", "none")
    assert house.servers() == {"http://gpu:8000"}
    check_model("http://gpu:8000/v1#org/name")
    with pytest.raises(MoevizError):
        check_model("http://gpu:8000/v1#/etc/passwd")


def test_limits_are_smaller_from_the_start_and_can_be_set(hosted):
    assert house.longest_text() == 20_000
    assert text_limits() == (
        "This server takes texts of up to 20,000 characters, of which 2,048 tokens are read."
    )
    assert (house.most_new_tokens(2000), house.most_new_tokens(60)) == (200, 60)
    assert draft.from_link({"most": "2000"}).most == 60
    assert draft.from_link({"most": "200"}).most == 200
    hosted.setenv("MOEVIZ_MAX_NEW_TOKENS", "9" * 99)
    assert house.most_new_tokens(2000) == 2000
    hosted.setenv("MOEVIZ_MAX_NEW_TOKENS", "50")
    assert draft.from_link({}).most == 50
    with pytest.raises(MoevizError) as error:
        session.check_new_tokens(51)
    assert str(error.value) == "This server writes at most 50 tokens at a time, not 51."


def test_a_file_has_a_size(hosted):
    file = SimpleNamespace(name="a.csv", size=10 * 2**20)
    check_upload(file, 100)
    file.size += 2**20
    with pytest.raises(MoevizError) as error:
        check_upload(file, 100)
    assert str(error.value) == "a.csv has 11.0 MB; this server takes files up to 10 MB."
    assert house.most_megabytes(100) == cli.HOSTED_UPLOAD


def test_a_file_has_rows(hosted):
    corpus = table_corpus(pd.DataFrame({"text": ["a"] * 1001}), "a.csv", most=house.most_rows(20))
    assert len(corpus) == 20
    assert corpus.notes == ("a.csv has more than 20 rows; the first 20 were read.",)


def test_no_more_tokens_are_read_than_the_limit(hosted, folder):
    hosted.setenv("MOEVIZ_MAX_TOKENS", "5")
    model = load_model(folder)
    short = within_limits(model)
    trace = trace_text(short, "one two three four five six seven", truncate=True)
    whole = trace_text(model, "one two three four five six seven")
    assert len(trace.tokens) == 5 < len(whole.tokens)
    assert np.array_equal(trace.experts, whole.experts[:, :5])
    assert "takes at most 5 tokens" in trace.source.notes[0]
    assert within_limits(short) is short


def test_places_are_given_and_freed():
    here = {"a", "b", "c"}
    guests = Guests(here.__contains__)
    assert [guests.let_in(who, 2) for who in "abca"] == [True, True, False, True]
    here.remove("a")
    assert guests.let_in("c", 2)
    assert not guests.let_in("a", 2)
