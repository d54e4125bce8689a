"""Routing of fixed passages at moments of a training run, from the file that the run left.

Layout of emergence.safetensors, for C moments, L layers, P passages of T tokens, K chosen:

    experts  [C, L, P, T, K] uint8   chosen expert ids, best first
    tokens   [P, T] uint16           the passages
    seen     [C] int64               tokens trained on until then
    loss     [C] float32             mean next-token loss on the passages, nats

and `languages` and `domains` in its metadata, JSON lists of length P. The model's config.json and
tokenizer.json stand beside it. Nothing in them is ever executed.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from safetensors import SafetensorError, safe_open

from moeviz.trace import RouterSpec, Tokens, TraceError

DEMO = Path(__file__).parent.parent / "demo_model" / "emergence.safetensors"


@dataclass(frozen=True, eq=False)
class Emergence:
    """Arrays as laid out above. spelled: the tokenizer's spelling by id; special: ids that stand
    for no text. router: of the model.
    """

    experts: np.ndarray
    ids: np.ndarray
    seen: np.ndarray
    loss: np.ndarray
    languages: tuple[str, ...]
    domains: tuple[str, ...]
    spelled: dict[int, str]
    special: frozenset[int]
    router: RouterSpec

    def passages(self, language: str = "") -> np.ndarray:
        """Places of the passages in `language`, "" for all."""
        wanted = [not language or own == language for own in self.languages]
        return np.flatnonzero(wanted)

    def tokens(self, passages: np.ndarray) -> Tokens:
        """The passages one after the other, each from a new line on; special tokens left out."""
        lines, spans, at = [], [], 0
        for ids in self.ids[passages]:
            text, own = _line([_bytes_of(self.spelled[int(i)]) for i in ids[self._plain(ids)]])
            lines.append(text)
            spans.append(own + at)
            at += len(text) + 1
        ids = self.ids[passages]
        ids = ids[self._plain(ids)].astype(np.int32)
        none = np.zeros(len(ids), bool)
        used = {int(i): self.spelled[int(i)] for i in np.unique(ids)}
        return Tokens("\n".join(lines), ids, np.concatenate(spans), none, none, used)

    def choices(self, passages: np.ndarray) -> np.ndarray:
        """[C, L, T, K] int16, who was chosen for the T tokens of `tokens` at every moment."""
        plain = self._plain(self.ids[passages])
        return self.experts[:, :, passages][:, :, plain].astype(np.int16)

    def _plain(self, ids: np.ndarray) -> np.ndarray:
        return ~np.isin(ids, list(self.special))


def open_emergence(path: str | Path = DEMO) -> Emergence:
    """The record in the file, the demo model's own by default; raises TraceError for another."""
    path = Path(path)
    try:
        with safe_open(path, framework="numpy") as file:
            arrays = {name: file.get_tensor(name) for name in ("experts", "tokens", "seen", "loss")}
            labels = {n: tuple(json.loads(file.metadata()[n])) for n in ("languages", "domains")}
        config = json.loads((path.parent / "config.json").read_text("utf-8"))
        words = json.loads((path.parent / "tokenizer.json").read_text("utf-8"))
    except (SafetensorError, OSError, KeyError, TypeError, json.JSONDecodeError) as error:
        raise TraceError(f"{path.name} is not a record of a training run: {error}.") from error
    added = {token["id"]: token["content"] for token in words["added_tokens"]}
    return Emergence(
        experts=arrays["experts"],
        ids=arrays["tokens"],
        seen=arrays["seen"],
        loss=arrays["loss"],
        **labels,
        spelled={**{i: piece for piece, i in words["model"]["vocab"].items()}, **added},
        special=frozenset(added),
        router=RouterSpec(config["num_local_experts"], config["num_experts_per_tok"]),
    )


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
