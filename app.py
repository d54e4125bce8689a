"""The page list and the page config; every page lives in pages/."""

import streamlit as st

from moeviz.ui.clicks import finish_callbacks
from moeviz.ui.door import explore_by_name, open_door
from moeviz.ui.hosted import take_a_place
from moeviz.ui.house import dress, hidden_pages

finish_callbacks()
open_door()
st.set_page_config(page_title="MoEViz", page_icon="🔀", layout="wide")
dress()
take_a_place()

pages = [
    st.Page("pages/explore.py", title="Explore", url_path="home", default=True),
    st.Page(explore_by_name, title="Explore", url_path="explore", visibility="hidden"),
    st.Page("pages/generate.py", title="Generate", url_path="generate"),
    st.Page("pages/compare.py", title="Compare", url_path="compare"),
    st.Page("pages/capacity.py", title="Capacity", url_path="capacity"),
    st.Page("pages/specialise.py", title="Specialise", url_path="specialise"),
    st.Page("pages/contrast.py", title="Contrast", url_path="contrast"),
    st.Page("pages/what-if.py", title="What if", url_path="what-if"),
    st.Page("pages/lab.py", title="Lab", url_path="lab"),
    st.Page("pages/models.py", title="Models", url_path="models"),
    st.Page("pages/learn.py", title="Learn", url_path="learn"),
    st.Page("pages/workshop.py", title="Workshop", url_path="workshop"),
]
shown = [page for page in pages if page.url_path not in hidden_pages()]
st.navigation(shown, position="top").run()
