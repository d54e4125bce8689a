"""Measures of a trace that several figures share, each taken once in a session."""

from __future__ import annotations

import numpy as np
import streamlit as st

from moeviz.charts.layers import LayerFacts
from moeviz.metrics.balance import BalanceChance, balance, balance_chance
from moeviz.metrics.load import (
    Load,
    LoadChance,
    expert_load,
    filled_tokens,
    layer_sizes,
    load_chance,
)
from moeviz.metrics.repetition import repetition, shuffled_repetition
from moeviz.metrics.router import has_logits, router_entropy, top_probability
from moeviz.metrics.selection import selected
from moeviz.trace import RoutingTrace

Scope = tuple[int, int] | None
"""First and last token of a selection; None for all tokens."""


def part_of(trace: RoutingTrace, scope: Scope) -> RoutingTrace:
    """The trace of the selected tokens only."""
    return trace if scope is None else selected(trace, *scope)


def load_of(trace: RoutingTrace, scope: Scope = None) -> Load:
    """`expert_load` of the selected tokens."""
    return _load(trace.key, scope, trace)


def top_of(trace: RoutingTrace) -> float:
    """`top_probability` of the trace."""
    return _top(trace.key, trace)


def layer_chance(trace: RoutingTrace, row: int, scope: Scope = None) -> LoadChance:
    """`load_chance` of one layer, for the selected tokens."""
    experts, chosen = (int(x[row]) for x in layer_sizes(trace))
    return _load_chance(filled_tokens(load_of(trace, scope), chosen, row), experts, chosen)


def same_chance(trace: RoutingTrace) -> LoadChance | None:
    """The `layer_chance` of every layer; None where layers differ in their sizes or drops."""
    load = load_of(trace)
    alike = [len(set(x.tolist())) == 1 for x in (*layer_sizes(trace), load.assignments)]
    return layer_chance(trace, 0) if all(alike) else None


def layer_facts(trace: RoutingTrace, scope: Scope = None) -> LayerFacts:
    """Balance, doubt and repetition of every layer, over the selected tokens."""
    return _layer_facts(trace.key, scope, trace)


@st.cache_resource(max_entries=32, scope="session", show_spinner=False)
def _load(key: str, scope: Scope, _trace: RoutingTrace) -> Load:
    return expert_load(part_of(_trace, scope))


@st.cache_resource(max_entries=16, scope="session", show_spinner=False)
def _top(key: str, _trace: RoutingTrace) -> float:
    return top_probability(_trace)


@st.cache_resource(max_entries=256, show_spinner=False)
def _load_chance(tokens: int, experts: int, chosen: int) -> LoadChance:
    return load_chance(tokens, experts, chosen)


@st.cache_resource(max_entries=256, show_spinner=False)
def _balance_chance(tokens: int, experts: int, chosen: int) -> BalanceChance:
    return balance_chance(tokens, experts, chosen)


@st.cache_resource(max_entries=8, scope="session", show_spinner=False)
def _layer_facts(key: str, scope: Scope, _trace: RoutingTrace) -> LayerFacts:
    part, load = part_of(_trace, scope), load_of(_trace, scope)
    sizes = [(int(e), int(k)) for e, k in zip(*layer_sizes(part), strict=True)]
    rows = range(len(sizes))
    doubt = [router_entropy(part, r).mean() if has_logits(part, r) else np.nan for r in rows]
    with np.errstate(invalid="ignore"):  # a layer may have dropped every selected token
        found = balance(part)
    return LayerFacts(
        balance=found,
        chance=tuple(
            _balance_chance(filled_tokens(load, k, row), e, k) for row, (e, k) in enumerate(sizes)
        ),
        doubt=np.array(doubt),
        repeat=repetition(part),
        order=shuffled_repetition(part),
        ranked=part.ranked,
    )
