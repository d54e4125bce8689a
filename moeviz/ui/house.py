"""What whoever started the server decided for all visitors, in environment variables.

| Variable | What it decides | Unless set |
|---|---|---|
| MOEVIZ_MODEL | the model that a visit starts with | demo |
| MOEVIZ_HIDE | pages left out, by their name in the address | none |
| MOEVIZ_MAX_CHARACTERS | the longest text | 2,000,000 |
| MOEVIZ_SERVERS | model servers that visitors may ask, comma-separated, or none | any |
| MOEVIZ_MODELS | models kept in memory at once | 2 |
| MOEVIZ_TRACE_MEMORY | megabytes of traces and pictures kept, of all visitors together | 1,000 |
| MOEVIZ_HOSTED | whether strangers may come: see moeviz/ui/hosted.py | no |
| MOEVIZ_ALLOW | models that strangers may use besides the first, comma-separated | none |
| MOEVIZ_MAX_TOKENS | tokens read of a text | what the model takes |
| MOEVIZ_MAX_NEW_TOKENS | tokens written at a time | 2,000 |
| MOEVIZ_MAX_UPLOAD | megabytes of a file | 100 |
| MOEVIZ_MAX_ROWS | texts read of a file | 20,000 |
| MOEVIZ_SESSIONS | visitors at once | any number |

`moeviz app` has an option for each. A hosted server has smaller limits from the start: `HOSTED`.
"""

from __future__ import annotations

import os
from contextlib import suppress
from typing import Any

import streamlit as st
from streamlit.errors import StreamlitAPIException

from moeviz.trace import MoevizError
from moeviz.ui.door import explore_by_name

LONGEST_TEXT = 2_000_000
"""Characters we hand to a tokenizer; beyond it a paste is a mistake, not a text."""

MODELS = 2
"""Models kept in memory; the one not used for longest makes room."""

TRACE_MEMORY = 1000
"""Megabytes of traces and pictures kept of all visitors together; the screen's own come on top."""

HOSTED = {
    "MOEVIZ_MAX_CHARACTERS": 20_000,
    "MOEVIZ_MAX_TOKENS": 2048,
    "MOEVIZ_MAX_NEW_TOKENS": 200,
    "MOEVIZ_MAX_UPLOAD": 10,
    "MOEVIZ_MAX_ROWS": 1000,
    "MOEVIZ_SESSIONS": 50,
}
"""Limits where strangers may come, unless set."""

LARGE_TYPE = 1.3
"""How much larger everything is in the presenter's view."""


def hidden_pages() -> frozenset[str]:
    """Pages that MOEVIZ_HIDE leaves out, by their name in the address, for example "lab,compare".

    The first page, Explore, is always there.
    """
    named = os.environ.get("MOEVIZ_HIDE", "").split(",")
    return frozenset(name.strip() for name in named if name.strip())


def way_to(page: str, label: str, **options: Any) -> None:
    """A link to the page of that name in addresses, where this server has it; see st.page_link.

    To Explore by its name: as the first page it has an empty address, which a new tab would take
    for that of the page it was on.
    """
    if page in hidden_pages():
        return
    if page == "explore":
        # Where pages run by themselves, before app.py did, its file has that name anyway.
        with suppress(StreamlitAPIException):
            named = st.Page(explore_by_name, url_path="explore")
            st.page_link(named, label=label, **options)
            return
    st.page_link(f"pages/{page}.py", label=label, **options)


def hosted() -> bool:
    """Whether strangers may come: MOEVIZ_HOSTED is set, and not to 0."""
    return os.environ.get("MOEVIZ_HOSTED", "").strip() not in ("", "0")


def longest_text() -> int:
    """Most characters of a text: MOEVIZ_MAX_CHARACTERS where that is a number, else 2,000,000."""
    return _count("MOEVIZ_MAX_CHARACTERS", LONGEST_TEXT)


def most_models() -> int:
    """Most models in memory: MOEVIZ_MODELS where that is a number, else 2."""
    return _count("MOEVIZ_MODELS", MODELS)


def trace_memory() -> int:
    """Bytes for kept traces: MOEVIZ_TRACE_MEMORY, in MB, where that is a number, else 1 GB."""
    return 1_000_000 * _count("MOEVIZ_TRACE_MEMORY", TRACE_MEMORY)


