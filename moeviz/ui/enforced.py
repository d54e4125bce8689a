"""Runs with a rule in force, and what else only the model itself can tell."""

from __future__ import annotations

import math

import streamlit as st

from moeviz.rules.capacity import CapacityRule
from moeviz.trace import RoutingTrace
from moeviz.ui import session


def enforced_trace(model: str, text: str, stack: str, rule: CapacityRule) -> RoutingTrace:
    """What `model` does with `text` when `rule` really drops; run once in a session.

    stack: "encoder" or "decoder", whichever the plain trace is of.
    """
    return _enforced(model, session.digest(text), stack, str(rule), text, rule)


@st.cache_resource(max_entries=4, scope="session", show_spinner=False)
def _enforced(
    model: str, digest_of_text: str, stack: str, rule_in_short: str, _text: str, _rule: CapacityRule
) -> RoutingTrace:
    from moeviz.models import trace_text  # late: torch takes seconds

    return trace_text(
        session.loaded(model), _text, rule=_rule, logits=False, truncate=True, stack=stack
    )


def hidden_size(model: str) -> float:
    """Values in one token's hidden state of a model that is loaded; nan where it says none."""
    config = session.loaded(model).network.config
    return float(getattr(config.get_text_config(), "hidden_size", math.nan))
