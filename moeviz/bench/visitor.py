"""A visitor of the app without a browser: the same websocket, the same messages.

Thirty of them fit beside the server on two cores, where thirty browsers would be what is measured;
and every byte that the server sends to a visitor can be looked at. What a browser draws of it is
tested with Chromium. The messages are Streamlit's own (streamlit.proto), which may change with its
version: it is pinned.
"""

from __future__ import annotations

import json
import time
from contextlib import ExitStack
from urllib.parse import urlencode

from moeviz.trace import MoevizError

PATIENCE = 600
"""Seconds that a visitor waits for an answer."""


class Visitor:
    """One session of the app at `url`; close it, or use it in a `with`.

    received: everything it was ever sent, as bytes. elements: what is on the page, by key.
    ticking: the part of the page that looks again by itself, "" for none.
    """

    def __init__(self, url: str):
        from websockets.sync.client import connect  # late: a tool of tests and benchmarks

        address = url.replace("http", "ws", 1) + "/_stcore/stream"
        self._stack = ExitStack()
        self._socket = self._stack.enter_context(
            connect(address, subprotocols=["streamlit"], max_size=None, compression=None)
        )
        self.received: list[bytes] = []
        self.elements: dict[str, object] = {}
        self.ticking = ""
        self._fragments: dict[str, str] = {}
        self._values: dict[str, object] = {}
        self._page, self._pages, self._query = "", {}, ""

    def __enter__(self) -> Visitor:
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def open(self, page: str = "Explore", **query: str) -> float:
        """Seconds until the page of that title is drawn; whoever comes sees Explore first."""
        self._query = urlencode(query)
        self._page = self._pages.get(page, "")
        return self._run()

    def run_text(self, text: str) -> float:
        """Seconds from pressing Run on `text` until all is drawn."""
        self._put("text", string_value=text)
        return self._run(self._trigger("FormSubmitter:ask-Run"))

    def choose(self, key: str, option: str) -> float:
        """Seconds from the choice of a button in the group `key` until all is drawn."""
        self._put(key, string_array_value={"data": [option]})
        return self._run(fragment=self._fragments.get(key, ""))

    def look_again(self) -> float:
        """Seconds that one of the looks takes which the page takes by itself while `ticking`."""
        return self._run(fragment=self.ticking, auto=True)

    @property
    def picture(self) -> dict:
        """The header of the token strip on screen: its text in units, its trace's key."""
        data = self.elements["strip"].bytes
        return json.loads(data[4 : 4 + int.from_bytes(data[:4], "little")])

    @property
    def troubles(self) -> list[str]:
        """Errors on screen."""
        return [e.body for e in self.elements.values() if getattr(e, "format", None) == 1]

    def _put(self, key: str, **value: object) -> None:
        from streamlit.proto.WidgetStates_pb2 import WidgetState

        if key not in self.elements:
            raise MoevizError(f"There is no {key} on the page.")
        name = self.elements[key].id
        self._values[name] = WidgetState(id=name, **value)

    def _trigger(self, key: str):
        from streamlit.proto.WidgetStates_pb2 import WidgetState

        return WidgetState(id=self.elements[key].id, trigger_value=True)

    def _run(self, pressed: object = None, fragment: str = "", auto: bool = False) -> float:
        from streamlit.proto.BackMsg_pb2 import BackMsg

        message = BackMsg()
        wish = message.rerun_script
        wish.query_string, wish.page_script_hash = self._query, self._page
        wish.fragment_id, wish.is_auto_rerun = fragment, auto
        wish.widget_states.widgets.extend([*self._values.values(), *([pressed] if pressed else [])])
        if not fragment:
            self.elements.clear()  # the page is drawn anew
            self.ticking = ""
        start = time.perf_counter()
        self._socket.send(message.SerializeToString())
        while not self._take():
            pass
        return time.perf_counter() - start

    def _take(self) -> bool:
        """Take one message; whether the script has run to its end with it."""
        from streamlit.proto.ForwardMsg_pb2 import ForwardMsg

        data = self._socket.recv(timeout=PATIENCE)
        self.received.append(data)
        message = ForwardMsg.FromString(data)
        kind = message.WhichOneof("type")
        if kind == "delta":
            self._draw(message.delta)
        elif kind == "auto_rerun":
            self.ticking = message.auto_rerun.fragment_id
        elif kind == "navigation":
            self._pages = {p.page_name: p.page_script_hash for p in message.navigation.app_pages}
            self._page = message.navigation.page_script_hash
        elif kind == "page_info_changed":
            self._query = message.page_info_changed.query_string
        elif kind == "session_event" and message.session_event.script_compilation_exception:
            raise MoevizError("The app's script could not be run.")
        early = ForwardMsg.ScriptFinishedStatus.FINISHED_EARLY_FOR_RERUN
        return kind == "script_finished" and message.script_finished != early

    def _draw(self, delta: object) -> None:
        if delta.WhichOneof("type") != "new_element":
            return
        kind = delta.new_element.WhichOneof("type")
        element = getattr(delta.new_element, kind)
        key = getattr(element, "id", "").split("-", 2)[-1] or f"{kind} {len(self.elements)}"
        if kind == "exception":
            raise MoevizError(f"The app showed an error: {element.message}")
        self.elements[key], self._fragments[key] = element, delta.fragment_id
