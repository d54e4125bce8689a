"""The way into a page: always through app.py, also for a link that opens a fresh server."""

import streamlit as st


def open_door() -> None:
    """Called by app.py: from now on this visit's pages run inside the app."""
    st.session_state["inside"] = True


def through_door(url_path: str) -> None:
    """Called first by every page, with its own url_path.

    Until somebody has opened the app, Streamlit runs the files of pages/ by themselves, without
    the page list and page config of app.py. A navigation, of any pages, ends that for good.
    """
    if "inside" not in st.session_state:
        home = st.Page(open_door, title="MoEViz", default=True)
        here = st.Page(open_door, title="MoEViz", url_path=url_path)
        st.navigation([home, here], position="hidden")
        st.rerun()


def explore_by_name() -> None:
    """The page behind /explore: the default page has no name of its own in addresses."""
    st.switch_page("pages/explore.py", query_params=st.query_params.to_dict())
