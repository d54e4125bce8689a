"""The field's words in our own sentences, each linked to its meaning."""

from __future__ import annotations

from typing import Any

import streamlit as st

from moeviz.lessons.glossary import explained_parts, linked
from moeviz.ui.house import hidden_pages
from moeviz.ui.markdown import plain


def explained(text: str) -> str:
    """Markdown with the first mention of each term linked to the glossary, where there is one."""
    return text if "learn" in hidden_pages() else linked(text)


def tell(sentence: str) -> None:
    """A finding in words, which may hold a visitor's own, its terms linked."""
    st.markdown(explained(plain(sentence)))


def note(sentence: str, **options: Any) -> None:
    """A quiet line beside a control or figure, its terms linked; options as of st.caption."""
    st.caption(explained(plain(sentence)), **options)


def inform(sentence: str) -> None:
    """What cannot be shown, or has to be done first, its terms linked."""
    st.info(explained(plain(sentence)))


def warn(sentence: str) -> None:
    """What to mind about what is shown, its terms linked."""
    st.warning(explained(plain(sentence)))


def headline(sentence: str) -> None:
    """The finding that a figure or section is about."""
    st.markdown("#### " + explained(plain(sentence)))


def told_parts(text: str) -> list:
    """`explained_parts` for the words below a figure; the text alone without the glossary."""
    return [text] if "learn" in hidden_pages() else explained_parts(text)


def lead(text: str) -> None:
    """What a page is for, below its title."""
    st.markdown(explained(text))
