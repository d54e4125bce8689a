"""Runs with a rule in force, and what else only the model itself can tell."""

from __future__ import annotations

import math

from moeviz.charts.words import model_name
from moeviz.rules.capacity import CapacityRule
from moeviz.rules.interventions import Rule
from moeviz.trace import RoutingTrace
from moeviz.ui import session
from moeviz.ui.at_hand import at_hand
from moeviz.ui.memory import run_once
from moeviz.ui.served import WITHOUT_MODEL, on_server
from moeviz.ui.shelf import shelf


def enforced_trace(model: str, text: str, stack: str, rule: CapacityRule | Rule) -> RoutingTrace:
    """What `model` does with `text` while `rule` is in force; run once in a session.

    stack: "encoder" or "decoder", whichever the plain trace is of.
    """

    def run() -> RoutingTrace:
        from moeviz.models import trace_text  # late: torch takes seconds

        return trace_text(
            session.loaded(model), text, rule=rule, logits=False, truncate=True, stack=stack
        )

    return run_once(run, "enforced", model, stack, session.digest(text), str(rule))


def obstacle(trace: RoutingTrace) -> str:
    """Why a rule cannot be enforced on what is on screen, in one sentence; "" where it can."""
    if session.kept() is None:
        name = session.shown()[0]
        return WITHOUT_MODEL.format(name=name) if on_server(name) else ""
    if trace.source.rule:
        return f"This trace was made with a rule in force already: {trace.source.rule}."
    if not trace.tokens.source:
        return "This trace does not hold its text, so the model cannot read it again."
    if not at_hand(trace.source.model):
        return (
            f"Enforcing a rule needs the model, and {model_name(trace.source.model)} is not on "
            "this machine. Load it with Change model, and run the text there."
        )
    return ""


def hidden_size(name: str) -> float:
    """Values in one token's hidden state; nan where the model says none, or is not loaded."""
    if name not in shelf():
        return math.nan
    config = session.loaded(name).network.config
    return float(getattr(config.get_text_config(), "hidden_size", math.nan))
