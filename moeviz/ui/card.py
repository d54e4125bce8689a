"""What the model's router is, and the proofs that what is shown of it can be believed."""

from __future__ import annotations

from typing import TYPE_CHECKING

import streamlit as st

from moeviz.rules.words import short_count
from moeviz.trace import RoutingTrace
from moeviz.ui import session
from moeviz.ui.line import in_line
from moeviz.ui.markdown import plain
from moeviz.ui.terms import note, tell, warn

if TYPE_CHECKING:
    from moeviz.models.doctor import Diagnosis

MARKS = {"pass": "✅", "fail": "❌", "not applicable": "➖"}


def model_card(name: str) -> None:
    """A popover with the facts on the model's router; its proofs run when asked for."""
    with st.popover("Model card"):
        _facts(name)
        _proofs(name)


def trace_card(trace: RoutingTrace) -> None:
    """A popover with what a trace tells of itself; its model is not needed."""
    source, router = trace.source, trace.router.in_words(trace.layers)
    facts = [
        source.model_type,
        f"{source.dtype} on {source.device}" if source.dtype and source.device else source.dtype,
        f"revision {source.revision[:12]}" if source.revision else "",
        f"rule in force: {source.rule}" if source.rule else "",
        *(f"{name} {version}" for name, version in source.versions),
    ]
    with st.popover("About this trace"):
        st.markdown(f"**{plain(source.model)}**", width="content")
        note(" · ".join(fact for fact in facts if fact))
        tell(f"{router[0].upper()}{router[1:]}")
        note(f"Content key {trace.key}")


def _facts(name: str) -> None:
    model = session.loaded(name)
    st.markdown(f"**{plain(model.name)}**", width="content")
    facts = [
        model.model_type,
        f"{short_count(model.parameters)} parameters",
        f"{model.dtype} on {model.device}",
    ]
    if model.revision:
        facts.append(f"revision {model.revision[:12]}")
    if model.max_tokens:
        facts.append(f"texts up to {model.max_tokens:,} tokens")
    note(" · ".join(facts))
    for stack, router in model.routers.items():
        layers = tuple(site.layer for site in model.sites if site.stack == stack)
        which = "" if len(model.routers) == 1 else f"{stack}: "
        sentence = router.in_words(layers)
        tell(f"{which}{sentence[0].upper()}{sentence[1:]}")
    for sentence in model.warnings:
        warn(sentence)


@st.fragment
def _proofs(name: str) -> None:
    note(
        "Every model was tried on a short text when it loaded. The proofs go further: they take "
        "experts out, change tokens, pad and continue texts, and see whether what is shown "
        "follows."
    )
    wanted = f"prove {name}"
    if not st.session_state.get(wanted) and not st.button("Run the proofs"):
        return
    st.session_state[wanted] = True
    with st.spinner("Running the proofs"), in_line():
        found = _diagnosis(name, id(session.loaded(name)))
    for proof in found.proofs:
        st.markdown(f"{MARKS[proof.verdict]} **{plain(proof.claim)}**  \n{plain(proof.detail)}")


@st.cache_resource(max_entries=8, show_spinner=False)
def _diagnosis(name: str, loaded_as: int) -> Diagnosis:
    from moeviz.models.doctor import diagnose  # late: torch takes seconds

    return diagnose(session.loaded(name))
