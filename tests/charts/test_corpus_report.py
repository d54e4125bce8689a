"""The report of a corpus run: whole, closed to the outside, and every word from outside escaped."""

import re
from html.parser import HTMLParser

import numpy as np
import pytest
from handmade import make_routing

from moeviz.charts.corpus_report import report_html
from moeviz.corpora.corpus import Source
from moeviz.corpora.published import published_corpus
from moeviz.metrics.findings import findings

EVIL = '<script>alert("x")</script>'


@pytest.fixture(scope="module")
def page():
    rng = np.random.default_rng(0)
    topics = np.repeat([EVIL, "code"], 40)
    taste = {EVIL: [0.7, 0.1, 0.1, 0.1], "code": [0.1, 0.1, 0.1, 0.7]}
    counts = [[rng.multinomial(70, taste[topic])] * 2 for topic in topics]
    source = Source("s", EVIL, "o", "CC0-1.0", "by <me>")
    routing = make_routing(counts, {"topic": topics}, sources=(source,), notes=(EVIL,))
    return report_html(findings(routing, draws=39), title=EVIL)


def test_nothing_from_outside_becomes_markup(page):
    assert "<script" not in page
    assert page.count("&lt;script&gt;alert(&quot;x&quot;)&lt;/script&gt;") >= 5
    assert "by &lt;me&gt;" in page


def test_the_page_needs_nothing_from_anywhere(page):
    assert not re.search(r"(src|href)=|url\(|@import", page)
    assert "default-src 'none'" in page


def test_every_tag_is_closed(page):
    open_tags = []

    class Reader(HTMLParser):
        def handle_starttag(self, tag, attrs):
            if tag not in ("meta", "br"):
                open_tags.append(tag)

        def handle_startendtag(self, tag, attrs):
            pass

        def handle_endtag(self, tag):
            assert open_tags.pop() == tag

    Reader().feed(page)
    assert open_tags == []


def test_every_figure_says_how_to_read_it_and_what_chance_gives(page):
    figures = re.findall(r"<figure>.*?</figure>", page)
    assert len(figures) == 4  # divergence, grid, specialists, recall
    assert all("chance" in figure for figure in figures)
    assert "39 times the labels were dealt anew over whole families." in figures[0]
    assert 'class="band"' in figures[0]
    assert "pale cells do not rise above chance" in figures[1]


def test_cells_hold_the_shares_and_grey_what_is_chance(page):
    grid = re.search(r'<table class="grid">.*?</table>', page).group()
    cells = re.findall(r'<td class="(\w+)"[^>]*>(\d+)</td>', grid)
    assert len(cells) == 8
    for kind, percent in cells:
        assert (kind == "faint") == (int(percent) < 50)


def test_both_themes_have_colours(page):
    assert "prefers-color-scheme:dark" in page
    assert page.count("--paper:") == 2


def test_published_counts_say_what_they_lack():
    page = report_html(findings(published_corpus("olmoe")))
    assert "no chance band can be drawn" in page
    assert "What could not be computed" in page
    assert "Muennighoff et al. 2024 (arXiv:2409.02060)" in page
    assert 'class="faint"' not in page
