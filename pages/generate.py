"""Generate: which experts are at work while a model writes, token by token?"""

import streamlit as st

from moeviz.ui import ask, generate, links
from moeviz.ui.door import through_door
from moeviz.ui.live import Live
from moeviz.ui.terms import lead

through_door("generate")
links.open_link()
facts = ask.model_bar()
st.title("Which experts write the next word?", anchor=False)
lead(
    "A model reads the beginning at once, then writes on one token at a time, and at every step "
    "its routers choose experts anew. Watch them, hold it, and go back to any step."
)
generate.form()
links.link_notes()
here = generate.current(st.empty())


def look(here: Live) -> None:
    """Pick, compute, draw: runs again by itself while the model writes."""
    here.collect()
    generate.controls(here)
    generate.words(here)
    generate.apart(here)
    generate.overflow(here)
    generate.write_link(here)
    if here.writing.running != here.ticking:
        st.rerun()


if here is not None:
    generate.introduce(here, facts)
    here.send_all_again()
    here.ticking = here.writing.running
    st.fragment(look, run_every=generate.TICK if here.ticking else None)(here)
    generate.ways_on(here)
