"""What is found of a visitor's own texts stays in that visitor's session."""

from streamlit.runtime.caching.cache_resource_api import clear_session_cache
from streamlit.testing.v1 import AppTest


def script():
    import streamlit as st

    from moeviz.corpora.published import published_corpus
    from moeviz.ui.datasets import DataSet, kept

    made = st.session_state["made"]

    @kept(most=4)
    def found(key, number, _data):
        made.append((key, number))
        return object()

    kind = st.session_state["kind"]
    data = DataSet(kind, f"key of {kind}", "", published_corpus("olmoe"))
    st.session_state["found"] = [found(data, 1), found(data, 1)]


def visit(kind: str, made: list):
    """One visitor comes, looks and leaves; every AppTest has the same session name."""
    page = AppTest.from_function(script, default_timeout=120)
    page.session_state["made"], page.session_state["kind"] = made, kind
    page.run()
    assert not page.exception
    first, again = page.session_state["found"]
    assert first is again
    clear_session_cache("test session id")  # what the server does when a session ends
    return first


def test_shared_data_is_worked_out_once_for_all():
    made = []
    assert visit("atlas", made) is visit("atlas", made)
    assert made == [("key of atlas", 1)]


def test_own_data_is_worked_out_for_each_visitor():
    made = []
    assert visit("own", made) is not visit("own", made)
    assert made == [("key of own", 1)] * 2
