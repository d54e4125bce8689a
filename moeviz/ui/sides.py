"""The two runs that the Compare page sets side by side, whatever they are."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import streamlit as st

from moeviz.charts.words import model_name
from moeviz.corpora.emergence import load_emergence
from moeviz.corpora.passages import passage_choices, passage_tokens, passages_in
from moeviz.metrics.difference import check_comparable
from moeviz.metrics.runs import Run, prompt_and_generated, run_of
from moeviz.rules.words import short_count
from moeviz.trace import MoevizError, Provenance, RouterSpec, RoutingTrace
from moeviz.ui import session
from moeviz.ui.against import Against, partner
from moeviz.ui.at_hand import at_hand
from moeviz.ui.line import in_line

CONTINUATIONS = 4
"""Continuations kept in one session."""


@dataclass(frozen=True)
class Sides:
    """a and b: two runs whose experts are the same ones, or two traces of different models.

    linked: whether tokens of one may be the same piece of text as tokens of the other.
    """

    a: Run | RoutingTrace
    b: Run | RoutingTrace
    same_experts: bool = True
    linked: bool = True


def other_text(against: Against, text: str) -> str:
    """The text of side B, the page's own choice until the visitor made one."""
    return against.text or partner(text)


def two_moments(against: Against) -> Sides:
    """The demo model's passages at two moments of its training; needs no model."""
    places = passages_in(against.passages)
    tokens, choices, found = passage_tokens(places), passage_choices(places), load_emergence()
    router = RouterSpec(found.size, choices.shape[-1])
    layers = tuple(range(choices.shape[1]))
    runs = []
    for moment in against.moments:
        seen = int(found.seen[moment])
        name = f"after {short_count(seen)} tokens of training" if seen else "before training"
        source = Provenance(model="demo", revision=f"{seen} tokens")
        runs.append(Run(name, choices[moment], tokens, router, source, layers))
    return Sides(*runs)


def two_texts(trace: RoutingTrace, against: Against) -> Sides:
    """The text on screen and another one, read by the same model."""
    model, text = session.shown()
    other = other_text(against, text)
    session.check_text(other)
    if session.kept() and not at_hand(model):
        raise MoevizError(
            f"Reading another text needs the model {model_name(model)}, which is not on this "
            "machine. Load it with Change model, or compare with a saved trace."
        )
    again = session.text_trace(model, other)
    return Sides(run_of(trace, "your text"), run_of(again, "the other text"))


def prompt_and_rest(trace: RoutingTrace, against: Against, watch: Callable) -> Sides:
    """The text on screen and what the model writes after it; of a generation, its two parts."""
    if not trace.tokens.generated.any():
        trace = _continued(against, watch)
    return Sides(*prompt_and_generated(trace), linked=False)


def two_models(trace: RoutingTrace, against: Against) -> Sides:
    """The text on screen read by the model on screen and by another one that is loaded."""
    again = session.text_trace(against.model, trace.tokens.source)
    return _unlike(trace, again, against.kin)


def two_traces(trace: RoutingTrace, against: Against) -> Sides:
    """What is on screen and a kept trace."""
    kept = session.kept_traces().get(against.trace)
    if kept is None:
        raise MoevizError(
            "This link was made with a second trace that is not here. Open its file on side B."
        )
    return _unlike(trace, kept.trace, trace.source.model == kept.trace.source.model or against.kin)


def _unlike(trace: RoutingTrace, other: RoutingTrace, kin: bool) -> Sides:
    if not kin:
        return Sides(trace, other, same_experts=False)
    check_comparable(trace, other)
    names = (
        model_name(run.source.model) + (f" ({run.source.rule})" if run.source.rule else "")
        for run in (trace, other)
    )
    return Sides(*(run_of(run, n) for run, n in zip((trace, other), names, strict=True)))


def _continued(against: Against, watch: Callable[[float], None]) -> RoutingTrace:
    """The text on screen with what the model writes next at temperature 1."""
    model, text = session.shown()
    if session.kept():
        raise MoevizError(
            "This trace holds no generated tokens. Go back to the text, and the model can "
            "continue it."
        )
    found = st.session_state.setdefault("continuations", {})
    mark = (model, session.digest(text), against.new, against.seed)
    if mark not in found:
        found[mark] = _write(model, text, against, watch)
        while len(found) > CONTINUATIONS:
            del found[next(iter(found))]
    return found[mark]


def _write(model: str, text: str, against: Against, watch: Callable) -> RoutingTrace:
    from moeviz.models.generate import generate  # late: torch takes seconds

    session.check_new_tokens(against.new)
    settings = {"temperature": 1.0, "seed": against.seed, "logits": False}
    step = None
    with in_line():
        for step in generate(session.loaded(model), text, against.new, **settings):
            watch((step.number + 1) / against.new)
    return step.trace
