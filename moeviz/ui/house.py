"""What whoever started the server decided for all visitors: pages left out, the longest text."""

from __future__ import annotations

import os
from typing import Any

import streamlit as st

LONGEST_TEXT = 2_000_000
"""Characters we hand to a tokenizer; beyond it a paste is a mistake, not a text."""

LARGE_TYPE = 1.3
"""How much larger everything is in the presenter's view."""


def hidden_pages() -> frozenset[str]:
    """Pages that MOEVIZ_HIDE leaves out, by their name in the address, for example "lab,compare".

    The first page, Explore, is always there.
    """
    named = os.environ.get("MOEVIZ_HIDE", "").split(",")
    return frozenset(name.strip() for name in named if name.strip())


def way_to(page: str, label: str, **options: Any) -> None:
    """A link to the page of that name in addresses, where this server has it; see st.page_link."""
    if page not in hidden_pages():
        st.page_link(f"pages/{page}.py", label=label, **options)


def longest_text() -> int:
    """Most characters of a text: MOEVIZ_MAX_CHARACTERS where that is a number, else 2,000,000."""
    wanted = os.environ.get("MOEVIZ_MAX_CHARACTERS", "")
    return int(wanted) if wanted.isdecimal() and int(wanted) > 0 else LONGEST_TEXT


def dress() -> None:
    """Large type for the presenter, on every page of this visit."""
    if st.session_state.get("presenting"):
        st.html(f"<style>[data-testid='stMain'] {{ zoom: {LARGE_TYPE} }}</style>")
