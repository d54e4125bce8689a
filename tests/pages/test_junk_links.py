"""Every parameter of every page's address at once, each filled with junk: the page goes on."""

from pathlib import Path

import pytest
from junk import NAMES, NUMBERS, STRANGE
from streamlit.testing.v1 import AppTest

APP = Path(__file__).parent.parent.parent / "app.py"
PAGES = sorted(path.stem for path in (APP.parent / "pages").glob("*.py"))
RULES = ["mute 0:999999", "k=0", "swap 0:1>1", "capacity vmoe 1e-9", "steer 0:+1,-1", ";;;"]
JUNK = [*NUMBERS, *(text for text in STRANGE if "\ud800" not in text)]  # an address holds no halves
FIRST = {"data": "own", "section": "experts", "lesson": "glossary", "against": "generated"}
"""What a way into a page needs, so that the rest is looked at."""


def fill(page, turn: int) -> None:
    for place, name in enumerate(NAMES):
        page.query_params[name] = JUNK[(7 * place + turn) % len(JUNK)][:2000]
    page.query_params["rule"] = RULES[turn % len(RULES)]
    if turn % 2:
        for name, value in FIRST.items():
            page.query_params[name] = value


MANY = [pytest.param(turn, marks=pytest.mark.slow) for turn in range(2, 40)]


@pytest.mark.parametrize("turn", [0, 1, *MANY])
@pytest.mark.parametrize("place", PAGES)
def test_junk_in_an_address(place, turn):
    page = AppTest.from_file(APP, default_timeout=300)
    page.switch_page(f"pages/{place}.py")
    fill(page, turn)
    page.run()
    assert not page.exception
    assert page.main.children
    for trouble in page.error:
        assert "Traceback" not in trouble.value


def test_all_parameters_are_known():
    assert {"model", "text", "rule", "of", "lesson", "term", "factor", "algorithms", "bmodel",
            "prompt", "set_a", "section", "ask"} <= set(NAMES)  # fmt: skip
