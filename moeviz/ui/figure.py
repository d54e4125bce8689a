"""One picture on a page: made once, drawn, and its clicks taken."""

from __future__ import annotations

from collections.abc import Callable

import streamlit as st

from moeviz.charts.picture import Picture
from moeviz.trace import MoevizError, RoutingTrace
from moeviz.ui import session
from moeviz.ui.components import packed, picked
from moeviz.ui.links import set_view
from moeviz.ui.terms import inform
from moeviz.ui.view import look_after


def figure(
    kind: str,
    trace: RoutingTrace,
    options: tuple,
    make: Callable[[], Picture],
    draw: Callable[[bytes, str, Callable[[], None]], None],
) -> None:
    """Draw one picture, or say in its place why it cannot be had."""
    try:
        picture = session.drawn(kind, trace.key, options, lambda: packed(make()))
    except MoevizError as error:
        inform(str(error))
        return
    draw(picture, kind, lambda: take_pick(trace, kind))


def take_pick(trace: RoutingTrace, kind: str) -> dict:
    """Move the view to what was clicked on the figure `kind`; hands the click back."""
    pick = picked(kind)
    wish = {name: pick[name] for name in ("row", "expert", "token", "until") if name in pick}
    set_view(trace, {**wish, "look": look_after(st.session_state["view"].look, wish)})
    step = pick.get("step")
    st.session_state["step"] = step if isinstance(step, int) else 0
    return pick
