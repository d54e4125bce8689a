"""The atlas: short passages in 19 languages, program code and 33 domains that ship with MoEViz.

Some five hundred of them are translations of one another, so that language can be told from
topic. `python -m moeviz.corpora.make_atlas` makes the file again; ATLAS.md names every source.
"""

from __future__ import annotations

import json
import lzma
from functools import cache
from pathlib import Path

import numpy as np

from moeviz.corpora.corpus import DOMAIN, LANGUAGE, SOURCE, Corpus, Source

FILE = Path(__file__).parent / "atlas.jsonl.xz"
SOURCES = Path(__file__).parent / "atlas_sources.json"

LANGUAGES = {
    "ar": "Arabic", "code": "program code", "de": "German", "el": "Greek", "en": "English",
    "es": "Spanish", "fa": "Persian", "fi": "Finnish", "fr": "French", "hi": "Hindi",
    "it": "Italian", "ja": "Japanese", "ko": "Korean", "nl": "Dutch", "pl": "Polish",
    "pt": "Portuguese", "ru": "Russian", "tr": "Turkish", "uk": "Ukrainian", "zh": "Chinese",
}  # fmt: skip
"""What each language label of the atlas stands for."""


@cache
def load_atlas() -> Corpus:
    """The bundled labelled passages, with labels "language", "domain" and "source".

    At most 40 passages a language and domain, each of about 400 bytes of UTF-8 so that it holds
    64 tokens or more of the demo model.
    """
    with lzma.open(FILE, "rt", encoding="utf-8") as lines:
        rows = [json.loads(line) for line in lines]
    columns = {name: np.array([row[name] for row in rows]) for name in rows[0]}
    return Corpus(
        name="atlas",
        texts=tuple(row["text"] for row in rows),
        labels={name: columns[name] for name in (LANGUAGE, DOMAIN, SOURCE)},
        documents=columns["document"],
        families=columns["family"],
        parallel=columns["parallel"],
        sources=tuple(Source(**source) for source in json.loads(SOURCES.read_text())),
    )
