"""One exchange with a server: to one address, within a time and a size, JSON both ways.

What a server says is not trusted: it may be slow, endless, no JSON, or send us on elsewhere.
"""

from __future__ import annotations

import json
import os
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TypeVar

import httpx2

from moeviz.trace import MoevizError

KEY = "MOEVIZ_API_KEY"
"""Environment variable with the key that servers ask for. It is sent, and never shown."""

CONNECT = 5.0
"""Seconds to reach the server; what it then takes to answer is up to the caller."""

SHORT = 256 * 1024
"""Bytes of an answer that lists models or says what is wrong."""

CHUNK = 64 * 1024
"""Bytes taken from the wire between two looks at the clock."""

LOOPBACK = ("localhost", "127.0.0.1", "::1")
"""Names of this machine; what is said to them goes through no proxy."""

Result = TypeVar("Result")


class ServerError(MoevizError):
    """A server that cannot be asked, or an answer that is not what was asked for."""


@dataclass(frozen=True)
class Limit:
    """What an answer may have at most: bytes, and lists and objects within it."""

    bytes: int = SHORT
    containers: int = 10_000


@dataclass(frozen=True)
class Server:
    """Where to ask. url: without a slash or /v1 at its end. timeout: seconds for one exchange.

    key: sent with every request, "" for none; it is no part of what is printed.
    """

    url: str
    timeout: float
    key: str = field(default="", repr=False)

    @property
    def here(self) -> bool:
        """Whether the server is on this machine."""
        return httpx2.URL(self.url).host in LOOPBACK

    def get(self, path: str) -> dict:
        """The JSON object at `path`, a short one; raises ServerError for anything else."""
        return self._exchange("GET", path, None, Limit())

    def post(self, path: str, body: dict, most: Limit) -> dict:
        """The JSON object that answers `body`; raises ServerError for anything else."""
        return self._exchange("POST", path, body, most)

    def _exchange(self, method: str, path: str, body: dict | None, most: Limit) -> dict:
        end = time.monotonic() + self.timeout
        told = _within(
            self.timeout, self.url, lambda: self._answer(method, path, body, most.bytes, end)
        )
        return as_json(told, self.url, most)

    def _answer(self, method: str, path: str, body: dict | None, most: int, end: float) -> bytes:
        """The bytes of an answer that says it is good."""
        headers = {"Accept": "application/json", "Accept-Encoding": "identity"}
        if self.key:
            headers["Authorization"] = f"Bearer {self.key}"
        patience = httpx2.Timeout(self.timeout, connect=min(CONNECT, self.timeout))
        try:
            with (
                httpx2.Client(timeout=patience, trust_env=not self.here) as client,
                client.stream(method, f"{self.url}{path}", json=body, headers=headers) as answer,
            ):
                if answer.status_code != 200:
                    raise ServerError(self._refused(answer, path, end))
                return self._body(answer, most, end)
        except httpx2.TimeoutException as error:
            raise ServerError(_too_slow(self.url, self.timeout)) from error
        except (httpx2.TransportError, OSError) as error:
            raise ServerError(
                f"There is no answer at {self.url} ({words(str(error)) or type(error).__name__}). "
                "Is the server running, and is the address right?"
            ) from error

    def _body(self, answer: httpx2.Response, most: int, end: float) -> bytes:
        kind = answer.headers.get("content-type", "")
        if "json" not in kind:
            raise ServerError(
                f"{self.url} answered with {words(kind, 60) or 'something'} instead of JSON. Is "
                "this the address of a vLLM or SGLang server?"
            )
        if answer.headers.get("content-encoding", "identity") != "identity":
            raise ServerError(f"{self.url} packed its answer, although it was asked not to.")
        size = answer.headers.get("content-length", "")
        parts, total = [], int(size) if size.isdecimal() else 0
        if total <= most:
            total = 0
            for part in answer.iter_raw(CHUNK):
                parts.append(part)
                total += len(part)
                if total > most:
                    break
                if time.monotonic() > end:
                    raise ServerError(_too_slow(self.url, self.timeout))
        if total > most:
            raise ServerError(
                f"{self.url} sent more than {most:,} bytes, which is more than an answer to this "
                "text can have. Ask for a shorter text, and check that the address is right."
            )
        return b"".join(parts)

    def _refused(self, answer: httpx2.Response, path: str, end: float) -> str:
        """Why the server did not do what it was asked, in one sentence."""
        status = answer.status_code
        if 300 <= status < 400:
            to = words(answer.headers.get("location", ""), 200)
            return (
                f"{self.url} sends us on to {to or 'another address'}, which MoEViz does not "
                "follow. Give the server's own address."
            )
        if status in (401, 403):
            asked = f"does not take the key in {KEY}" if self.key else "asks for a key"
            return (
                f"{self.url} {asked} ({status}). Set {KEY} in the environment to a key that the "
                "server knows; the app sends it only to addresses that MOEVIZ_SERVERS names."
            )
        said = self._reason(answer, end)
        if status == 404 and not said:
            return (
                f"{self.url} has nothing at {path} (404). Is this the address of a vLLM or SGLang "
                "server?"
            )
        return f"{self.url} refused ({status}): {said or 'it does not say why'}."

    def _reason(self, answer: httpx2.Response, end: float) -> str:
        try:
            told = as_json(self._body(answer, SHORT, end), self.url, Limit())
        except ServerError:
            return ""
        inner = told.get("error")
        for place in (inner if isinstance(inner, dict) else {}, told):
            for name in ("message", "detail", "error"):
                if isinstance(place.get(name), str):
                    return words(place[name]).rstrip(".")
        return ""


