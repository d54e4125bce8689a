"""One visitor's continuation: what is written so far, and what of it the screen has seen."""

from __future__ import annotations

import secrets
import time
from collections import deque
from collections.abc import Callable

from streamlit.runtime import exists, get_instance
from streamlit.runtime.scriptrunner import get_script_run_ctx

from moeviz.charts.reel import Reel, reel_picture
from moeviz.metrics.running import RunningOverflow, RunningRate
from moeviz.rules.capacity import CapacityRule, RuleError
from moeviz.trace import RoutingTrace, layer_names
from moeviz.ui import session
from moeviz.ui.components import packed
from moeviz.ui.draft import Draft
from moeviz.ui.line import visitor
from moeviz.ui.writing import Writing

OVERLAP = 3.0
"""Seconds of steps that every packet repeats, so that a lost one leaves no gap."""


class Live:
    """A continuation with all that its page shows. row, step: where the visitor stands (layer of
    the trace; step, None for the newest). trace: of the finished text. ticking: whether the page
    looks again by itself. history: the running overflow after each row read, None while the text
    is shorter than a group.
    """

    def __init__(self, model: str, draft: Draft, writing: Writing, reel: Reel):
        self.model, self.draft, self.writing, self.reel = model, draft, writing, reel
        self.row, self.step = len(reel.layers) // 2, None
        self.trace: RoutingTrace | None = None
        self.ticking = False
        self.history: list[RunningRate | None] = []
        self._counted: RunningOverflow | None = None
        self._seen: deque[tuple[float, int]] = deque()
        self._still = b""

    @property
    def state(self) -> str:
        if self.writing.running:
            return "running"
        return "finished" if self.writing.finished else "paused"

    def collect(self) -> None:
        """Take over the steps that were made since the last time."""
        for step in self.writing.collect():
            self.reel.add(step)
            if step.trace is not None:
                self.trace, self.reel.trace = step.trace, step.trace.key

    def send_all_again(self) -> None:
        """The next packet starts at the first step: the screen may have lost what it knew."""
        self._seen.clear()
        self._still = b""

    def packet(self) -> bytes:
        """What the screen needs to be up to date; the same bytes again while nothing happens."""
        if self.state == "running":
            self._still = b""
            return self._packed(self._since())
        self._still = self._still or self._packed(0)
        return self._still

    def _since(self) -> int:
        """The number of steps that a screen of OVERLAP seconds ago knew."""
        now = time.monotonic()
        self._seen.append((now, len(self.reel.ids)))
        while len(self._seen) > 1 and self._seen[1][0] < now - OVERLAP:
            self._seen.popleft()
        old, count = self._seen[0]
        return count if old < now - OVERLAP else 0

    def _packed(self, since: int) -> bytes:
        return packed(reel_picture(self.reel, since, self.row, self.step, self.state))

    def count_under(self, rule: CapacityRule) -> None:
        """Bring `history` up to the newest step; another rule counts all steps anew."""
        if self.reel.read is None:
            return
        if self._counted is None or self._counted.rule != rule:
            self._counted, self.history = RunningOverflow(rule, *self.reel.sizes), []
            self._counted.add(*self.reel.read)
        for place in range(len(self.history), len(self.reel.rows)):
            if place:  # row 0 is the last of the prompt
                self._counted.add(*self.reel.rows_after(place, place + 1))
            self.history.append(self._rate())

    def _rate(self) -> RunningRate | None:
        try:
            return self._counted.now()
        except RuleError:
            return None


def begin(model: str, draft: Draft) -> Live:
    """Start to write; raises MoevizError for a prompt or a model that does not allow it."""
    session.check_text(draft.prompt)
    session.check_new_tokens(draft.most)
    loaded = session.loaded(model)
    from moeviz.models.generate import generate  # late: torch takes seconds
    from moeviz.models.inputs import encode

    writing = Writing(
        lambda stop: generate(
            loaded, draft.prompt, draft.most, draft.temperature, draft.top_p, draft.seed, stop=stop
        ),
        connected(),
        visitor(),
    )
    sites = tuple(site.layer for site in loaded.sites if site.stack == "decoder")
    prompt = encode(loaded.tokenizer, draft.prompt)
    reel = Reel(secrets.token_hex(6), model, prompt, loaded.routers["decoder"], layer_names(sites))
    writing.go_on()
    return Live(model, draft, writing, reel)


def connected() -> Callable[[], bool]:
    """Whether this visitor is still there; asked from another thread."""
    context = get_script_run_ctx()
    visitor = context.session_id if context else ""
    return lambda: not exists() or get_instance().is_active_session(visitor)
