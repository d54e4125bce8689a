"""What only the model itself can tell the Lab page."""

from __future__ import annotations

import streamlit as st

from moeviz.trace import RoutingTrace
from moeviz.ui import session
from moeviz.ui.shelf import shelf


def expert_parameters(trace: RoutingTrace, row: int) -> int | None:
    """Parameters of one expert of routed layer `row`; None where the model is not loaded or its
    experts cannot be told apart."""
    name = session.shown()[0]
    if name not in shelf():
        return None
    return _sizes(name, trace.router.stack, id(session.loaded(name)))[row]


@st.cache_resource(max_entries=8, show_spinner=False)
def _sizes(name: str, stack: str, loaded_as: int) -> list[int | None]:
    from moeviz.models.sites import expert_parameters as of_site  # late: torch takes seconds

    return [of_site(site) for site in session.loaded(name).sites if site.stack == stack]
