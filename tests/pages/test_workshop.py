"""The teacher's page, driven without a browser."""

from pathlib import Path

import pytest
from streamlit.testing.v1 import AppTest

from moeviz.lessons.plan import PLANS

APP = Path(__file__).parent.parent.parent / "app.py"


@pytest.fixture
def page():
    app = AppTest.from_file(APP, default_timeout=120)
    app.switch_page("pages/workshop.py")
    return app


def test_every_step_of_the_plan_is_a_link(page):
    page.run()
    assert not page.exception
    links = [link.proto for link in page.get("page_link")]
    assert [link.label for link in links] == [task.what for task in PLANS[60]]
    assert [link.page for link in links] == [task.page for task in PLANS[60]]  # never ""


def test_large_type_stays_wanted_on_other_pages(page):
    page.run()
    page.toggle(key="presenter").set_value(True).run()
    page.switch_page("pages/learn.py").run()
    assert not page.exception
    page.switch_page("pages/workshop.py").run()
    assert page.toggle(key="presenter").value is True


def test_the_command_says_what_was_chosen(page):
    page.run()
    page.multiselect(key="hide").set_value(["lab", "compare"]).run()
    page.number_input(key="most_characters").set_value(2000).run()
    assert page.code[0].value == "moeviz app --hide lab,compare --max-characters 2000"
