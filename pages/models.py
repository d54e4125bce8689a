"""Models: how much of a mixture of experts is there, and how much of it does a token use?"""

import streamlit as st

from moeviz.ui import facts
from moeviz.ui.door import through_door
from moeviz.ui.terms import lead

through_door("models")
st.title("How big is a mixture of experts?", anchor=False)
lead(
    "Two numbers, not one: all its parameters must be in memory, but a token uses only those of "
    "the experts it is sent to. Both follow from a model's configuration, without its weights."
)
chosen = facts.pick()
if chosen is not None:
    facts.make_up(chosen)
facts.table()
facts.claims()