def most_tokens() -> int:
    """Most tokens read of a text, by MOEVIZ_MAX_TOKENS; 0 for what the model takes."""
    return _count("MOEVIZ_MAX_TOKENS", 0)


def most_new_tokens(own: int) -> int:
    """Most tokens to write where a page offers up to `own`, by MOEVIZ_MAX_NEW_TOKENS."""
    return min(own, _count("MOEVIZ_MAX_NEW_TOKENS", own))


def most_megabytes(own: int) -> int:
    """Largest file where a page takes up to `own` MB, by MOEVIZ_MAX_UPLOAD."""
    return min(own, _count("MOEVIZ_MAX_UPLOAD", own))


def most_rows(own: int) -> int:
    """Most texts of a file where a page reads up to `own`, by MOEVIZ_MAX_ROWS."""
    return min(own, _count("MOEVIZ_MAX_ROWS", own))


def most_sessions() -> int:
    """Most visitors at once, by MOEVIZ_SESSIONS; 0 for any number."""
    return _count("MOEVIZ_SESSIONS", 0)


def _count(name: str, otherwise: int) -> int:
    wanted = os.environ.get(name, "")
    if wanted.isascii() and wanted.isdecimal() and int(wanted[:18]) > 0:
        return int(wanted[:18])
    return HOSTED.get(name, otherwise) if hosted() else otherwise


def servers() -> frozenset[str] | None:
    """Addresses of model servers that visitors may ask, by MOEVIZ_SERVERS: a list with commas, or
    "none". None: any, as suits whoever runs the app for themselves; never where it is hosted.
    """
    named = os.environ.get("MOEVIZ_SERVERS", "").strip()
    if hosted():
        named = ",".join([named, *(name.partition("#")[0] for name in _named_models())])
        return frozenset(a for a in map(_address, named.split(",")) if "://" in a)
    if not named:
        return None
    return frozenset(_address(each) for each in named.split(",")) - {"", "none"}


def offered_models() -> tuple[str, ...] | None:
    """Models that a hosted server offers: what a visit starts with, those of MOEVIZ_ALLOW (a list
    with commas) and the servers of MOEVIZ_SERVERS. None: any, where the app is not hosted.
    """
    if not hosted():
        return None
    asked = os.environ.get("MOEVIZ_SERVERS", "").split(",")
    every = (*_named_models(), *(name.strip() for name in asked if "://" in name))
    return tuple(dict.fromkeys(every))


def _named_models() -> list[str]:
    allowed = os.environ.get("MOEVIZ_ALLOW", "").split(",")
    every = [os.environ.get("MOEVIZ_MODEL") or "demo", *(name.strip() for name in allowed)]
    return [name for name in every if name]


def check_server(address: str) -> None:
    """Raises MoevizError for a model server that this house does not let visitors ask.

    The one gate: every request of the app to such a server passes it.
    """
    allowed = servers()
    if allowed is not None and _address(address) not in allowed:
        raise MoevizError(f"{address} is not among the servers that may be asked from here.")


def may_have_key(address: str) -> bool:
    """Whether MOEVIZ_API_KEY may go there: where the house itself named the address, not a visitor
    or a link."""
    here = os.environ.get("MOEVIZ_MODEL", "").partition("#")[0]
    return _address(address) in (servers() or frozenset()) | {_address(here)}


def _address(written: str) -> str:
    """An address as `serving.wire` takes it: the same server in all its spellings, and no other."""
    return written.strip().rstrip("/").removesuffix("/v1").rstrip("/")


DRESS = """<style>
[data-testid="stMain"] a[href*="lesson=glossary&term="] {
  color: inherit; text-decoration: underline dotted 1px; text-underline-offset: 3px;
}
[data-testid="stMain"] [data-testid="stPageLink"] a * { white-space: normal !important; }
.st-key-plan .stHorizontalBlock { flex-wrap: nowrap; }
.st-key-plan .stHorizontalBlock > :last-child { min-width: 0; flex-shrink: 1; }
</style>"""
"""Words that lead to the glossary stay words: seen when looked for, not louder than the rest. Links
to pages take two lines where one is too narrow, and stay beside their time in a teacher's plan."""


def dress() -> None:
    """Links as they should look; large type for the presenter, on every page of this visit."""
    st.html(DRESS)
    if st.session_state.get("presenting"):
        st.html(f"<style>[data-testid='stMain'] {{ zoom: {LARGE_TYPE} }}</style>")
