"""The field's words in our own sentences, each linked to its meaning."""

from __future__ import annotations

import streamlit as st

from moeviz.lessons.glossary import linked
from moeviz.ui.house import hidden_pages


def explained(text: str) -> str:
    """Markdown with the first mention of each term linked to the glossary, where there is one."""
    return text if "learn" in hidden_pages() else linked(text)


def lead(text: str) -> None:
    """What a page is for, below its title."""
    st.markdown(explained(text))
