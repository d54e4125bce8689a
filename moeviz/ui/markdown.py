"""Words from elsewhere (texts, names, errors) inside Streamlit's Markdown."""

import re


def plain(text: str) -> str:
    """Text as Markdown that shows it letter by letter."""
    return re.sub(r"([\\`*_{}\[\]()#+\-.!$:|<>~&])", r"\\\1", text)
