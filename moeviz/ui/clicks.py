"""What a click asks for is done whole, even when the next click comes at once."""

from __future__ import annotations

from streamlit.runtime.state import SafeSessionState

_apply = SafeSessionState.on_script_will_rerun


def finish_callbacks() -> None:
    """Keep a click from cutting short the callbacks of the click before it.

    Whenever a script touches session state, Streamlit looks whether the page is to run again, and
    if so leaves what it was at. In a callback that would lose half of what a click asked for, such
    as the job that it was to start. Callbacks begun are ended now; the page looks after them.
    """
    SafeSessionState.on_script_will_rerun = _apply_whole


def _apply_whole(state: SafeSessionState, *arguments, **options) -> None:
    look = state._yield_callback
    object.__setattr__(state, "_yield_callback", lambda: None)
    try:
        _apply(state, *arguments, **options)
    finally:
        object.__setattr__(state, "_yield_callback", look)
