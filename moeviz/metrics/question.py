"""Which labels does a question name? Known words in several spellings, nothing cleverer."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Mapping

SPELLINGS = {
    "ar": "arabic arab عربي العربية", "de": "german germany deutsch deutsche",
    "el": "greek greece ελληνικά",
    "en": "english englisch anglais", "es": "spanish spain español castellano spanisch",
    "fa": "persian farsi iranian فارسی", "fi": "finnish finland suomi finnisch",
    "fr": "french france français französisch", "hi": "hindi indian हिन्दी",
    "it": "italian italy italiano italienisch", "ja": "japanese japan 日本語 japanisch",
    "ko": "korean korea 한국어 koreanisch", "nl": "dutch nederlands niederländisch flemish",
    "pl": "polish poland polski polnisch", "pt": "portuguese portugal português brazilian",
    "ru": "russian russia русский russisch", "tr": "turkish turkey türkçe türkisch",
    "uk": "ukrainian ukraine українська ukrainisch", "zh": "chinese china 中文 mandarin chinesisch",
    "code": "code programming programs source",
    "children_stories": "children kids", "chess": "chess pgn", "cpp": "c++ cplusplus",
    "css": "css stylesheet stylesheets", "dialogue": "dialogue dialog dialogues conversation chat",
    "fiction": "fiction novel novels literature roman",
    "geography": "geography geographic countries",
    "go": "golang", "javascript": "javascript js", "latex_logic": "latex logic",
    "law": "law laws legal statutes legislation gesetz gesetze recht",
    "math": "math maths mathematics arithmetic mathe",
    "medicine": "medicine medical health medizin", "news": "news newspaper nachrichten",
    "poetry": "poetry poem poems verse poet", "programming_docs": "documentation docs manual",
    "religion": "religion religious bible bibles", "science": "science biology physics",
    "security": "security cybersecurity", "sentences": "sentences", "software_help": "help gnome",
    "shell": "shell bash", "typescript": "typescript ts", "yaml": "yaml yml",
    "github": "github code", "arxiv": "arxiv papers", "wikipedia": "wikipedia wiki",
    "book": "book books", "c4": "web",
}  # fmt: skip
"""Other words for a label, beside the label itself."""


def labels_asked(question: str, columns: Mapping[str, Iterable[str]]) -> dict[str, list[str]]:
    """By column, the values that the question names, in the order they come.

    Capital letters and accents do not matter, but for labels of one or two letters, which are
    words of their own in some language: those count only as "C", "Go" or "DE".
    """
    words = _words(question)
    found: dict[str, list[str]] = {}
    for column, values in columns.items():
        places = {}
        for value in values:
            place = _place(value, words, question)
            if value and place is not None:
                places[value] = place
        if places:
            found[column] = sorted(places, key=places.get)
    return found


def _place(value: str, words: list[str], question: str) -> int | None:
    """Where the question names the value, None where it does not."""
    spelt = [_plain(word) for word in SPELLINGS.get(value, "").split()]
    if len(value) > 2:
        whole = _words(value.replace("_", " "))
        for at in range(len(words) - len(whole) + 1):
            if words[at : at + len(whole)] == whole:
                return at
    else:
        form = re.search(rf"(?<!\w)({value.upper()}|{value.capitalize()})(?![\w+#])", question)
        if form and (len(value) == 1 or form[0] == value.upper() or value not in _TONGUES):
            return len(_words(question[: form.start()]))
    return next((at for at, word in enumerate(words) if word in spelt), None)


_TONGUES = {"it", "is", "de", "en", "es", "fr", "no", "hi", "nl", "ja", "pt", "tr", "uk", "zh"}
"""Labels that are everyday words, or look like them, when only their first letter is a capital."""


def _words(text: str) -> list[str]:
    return re.findall(r"[\w+#]+", _plain(text))


def _plain(text: str) -> str:
    """Without capitals and accents on Latin letters."""
    apart = unicodedata.normalize("NFKD", text.casefold())
    latin = "".join(c for c in apart if not ("\u0300" <= c <= "\u036f"))
    return unicodedata.normalize("NFKC", latin)
