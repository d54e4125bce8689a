"""The words of the field lead to their meaning, where this server has that page."""

from moeviz.lessons.glossary import linked
from moeviz.ui.terms import explained, told_parts

SENTENCE = "Every expert has a capacity."


def test_terms_lead_to_the_glossary(monkeypatch):
    monkeypatch.delenv("MOEVIZ_HIDE", raising=False)
    assert explained(SENTENCE) == linked(SENTENCE)
    assert "term=expert)" in explained(SENTENCE)


def test_without_that_page_words_stay_words(monkeypatch):
    monkeypatch.setenv("MOEVIZ_HIDE", "learn")
    assert explained(SENTENCE) == SENTENCE
    assert told_parts(SENTENCE) == [SENTENCE]
