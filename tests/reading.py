"""What a person reads of Markdown: no escapes, and links as their words."""

import re
from collections.abc import Iterable


def read(markdown: Iterable[str]) -> str:
    """The texts, one below the other, as they look on the screen."""
    words = "\n".join(markdown).replace("\\", "")
    return re.sub(r"\[([^\]]*)\]\(/learn\?lesson=glossary[^)]*\)", r"\1", words)
