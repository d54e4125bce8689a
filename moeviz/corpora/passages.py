"""The fixed passages that the demo model was watched on: their words, and who was chosen for each.

The first token of every passage stands for no text and is left out. Nothing here needs torch.
"""

from __future__ import annotations

import json
from functools import cache

import numpy as np
from safetensors import safe_open

from moeviz.corpora.emergence import FILE, load_emergence
from moeviz.trace import Tokens


def passages_in(language: str = "") -> np.ndarray:
    """Places of the passages in `language`; of all where there is none in it, as for ""."""
    languages = load_emergence().labels["language"]
    found = np.flatnonzero(languages == language)
    return found if len(found) else np.arange(len(languages))


def passage_tokens(places: np.ndarray) -> Tokens:
    """The passages one after the other, each from a new line on."""
    lines, spans, at = [], [], 0
    ids, spelled = _ids()[places, 1:], _spelling()
    for passage in ids.tolist():
        text, own = _line([_bytes_of(spelled[i]) for i in passage])
        lines.append(text)
        spans.append(own + at)
        at += len(text) + 1
    none = np.zeros(ids.size, bool)
    used = {int(i): spelled[int(i)] for i in np.unique(ids)}
    return Tokens("\n".join(lines), ids.ravel(), np.concatenate(spans), none, none, used)


def passage_choices(places: np.ndarray) -> np.ndarray:
    """[C, L, T, K] int16, who was chosen for each of `passage_tokens` at every moment."""
    experts = load_emergence().experts[:, :, places, 1:]
    moments, layers, _, _, chosen = experts.shape
    return experts.reshape(moments, layers, -1, chosen).astype(np.int16)


@cache
def _ids() -> np.ndarray:
    """[P, T] int32 token ids, the first token of each passage included."""
    with safe_open(FILE, "numpy") as file:
        return file.get_tensor("tokens").astype(np.int32)


@cache
def _spelling() -> dict[int, str]:
    """The tokenizer's own spelling of each id."""
    words = json.loads((FILE.parent / "tokenizer.json").read_text("utf-8"))
    return {i: piece for piece, i in words["model"]["vocab"].items()}


def _line(pieces: list[bytes]) -> tuple[str, np.ndarray]:
    """(text, [n, 2] characters that each run of bytes has a part in)."""
    text = b"".join(pieces).decode("utf-8", "surrogateescape")  # each broken byte is one sign
    ends = np.cumsum([len(piece) for piece in pieces])
    starts = ends - [len(piece) for piece in pieces]
    owner = np.repeat(
        np.arange(len(text)), [len(c.encode("utf-8", "surrogateescape")) for c in text]
    )
    shown = "".join("\ufffd" if "\ud800" <= c <= "\udfff" else c for c in text)
    return shown, np.stack([owner[starts], owner[ends - 1] + 1], axis=1)


def _bytes_of(piece: str) -> bytes:
    """The bytes behind a byte-level spelling."""
    return bytes(_BYTES[sign] for sign in piece)


def _byte_signs() -> dict[str, int]:
    """The sign that byte-level tokenizers write for each byte (Radford et al. 2019, GPT-2)."""
    plain = [*range(33, 127), *range(161, 173), *range(174, 256)]
    others = [byte for byte in range(256) if byte not in plain]
    return {chr(b): b for b in plain} | {chr(256 + n): b for n, b in enumerate(others)}


_BYTES = _byte_signs()
