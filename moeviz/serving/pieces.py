"""Where the tokens that a server names stand in the text that was sent."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from moeviz.trace import Tokens

BROKEN = "\ufffd"
"""What a decoder writes for the bytes of half a character."""


def place_tokens(
    ids: Sequence[int], pieces: Sequence[str], text: str, prompt: int, covered: int
) -> Tokens:
    """The first `covered` tokens, placed in `text`; those from `prompt` on were generated.

    pieces: the text of each token alone, as its tokenizer decodes it. Where they do not make up
    the text (a tokenizer that changes it first), no token has a place, and each shows its piece.
    """
    spans, special = _spans(pieces, text)
    spans, special = spans[:covered], special[:covered]
    whole = covered == len(ids) or not len(spans) or spans.max() < 0
    return Tokens(
        source=text if whole else text[: spans[:, 1].max()],
        ids=np.asarray(ids[:covered]),
        spans=spans,
        special=special,
        generated=np.arange(covered) >= prompt,
        vocabulary=dict(zip(ids[:covered], pieces[:covered], strict=True)),
    )


def _spans(pieces: Sequence[str], text: str) -> tuple[np.ndarray, np.ndarray]:
    """(spans [T, 2], special [T]); pieces of one character all carry that whole character."""
    spans, nowhere = np.full((len(pieces), 2), -1), np.full((len(pieces), 2), -1)
    special = np.zeros(len(pieces), bool)
    at, halves = 0, []
    for token, piece in enumerate(pieces):
        if not piece or (BROKEN in piece and not text.startswith(piece, at)):
            halves.append(token)
            continue
        start = _start(piece, text, at, len(halves))
        if start < 0:
            continue
        if halves and (start > at or at or not text[0].isascii()):
            spans[halves] = at, max(start, at + 1)
        spans[token] = start if halves else at, start + len(piece)
        at, halves = start + len(piece), []
    if halves and at < len(text):
        spans[halves], at = (at, len(text)), len(text)
    placed = np.flatnonzero(spans[:, 0] >= 0)
    if text[at:].strip() or (np.diff(placed) > 1).any():
        return nowhere, special
    special[spans[:, 0] < 0] = True  # before or after the text, put there by the tokenizer
    return spans, special


def _start(piece: str, text: str, at: int, halves: int) -> int:
    """Where `piece` begins, at `at` or after what `halves` tokens before it may cover; else -1."""
    if text.startswith(piece, at):
        return at
    if halves:
        return text.find(piece, at, at + 4 * halves + len(piece))
    while at < len(text) and text[at].isspace():  # some decoders drop a token's leading space
        at += 1
    return at if text.startswith(piece, at) else -1