def server_at(address: str, timeout: float, send_key: bool = True) -> Server:
    """The server at an address as people write it; raises ServerError for what is no address.

    send_key: send what MOEVIZ_API_KEY holds, if anything.
    """
    try:
        url = httpx2.URL(address.strip())
    except httpx2.InvalidURL as error:
        raise ServerError(f"{words(address, 200)} is not a web address.") from error
    if url.scheme not in ("http", "https") or not url.host:
        raise ServerError(
            f"{words(address, 200)} is not the address of a server. Addresses look like "
            "http://localhost:8000."
        )
    if url.userinfo:
        raise ServerError(f"Put no name or key into the address; set {KEY} in the environment.")
    if url.query or url.fragment:
        raise ServerError("The address of a server has no part after ? or #.")
    if not timeout > 0:
        raise ServerError(f"timeout must be more than 0 seconds, not {timeout:g}.")
    plain = str(url).rstrip("/").removesuffix("/v1").rstrip("/")
    key = os.environ.get(KEY, "").strip() if send_key else ""
    if not key.isascii() or not key.isprintable():
        raise ServerError(f"{KEY} holds characters that no key can have.")
    return Server(plain, timeout, key)


def as_json(data: bytes, url: str, most: Limit) -> dict:
    """The JSON object in `data`; raises ServerError for anything else.

    Ten bytes of brackets become a kilobyte of lists, so they are counted first.
    """
    if data.count(b"[") + data.count(b"{") > most.containers:
        raise ServerError(f"What {url} sent has more parts than an answer to this text can have.")
    try:
        told = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise ServerError(
            f"What {url} sent is not JSON: {words(str(error), 100)}. It may have been cut off."
        ) from error
    if not isinstance(told, dict):
        raise ServerError(f"What {url} sent is JSON, but not an answer.")
    return told


def words(said: str, most: int = 300) -> str:
    """What a server said as one line without control characters, cut after `most` characters."""
    line = " ".join("".join(c if c.isprintable() else " " for c in said[: 4 * most]).split())
    return line if len(line) <= most else f"{line[:most]}…"


def _too_slow(url: str, timeout: float) -> str:
    return (
        f"{url} did not answer in full within {timeout:g} seconds. Give it more time, or ask for "
        "a shorter text."
    )


def _within(seconds: float, url: str, work: Callable[[], Result]) -> Result:
    """What `work` hands back; raises ServerError when it takes longer.

    Time limits of sockets start anew with every byte, so a server that trickles could hold the
    caller for hours. The thread is left to end by those limits; nobody waits for it.
    """
    found: list[Result] = []
    trouble: list[Exception] = []

    def run() -> None:
        try:
            found.append(work())
        except Exception as error:  # handed on to the caller below
            trouble.append(error)

    thread = threading.Thread(target=run, name="ask a server", daemon=True)
    thread.start()
    thread.join(seconds)
    if trouble:
        raise trouble[0]
    if not found:
        raise ServerError(_too_slow(url, seconds))
    return found[0]
