"""What a notebook shows of a trace: its text as text, its own numbers, and nothing from outside."""

import re
from html.parser import HTMLParser

import numpy as np
from handmade import make_trace

from moeviz.charts import palette
from moeviz.charts.notebook import MOST_UNITS
from moeviz.trace import Provenance

HOSTILE = "<b>$x$</b>&\"'"


class Reader(HTMLParser):
    """Tags and text of a piece of HTML, and the tokens with their title and colour."""

    def __init__(self, html: str):
        super().__init__()
        self.tags, self.words, self.tokens, self.paths = [], [], [], []
        self.inside = None
        self.feed(html)

    def handle_starttag(self, tag, attrs):
        facts = dict(attrs)
        self.tags.append(tag)
        if tag == "path":
            self.paths.append((facts["fill"], re.findall(r"M(\d+) (\d+)", facts["d"])))
        self.inside = [facts["title"], facts["style"], ""] if "title" in facts else None

    def handle_endtag(self, tag):
        if self.inside:
            self.tokens.append(self.inside)
        self.inside = None

    def handle_data(self, data):
        self.words.append(data)
        if self.inside:
            self.inside[2] += data


def hostile_trace(**rest):
    experts = [[[t % 4, (t + 1) % 4] for t in range(len(HOSTILE))]] * 3
    return make_trace(experts, text=HOSTILE, **rest)


def test_text_stays_text():
    page = Reader(hostile_trace()._repr_html_())
    assert "".join(text for _, _, text in page.tokens) == HOSTILE
    assert set(page.tags) <= {"div", "span", "b", "p", "svg", "title", "path", "text"}
    assert page.tags.count("b") == 1  # the model's name
    assert "mathjax_ignore" in hostile_trace()._repr_html_()  # or $x$ would become a formula


def test_a_models_name_is_text_too():
    trace = hostile_trace()
    object.__setattr__(trace, "source", Provenance("<img src=x>", notes=("<i>note</i>",)))
    html = trace._repr_html_()
    assert "&lt;img src=x&gt;" in html
    assert "&lt;i&gt;note&lt;/i&gt;" in html


def test_a_token_has_the_colour_of_its_first_expert_and_tells_its_gates():
    page = Reader(hostile_trace()._repr_html_())
    title, style, _ = page.tokens[2]
    assert title == "token 3, id 2: expert 2 (gate 0.500), 3 (gate 0.500)"
    assert f"background:{palette.experts().light[2]};" in style


def test_every_cell_of_the_grid_is_coloured_by_its_load():
    trace = make_trace([[[0, 1]] * 4, [[2, 3]] * 4, [[0, 2]] * 4])
    page = Reader(trace._repr_html_())
    cells = {(int(y), int(x)): fill for fill, spots in page.paths for x, y in spots}
    assert len(cells) == 3 * 4
    wide, high = 14, 14
    scale = palette.diverging().light
    busy, idle = scale[round(0.75 * 63)], scale[0]  # twice the even share, and nothing at all
    taken = {0: {0, 1}, 1: {2, 3}, 2: {0, 2}}
    for row, experts in taken.items():
        for expert in range(4):
            fill = cells[row * high, expert * wide]
            assert fill == (busy if expert in experts else idle)


def test_lines_white_space_and_control_codes_are_seen():
    trace = make_trace([[[0, 1]] * 4], text="a\n\t\x00")
    html = trace._repr_html_()
    assert "a</span>" in html
    assert "↵</span></div><div" in html
    assert "⇥</span>" in html
    assert "␀</span>" in html


def test_it_asks_for_nothing_and_stays_small():
    text = "word " * 2000
    experts = np.zeros((2, len(text), 1), int)
    html = make_trace(experts, text=text, number=64)._repr_html_()
    assert not re.search(r"https?:|src=|url\(|<script|<style|<link", html)
    assert f"… and {len(text) - MOST_UNITS:,} more pieces of text." in html
    assert len(html) < 600_000
