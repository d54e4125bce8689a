"""Every lesson runs, asks first, and needs no model."""

import subprocess
import sys
from pathlib import Path

import pytest
from streamlit.testing.v1 import AppTest

from moeviz.ui.learn import LESSONS

APP = Path(__file__).parent.parent.parent / "app.py"
ASKING = [name for name in LESSONS if name not in ("history", "glossary")]


@pytest.fixture
def page():
    app = AppTest.from_file(APP, default_timeout=120)
    app.switch_page("pages/learn.py")
    return app


def components(page) -> int:
    return len(page.get("bidi_component"))


@pytest.mark.parametrize("name", ASKING)
def test_a_lesson_asks_before_it_shows(page, name):
    page.query_params["lesson"] = name
    page.run()
    assert not page.exception
    assert page.header[0].value == LESSONS[name].title
    quiz = next(r for r in page.radio if r.label == "Your guess")
    assert quiz.value is None
    before = components(page) + len(page.table)
    quiz.set_value(quiz.options[0].replace("\\", "")).run()
    assert not page.exception
    assert page.success or page.info
    assert components(page) + len(page.table) > before


@pytest.mark.parametrize("name", ["history", "glossary"])
def test_what_is_only_read(page, name):
    page.query_params["lesson"] = name
    page.run()
    assert not page.exception
    assert len(page.markdown) > 15


def test_next_leads_through_all_lessons(page):
    page.run()
    seen = [page.header[0].value]
    while page.button(key="next_lesson"):
        page.button(key="next_lesson").click().run()
        seen.append(page.header[0].value)
        if len(seen) == len(LESSONS):
            break
    assert seen == [lesson.title for lesson in LESSONS.values()]


def test_lessons_need_no_torch():
    code = (
        "import sys\n"
        "from streamlit.testing.v1 import AppTest\n"
        f"app = AppTest.from_file({str(APP)!r}, default_timeout=120)\n"
        "app.switch_page('pages/learn.py')\n"
        f"for name in {list(LESSONS)!r}:\n"
        "    app.query_params['lesson'] = name\n"
        "    app.run()\n"
        "    assert not app.exception, name\n"
        "for name in ('workshop', 'models'):\n"
        "    app.switch_page(f'pages/{name}.py').run()\n"
        "    assert not app.exception, name\n"
        "assert 'Mixtral 8x7B has' in ' '.join(m.value for m in app.markdown)\n"
        "print('torch' in sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=APP.parent, check=True
    )
    assert done.stdout.strip().splitlines()[-1] == "False"
