"""Workshop: a plan for a teacher, with a link for every step."""

import streamlit as st

from moeviz.ui import workshop
from moeviz.ui.door import through_door
from moeviz.ui.terms import lead

through_door("workshop")
st.title("Teach a workshop", anchor=False)
lead(
    "Thirty people, one laptop, no GPU: by the end everybody can say what an expert, a router, "
    "top-k, balance and capacity are, because they guessed, tried and saw."
)
workshop.plan()
workshop.presenter()
workshop.for_everybody()
