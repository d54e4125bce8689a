"""A workshop's plan fills its time and leads somewhere."""

from pathlib import Path

import pytest

from moeviz.lessons.plan import PLANS, clock
from moeviz.ui.learn import LESSONS

PAGES = Path(__file__).parent.parent.parent / "pages"


@pytest.mark.parametrize("minutes", PLANS)
def test_the_steps_add_up_to_the_length(minutes):
    assert sum(task.minutes for task in PLANS[minutes]) == minutes


def test_the_clock():
    assert clock(PLANS[30])[:3] == ["0:00", "0:04", "0:09"]
    assert clock(PLANS[90])[-1] == "1:26"


def test_every_step_has_a_page_and_its_lesson_exists():
    for tasks in PLANS.values():
        for task in tasks:
            assert (PAGES / f"{task.page}.py").exists()
            if task.page == "learn":
                assert LESSONS[task.link["lesson"]].title in (
                    task.what,
                    task.what.split("? ")[0] + "?",
                )
