"""SGLang's side of the exchange: /generate of a server with --enable-return-routed-experts.

`meta_info.routed_experts` is the base64 of bare numbers, int32 unless `routed_experts_dtype` says
otherwise, flat, of logical shape [tokens - 1, hidden layers, K], with zeros for dense layers
(docs.sglang.io/docs/basic_usage/openai_api_completions, "Returning Routed Experts";
github.com/sgl-project/sglang pull requests 12162 and 17434,
test/registered/rl/test_return_routed_experts.py). Its OpenAI-like endpoint sends the same, but
no probabilities of the prompt, so /generate is asked.
"""

from __future__ import annotations

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
from moeviz.serving.sizes import Sizes
from moeviz.serving.wire import Limit, Server, ServerError, words

NAME = "SGLang"
FLAG = "python -m sglang.launch_server --model-path MODEL --enable-return-routed-experts"
"""What starts a server that can tell its routing."""

KINDS = {"int32": "<i4", "uint16": "<u2", "uint8": "u1"}
"""Number formats that the experts can be sent in, by the name that the server gives."""


def ask(server: Server, text: str, max_tokens: int, most: Limit, sizes: Sizes) -> Answer:
    """What the server tells of `text` and `max_tokens` tokens after it, within `most`."""
    body = {
        "text": text,
        "sampling_params": {"max_new_tokens": max_tokens, "temperature": 0},
        "return_logprob": True,
        "logprob_start_len": 0,
        "return_text_in_logprobs": True,
        "return_routed_experts": True,
    }
    return read(server.post("/generate", body, most), sizes)


def read(told: dict, sizes: Sizes) -> Answer:
    """The answer of /generate; raises ServerError, or MissingRouting without routing."""
    meta = part(told, "meta_info", dict)
    if meta.get("routed_experts") is None:
        raise MissingRouting
    before = part(meta, "input_token_logprobs", list)
    after = part(meta, "output_token_logprobs", list)
    tokens = [_token(each) for each in (*before, *after)]
    return Answer(
        ids=whole_numbers([token for _, token, _ in tokens], "tokens"),
        pieces=[piece(text) for _, _, text in tokens],
        prompt=len(before),
        written=piece(told.get("text")),
        scores=[score(value) for value, _, _ in tokens],
        experts=_experts(meta, len(tokens) - 1, sizes),
        engine=NAME,
    )


def _token(told: object) -> tuple[object, object, object]:
    """(log probability, id, text) of one token."""
    if not isinstance(told, list) or len(told) != 3:
        raise ServerError(f"A token of the answer is not its probability, id and text. {CUT_OFF}")
    return tuple(told)


def _experts(meta: dict, rows: int, sizes: Sizes) -> np.ndarray:
    """[T, hidden layers, K] from a flat array that does not tell its shape."""
    named = meta.get("routed_experts_dtype") or "int32"
    if not isinstance(named, str) or named not in KINDS:
        raise ServerError(f"The server sent experts as {words(str(named), 40)}, which is unknown.")
    kind, data = np.dtype(KINDS[named]), unpacked(meta["routed_experts"])
    need = rows * sizes.layers * sizes.chosen * kind.itemsize
    if len(data) != need or not rows:
        raise ServerError(
            f"The server sent {len(data):,} bytes of experts, but {rows:,} tokens, {sizes.layers} "
            f"layers and top {sizes.chosen} need {need:,}. The answer was cut off, or the "
            "configuration is not that of this model."
        )
    return np.frombuffer(data, kind).reshape(rows, sizes.layers, sizes.chosen)
