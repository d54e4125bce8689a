"""The page list and the page config; every page lives in pages/."""

import streamlit as st

st.set_page_config(page_title="MoEViz", page_icon="🔀", layout="wide")

st.navigation(
    [st.Page("pages/explore.py", title="Explore", url_path="explore", default=True)],
    position="top",
).run()
