"""One choice of the view as a row of buttons, every option in sight."""

from __future__ import annotations

from collections.abc import Mapping

import streamlit as st

from moeviz.trace import RoutingTrace
from moeviz.ui.links import set_view
from moeviz.ui.view import View


def choice(
    trace: RoutingTrace, view: View, name: str, label: str, options: Mapping[str, str],
    quiet: bool = False,
) -> None:  # fmt: skip
    """Buttons for the part `name` of the view; quiet: the label is for screen readers only."""
    st.session_state[name] = getattr(view, name)
    st.segmented_control(
        label, list(options), key=name, required=True, wrap=True, format_func=options.get,
        label_visibility="collapsed" if quiet else "visible",
        on_change=lambda: set_view(trace, {name: st.session_state[name]}),
    )  # fmt: skip
