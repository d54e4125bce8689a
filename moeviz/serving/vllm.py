"""vLLM's side of the exchange: /v1/completions of a server with --enable-return-routed-experts.

From 0.22 on a choice's `routed_experts` is the base64 of a .npy file [tokens - 1, hidden layers,
K], prompt and continuation together, the last token absent, with a slot for dense layers too
(docs.vllm.ai/en/latest/training/routed_experts; pull requests 38939 and 39568). 0.21 sent nested
lists instead, `prompt_routed_experts` of the prompt beside the choice's `routed_experts`, for
routed layers alone (docs.vllm.ai/en/v0.21.0/training/routed_experts_replay).
"""

from __future__ import annotations

import io

import numpy as np

from moeviz.serving.answer import (
    CUT_OFF,
    Answer,
    MissingRouting,
    part,
    piece,
    score,
    unpacked,
    whole_numbers,
)
from moeviz.serving.wire import Limit, Server, ServerError, words

NAME = "vLLM"
FLAG = "vllm serve MODEL --enable-return-routed-experts (vLLM 0.22 or newer)"
"""What starts a server that can tell its routing."""


def ask(server: Server, model: str, text: str, max_tokens: int, most: Limit) -> Answer:
    """What the server tells of `text` and `max_tokens` tokens after it, within `most`.

    `echo` with `logprobs` brings each token's text and probability; it also keeps the prefix
    cache out, whose tokens 0.21 sent without routing.
    """
    body = {
        "model": model,
        "prompt": text,
        "max_tokens": max_tokens,
        "temperature": 0,
        "echo": True,
        "logprobs": 0,
        "return_token_ids": True,
    }
    return read(server.post("/v1/completions", body, most))


def read(told: dict) -> Answer:
    """The answer of /v1/completions; raises ServerError, or MissingRouting without routing."""
    choices = part(told, "choices", list)
    choice = choices[0] if choices else {}
    experts = _experts(told, choice)
    prompt = whole_numbers(part(choice, "prompt_token_ids", list), "prompt_token_ids")
    after = whole_numbers(part(choice, "token_ids", list), "token_ids")
    spelled = part(choice, "logprobs", dict)
    pieces = [piece(each) for each in part(spelled, "tokens", list)]
    scores = [score(each) for each in part(spelled, "token_logprobs", list)]
    if not len(pieces) == len(scores) == len(prompt) + len(after):
        raise ServerError(
            f"The answer has {len(prompt) + len(after):,} token ids, but the texts of "
            f"{len(pieces):,} and the probabilities of {len(scores):,}. {CUT_OFF}"
        )
    fingerprint = told.get("system_fingerprint")
    version = words(fingerprint, 60).removeprefix("vllm-") if isinstance(fingerprint, str) else ""
    written = piece(choice.get("text"))
    return Answer(
        ids=[*prompt, *after],
        pieces=pieces,
        prompt=len(prompt),
        written=written,
        scores=scores,
        experts=experts,
        engine=f"{NAME} {version}".strip(),
    )


def _experts(told: dict, choice: object) -> np.ndarray:
    """[T, A, K] of whichever form was sent."""
    sent = choice.get("routed_experts") if isinstance(choice, dict) else None
    if sent is None:
        raise MissingRouting
    if isinstance(sent, str):
        return _npy(unpacked(sent))
    parts = [_nested(told.get("prompt_routed_experts")), _nested(sent)]
    parts = [rows for rows in parts if rows.size]
    if not parts or len({rows.shape[1:] for rows in parts}) > 1:
        raise ServerError(f"The experts of prompt and continuation do not fit together. {CUT_OFF}")
    return np.concatenate(parts)


def _nested(rows: object) -> np.ndarray:
    """Nested lists [T, L, K] as an array; raises ServerError for ragged or other ones."""
    if rows in (None, []):
        return np.zeros((0, 0, 0), np.int64)
    try:
        found = np.array(rows)
    except ValueError as error:
        raise ServerError(
            f"The server sent lists of experts of unequal length. {CUT_OFF}"
        ) from error
    if found.ndim != 3 or found.dtype.kind not in "iu":
        raise ServerError(
            "The server sent experts that are no whole numbers [tokens, layers, top-k]. " + CUT_OFF
        )
    return found


def _npy(data: bytes) -> np.ndarray:
    """The array of a .npy file; its header is believed only as far as there are bytes.

    np.load would first make room for whatever shape the header names.
    """
    file = io.BytesIO(data)
    try:
        version = np.lib.format.read_magic(file)
        header = {
            (1, 0): np.lib.format.read_array_header_1_0,
            (2, 0): np.lib.format.read_array_header_2_0,
        }[version]
        shape, fortran, kind = header(file)
    except (ValueError, KeyError, SyntaxError, RecursionError) as error:
        raise ServerError(
            f"The experts that the server sent are no .npy file. {CUT_OFF}"
        ) from error
    rest = data[file.tell() :]
    size = int(np.prod(shape, dtype=object))
    if len(shape) != 3 or kind.kind not in "iu" or size < 1:
        raise ServerError(
            f"The server sent an array of {kind} numbers and shape {shape}; whole numbers "
            "[tokens, layers, top-k] are needed."
        )
    if size * kind.itemsize != len(rest):
        raise ServerError(
            f"The server announced experts of shape {shape}, which take {size * kind.itemsize:,} "
            f"bytes, but sent {len(rest):,}. {CUT_OFF}"
        )
    return np.frombuffer(rest, kind).reshape(shape, order="F" if fortran else "C")
