"""A text to a vLLM or SGLang server, its routing back as a trace."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np

from moeviz.serving import sglang, vllm
from moeviz.serving.answer import Answer, MissingRouting, part
from moeviz.serving.pieces import place_tokens
from moeviz.serving.sizes import HOW, Sizes, find_config, sizes_of
from moeviz.serving.wire import SHORT, Limit, Server, ServerError, server_at, words
from moeviz.store.arrays import routing_from
from moeviz.trace import RoutingTrace, Tokens

KINDS = {"vllm": vllm, "sglang": sglang}
"""Servers that can be asked, by the name in `kind` and in their own list of models."""

PATIENCE = 60.0
"""Seconds that a server may take for one answer, unless the caller says otherwise."""

MOST = 128 * 1024**2
"""Bytes of the largest answer that is read: some 60,000 tokens of 48 layers and top 8."""

MOST_WRITTEN = 4096
"""Tokens that a server may be asked to write."""


def ask_server(
    url: str,
    text: str,
    model: str | None = None,
    kind: str = "auto",
    max_tokens: int = 1,
    timeout: float = PATIENCE,
    config: str | Path | Mapping | None = None,
    send_key: bool = True,
) -> RoutingTrace:
    """What the model on a server does with `text`: its choices, without gates and logits.

    url: of the server, such as "http://localhost:8000". model: one of those it serves, the first
    unless given. kind: "vllm", "sglang", or "auto", which takes the server's word for it.
    max_tokens: the server writes so many after the text. What it writes last is never read and
    has no routing, so with 1, the least that servers accept, the trace is of the text alone.
    timeout: seconds for each of two or three exchanges. config: where the configuration of the
    model is, when the server's name for it is no hub id: a hub id, folder, config.json or dict.
    send_key: send MOEVIZ_API_KEY of the environment, where it is set.

    The server must have been started with --enable-return-routed-experts. The text goes to it and
    nowhere else. Raises ServerError for whatever cannot be asked or was not answered as it should
    be, TraceError for routing that cannot be true.
    """
    _check_wish(text, kind, max_tokens)
    server = server_at(url, timeout, send_key)
    name, kind = _served(server, model, kind)
    sizes = _sizes(server, name, kind, config)
    most = expected(len(text.encode()) + max_tokens, sizes)
    try:
        if kind == "vllm":
            answer = vllm.ask(server, name, text, max_tokens, most)
        else:
            answer = sglang.ask(server, text, max_tokens, most, sizes)
    except MissingRouting as error:
        raise ServerError(
            f"{server.url} answers without routed experts. Start it with: {KINDS[kind].FLAG}."
        ) from error
    return as_trace(answer, text, words(name, 200), sizes)


def expected(tokens: int, sizes: Sizes) -> Limit:
    """The most that an answer about so many tokens can have.

    Six bytes hold an expert id, in base64 of int32 or as text in a list, and 600 what is said of
    a token besides.
    """
    each = 6 * sizes.layers * sizes.chosen + 600
    return Limit(min(MOST, SHORT + tokens * each), 1000 + tokens * (sizes.layers + 8))


def as_trace(answer: Answer, text: str, model: str, sizes: Sizes) -> RoutingTrace:
    """The trace of an answer about `text`; raises TraceError where its routing cannot be true."""
    rows = len(answer.experts)
    if rows < answer.prompt or not len(answer.ids) - 1 <= rows <= len(answer.ids):
        raise ServerError(
            f"The server sent the routing of {rows:,} tokens, but the text has {answer.prompt:,} "
            f"and {len(answer.ids) - answer.prompt:,} were written. It may keep the beginning in a "
            "cache: try again, or start it without prefix caching."
        )
    rows = min(rows, len(answer.ids) - 1)
    tokens = _tokens(answer, text, rows)
    trace = routing_from(
        answer.experts[:rows],
        sizes.experts,
        tokens=tokens,
        layers=_places(answer.experts, sizes),
        chosen=sizes.chosen,
        model=model,
        engine=answer.engine,
    )
    source = replace(trace.source, model_type=sizes.model_type)
    return replace(trace, source=source, loss=_loss(answer, rows))


def _tokens(answer: Answer, text: str, rows: int) -> Tokens:
    """The tokens that have a row, placed in the text and, where it matters, what came after."""
    count, whole = answer.prompt, text
    if rows > answer.prompt:
        count, whole = len(answer.ids), text + answer.written.removeprefix(text)
    return place_tokens(answer.ids[:count], answer.pieces[:count], whole, answer.prompt, rows)


def _places(experts: np.ndarray, sizes: Sizes) -> tuple[int, ...] | None:
    """The routed layers, None where the configuration does not know them."""
    routed = "" if sizes.routed is None else f", {len(sizes.routed)} of them routed"
    if experts.shape[1] not in (sizes.layers, len(sizes.routed or ())):
        raise ServerError(
            f"The server sent {experts.shape[1]} layers, but by its configuration the model has "
            f"{sizes.layers}{routed}. {HOW}"
        )
    return sizes.routed


def _loss(answer: Answer, rows: int) -> np.ndarray | None:
    """[T] nats needed for the token after each, nan for the last; None where one is not known."""
    scores = answer.scores[1:rows]
    if not scores or any(value is None for value in scores):
        return None
    return np.array([*(-value for value in scores), np.nan], np.float32)


def _check_wish(text: str, kind: str, max_tokens: int) -> None:
    if not text.strip():
        raise ServerError("There is no text. Paste or type something first.")
    if any("\ud800" <= character <= "\udfff" for character in text):
        raise ServerError("The text holds broken characters (lone surrogates). Paste it as UTF-8.")
    if kind not in ("auto", *KINDS):
        raise ServerError(f"kind must be auto, {' or '.join(KINDS)}, not {kind!r}.")
    if not 1 <= max_tokens <= MOST_WRITTEN:
        raise ServerError(f"max_tokens must be 1 to {MOST_WRITTEN:,}, not {max_tokens:,}.")


def _served(server: Server, model: str | None, kind: str) -> tuple[str, str]:
    """(name of the model, kind of the server), from the server's own list of models."""
    listed = [each for each in part(server.get("/v1/models"), "data", list)
              if isinstance(each, dict) and isinstance(each.get("id"), str)]  # fmt: skip
    names = [each["id"] for each in listed]
    if not names or (model is not None and model not in names):
        served = ", ".join(words(name, 100) for name in names[:5]) or "nothing"
        raise ServerError(f"{server.url} serves {served}, not {model or 'any model'}.")
    found = listed[0] if model is None else listed[names.index(model)]
    if kind == "auto":
        kind = str(found.get("owned_by"))
        if kind not in KINDS:
            raise ServerError(
                f"{server.url} does not say that it is a vLLM or SGLang server. If it is one, "
                "name its kind: vllm or sglang."
            )
    return found["id"], kind


