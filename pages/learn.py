"""Learn: a mixture of experts, one idea at a time, each tried out on the real demo model."""

import streamlit as st

from moeviz.ui import learn
from moeviz.ui.door import through_door

through_door("learn")
st.title("Learn how experts share the work", anchor=False)
st.markdown(
    "Short lessons: guess first, then see. The numbers are the demo model's own, or those of a toy "
    "that is trained while you watch."
)
learn.teach(learn.choose())
