"""Specialise: what is each expert for, told from labelled texts, and how sure is that?"""

import streamlit as st

from moeviz.ui import ask, asking, links, search, specialise
from moeviz.ui.datasets import data_set
from moeviz.ui.door import through_door
from moeviz.ui.terms import lead

through_door("specialise")
links.open_link()
asking.open_link()
facts = ask.model_bar()
st.title("What is each expert for?", anchor=False)
lead(
    "Experts are not given topics; they find them in training. Here a model reads thousands of "
    "short labelled texts, and you see which experts read which languages and domains, beside what "
    "chance alone would show."
)
links.link_notes()
specialise.data_choice(asking.current())
data = data_set(asking.current().data)


@st.fragment
def look(data) -> None:
    """Pick, compute, draw: the part that runs again on every click."""
    if asking.current().data != data.kind:  # a click led to the other published model
        st.rerun()
    search.search(data)
    specialise.section(data)
    asking.write_link()


if data is not None:
    specialise.introduce(data, facts)
    look(data)
else:
    asking.write_link()