def _sizes(server: Server, name: str, kind: str, config: str | Path | Mapping | None) -> Sizes:
    """Layers and experts of the served model; raises ServerError where nobody can tell."""
    found, called = find_config(config) if config is not None else _told(server, name)
    if found is None and config is None:
        found, called = _told(server, _path_of(server, name, kind))
    if found is None:
        raise ServerError(
            "A server does not say how many layers and experts its model has, and no configuration "
            f"of {words(str(config or name), 200)} was found here or on the hub. {HOW}"
        )
    return sizes_of(found, called)


def _told(server: Server, name: str) -> tuple[Mapping | None, str]:
    """The configuration of a model as the server calls it: a hub id, or a folder on its machine,
    which is only looked for where that is ours."""
    called = words(name, 200)
    if name.startswith(("/", "~", ".")) and not server.here:
        return None, called
    return find_config(name)[0], called


def _path_of(server: Server, name: str, kind: str) -> str:
    """Where the server loaded its model from; "" where it does not say."""
    try:
        if kind == "sglang":
            return part(server.get("/get_model_info"), "model_path", str)
        listed = part(server.get("/v1/models"), "data", list)
        return next(part(each, "root", str) for each in listed if each.get("id") == name)
    except (ServerError, StopIteration, AttributeError):
        return ""
