"""The parts of the screen that Streamlit has no widget for; each draws bytes and returns picks.

Small components without a build step: `strip` (the text), `grid` (heat on a canvas), `plot` (bars
and curves), `list` (ranked lines), `flow` (ribbons from layer to layer), `dial` (a slider that
answers while it is dragged), `live` (a text while it is written), `cloud` (points) with `tint`
(how they are coloured), `ticker` (which looks again), `typing` (which hears the text box) and
`wire`, which tells the others what is selected, so that their bulk is never sent again for a click.
Text from users reaches the page through `textContent` and canvas text only.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import streamlit as st

from moeviz.ui.components.packet import packed
from moeviz.ui.view import View

_HERE = Path(__file__).parent


def _component(name: str, styled: bool = True):
    """The component whose files are `<name>.js` and `<name>.css`, with the common parts before.

    styled: it draws a figure, which can be saved; all that it is made of travels with each change.
    """
    stems = ("common", "parquet", "save", name) if styled else ("common", name)
    read = [(_HERE / f"{stem}.js").read_text("utf-8") for stem in stems]
    css = [(_HERE / f"{stem}.css").read_text("utf-8") for stem in ("common", name) if styled]
    return st.components.v2.component(
        f"moeviz_{name}", html="<div class='root'></div>", css="\n".join(css), js="\n".join(read)
    )


_STRIP, _GRID, _WIRE = _component("strip"), _component("grid"), _component("wire", styled=False)
_PLOT, _DIAL, _LIVE = _component("plot"), _component("dial"), _component("live")
_LIST, _FLOW = _component("list"), _component("flow")
_HANDOUT = _component("handout")
_CLOUD, _TINT = _component("cloud"), _component("tint", styled=False)
_TICKER, _TYPING = _component("ticker", styled=False), _component("typing", styled=False)


def token_strip(picture: bytes, key: str, on_pick: Callable[[], None]) -> None:
    """Draw the text; a click calls `on_pick`, see `picked`."""
    _STRIP(data=picture, key=key, on_pick_change=on_pick)


def heat_grid(picture: bytes, key: str, on_pick: Callable[[], None]) -> None:
    """Draw a grid on a canvas; a click calls `on_pick`, see `picked`."""
    _GRID(data=picture, key=key, on_pick_change=on_pick)


def plot(picture: bytes, key: str, on_pick: Callable[[], None]) -> None:
    """Draw bars or curves; a click on some of them calls `on_pick`, see `picked`."""
    _PLOT(data=picture, key=key, on_pick_change=on_pick)


def ranked(picture: bytes, key: str, on_pick: Callable[[], None]) -> None:
    """Draw a ranked list of tokens or experts; a click calls `on_pick`, see `picked`."""
    _LIST(data=picture, key=key, on_pick_change=on_pick)


def flow(picture: bytes, key: str, on_pick: Callable[[], None]) -> None:
    """Draw ribbons from layer to layer; a click calls `on_pick`, see `picked`."""
    _FLOW(data=picture, key=key, on_pick_change=on_pick)


def live_text(picture: bytes, key: str, on_pick: Callable[[], None]) -> None:
    """Draw a text that is being written; what the visitor does calls `on_pick`, see `picked`:
    {row} and {step} for where they stand, {missing} when an earlier packet was lost.
    """
    _LIVE(data=picture, key=key, on_pick_change=on_pick)


def cloud(picture: bytes, key: str, on_pick: Callable[[], None]) -> None:
    """Draw points; a selection calls `on_pick`, and `picked` gives {ids, points}."""
    _CLOUD(data=picture, key=key, on_pick_change=on_pick)


def tint(picture: bytes, key: str) -> None:
    """Tell the cloud named in the picture how to colour its points, see charts/cloud.py."""
    _TINT(data=picture, key=key)


def dial(facts: dict, key: str, on_turn: Callable[[], None]) -> None:
    """Draw a slider; each new value calls `on_turn`, see `turned`.

    facts: name, value, low, high, step, formula (a line below), off (words instead of a value when
    it cannot be turned, else ""), and answers: the `sent` of the last turn that this responds to.
    Also marks (values named below the slider) and digits (of the value), where 0.25 to 4 is not it.
    """
    _DIAL(data=facts, key=key, on_turn_change=on_turn)


def handout(key: str = "handout") -> None:
    """A button that saves the whole page, as it stands, as one file that opens without a server."""
    _HANDOUT(data={"label": "Hand-out of this page (.html)"}, key=key)


def ticker(every: float, look: int) -> None:
    """Have the fragment run again `every` seconds after this, by itself; 0 for not at all.

    look: another number each time. It asks as a click does, so no click gets lost beside it; a
    fragment whose `run_every` changes must be built anew, and what is pressed meanwhile is gone.
    """
    _TICKER(data={"every": every, "look": look}, key="ticker", on_tick_change=lambda: None)


def typing(key: str, on_edit: Callable[[], None], label: str = "Text", pause: float = 0.6) -> None:
    """Call `on_edit` once the typing in the page's text box `label` rests for `pause` seconds; see
    `typed`."""
    _TYPING(data={"label": label, "pause": pause}, key=key, on_edit_change=on_edit)


def typed(key: str) -> str | None:
    """The text of the box as it stands; only valid in the callback of `typing`."""
    text = st.session_state[key].edit
    return text if isinstance(text, str) else None


def turned(key: str) -> dict:
    """The newest {value, sent} of the dial `key`; only valid in its callback."""
    value = st.session_state[key].turn
    return value if isinstance(value, dict) else {}


def wire(view: View, step: int, visit: str) -> None:
    """Tell every component of the page what is selected.

    step: the last click this answers; a page that was clicked since keeps its own idea.
    """
    names = ("row", "expert", "token", "until")
    pick = {name: getattr(view, name) for name in names}
    _WIRE(data={**pick, "step": step, "visit": visit}, key="wire")


def picked(key: str) -> dict:
    """What the last click on the component `key` chose; only valid in its callback."""
    value = st.session_state[key].pick
    return value if isinstance(value, dict) else {}


__all__ = [
    "cloud",
    "dial",
    "flow",
    "handout",
    "heat_grid",
    "live_text",
    "packed",
    "picked",
    "plot",
    "ranked",
    "ticker",
    "tint",
    "token_strip",
    "turned",
    "typed",
    "typing",
    "wire",
]
