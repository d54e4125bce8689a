"""What to see on the Capacity page: the rule's controls, and pictures of what it would drop."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import streamlit as st

from moeviz.charts import capacity as pictures
from moeviz.charts import capacity_words as words
from moeviz.charts.picture import Picture
from moeviz.metrics.load import layer_sizes
from moeviz.metrics.overflow import (
    CURVE_FACTORS,
    Demand,
    Overflow,
    chance_counts,
    demand,
    overflow,
    overflow_by_position,
    overflow_chance,
    overflow_curve,
)
from moeviz.rules.capacity import CapacityRule, windows
from moeviz.trace import RoutingTrace
from moeviz.ui import session
from moeviz.ui.closer import way_to_mute
from moeviz.ui.components import dial, heat_grid, packed, plot, token_strip, turned
from moeviz.ui.explore import MOST_BUTTONS
from moeviz.ui.figure import figure, take_pick
from moeviz.ui.links import set_view
from moeviz.ui.setting import HIGH, LOW, MOST_COUNT, STEP, Setting, changed, from_link
from moeviz.ui.terms import headline, inform, note
from moeviz.ui.view import View, layer_labels

GROUPS = {"all": "Whole text", "windows": "Windows"}
"""What tokens are counted together: whole text, or windows of so many."""

FIRST_WINDOW = 64
"""Tokens a window has when windows are first asked for."""


MOST_WAITING = 4_000_000
"""Choices of a trace whose queues are kept from one turn of the dial to the next; 8 bytes each."""


def current_setting() -> Setting:
    """The visitor's rule and devices; a link that was just opened brings its own."""
    state = st.session_state
    if "link_wish" in state:
        state["setting"] = from_link(state["link_wish"])
    return state.setdefault("setting", Setting())


def set_setting(wish: dict) -> None:
    """Change the rule or the devices; what makes no sense is passed over."""
    st.session_state["setting"] = changed(st.session_state["setting"], wish)


def sizes(trace: RoutingTrace, row: int) -> tuple[int, int, int]:
    """Tokens, and experts and choices of one layer."""
    experts, chosen = (int(x[row]) for x in layer_sizes(trace))
    return trace.shape[1], experts, chosen


def factor_dial(tokens: int, experts: int, chosen: int, rule: CapacityRule) -> None:
    """The slider of the capacity factor, with the capacity worked out below it."""
    name = words.CONVENTIONS[rule.convention]
    facts = {
        "name": "Capacity factor",
        "value": rule.factor,
        "low": LOW,
        "high": HIGH,
        "step": STEP,
        "off": "" if words.has_factor(rule) else f"{name} has none",
        "formula": words.formula(rule, tokens, experts, chosen),
        "answers": st.session_state.get("dial_answers", 0),
    }
    dial(facts, "dial", _take_turn)


def _take_turn() -> None:
    turn = turned("dial")
    set_setting({"factor": turn.get("value")})
    sent = turn.get("sent")
    st.session_state["dial_answers"] = sent if isinstance(sent, int) else 0


def toolbar(rule: CapacityRule) -> None:
    """Convention, priority and group; every choice in sight."""
    state = st.session_state
    state["convention"], state["priority"] = rule.convention, rule.priority
    state["grouping"] = "windows" if rule.group else "all"
    with st.container(horizontal=True, key="toolbar", gap="medium"):
        for name, label, choices in (
            ("convention", "Capacity counted as in", words.CONVENTIONS),
            ("priority", "Served first", words.PRIORITIES),
            ("grouping", "Counted over", GROUPS),
        ):
            st.segmented_control(
                label, list(choices), key=name, required=True, wrap=True,
                format_func=choices.get, on_change=_take_rule,
            )  # fmt: skip
        if rule.group:
            _count("window", "Tokens a window", rule.group, "group")
        if rule.convention == "absolute":
            _count("places", "Tokens an expert", rule.absolute, "absolute")


def layer_choice(trace: RoutingTrace, view: View) -> None:
    """Every routed layer as a button, or as a slider where there are many."""
    labels, state = layer_labels(trace), st.session_state
    state["layer"] = labels[view.row]

    def take() -> None:
        if state["layer"] in labels:
            set_view(trace, {"row": labels.index(state["layer"])})

    if len(labels) <= MOST_BUTTONS:
        st.segmented_control("Layer", labels, key="layer", required=True, wrap=True, on_change=take)
    else:
        st.select_slider("Layer", labels, key="layer", on_change=take)


def _take_rule() -> None:
    state = st.session_state
    group = state["setting"].rule.group or FIRST_WINDOW
    set_setting(
        {
            "convention": state["convention"],
            "priority": state["priority"],
            "group": group if state["grouping"] == "windows" else None,
        }
    )


def _count(key: str, label: str, value: int, name: str) -> None:
    st.session_state[key] = value
    st.number_input(
        label, min_value=1, max_value=MOST_COUNT, step=1, key=key, width=150,
        on_change=lambda: set_setting({name: st.session_state[key]}),
    )  # fmt: skip


def finding(trace: RoutingTrace, view: View, found: Overflow) -> None:
    """What the rule would drop in this layer, in one sentence, and that it is simulated."""
    row, rule = view.row, found.rule
    experts, chosen = (int(x[row]) for x in layer_sizes(trace))
    counts = _counts(trace.shape[1], experts, chosen, rule)
    chance = overflow_chance(trace.shape[1], experts, chosen, rule, counts=counts)
    labels = layer_labels(trace)
    with st.container(horizontal=True, vertical_alignment="center", gap="small", key="simulated"):
        st.badge("SIMULATED", color="orange", width="content")
        note(words.simulation_note(trace), width="content")
    headline(words.overflow_sentence(trace, row, labels[row], found, chance))


def figures(trace: RoutingTrace, view: View, found: Overflow) -> None:
    """The text with its drops, load against capacity, the curve, all layers, and the position."""
    row, rule = view.row, found.rule
    left, right = st.columns([3, 2], gap="medium")
    with left:
        _figure("drops", trace, rule, row, lambda: pictures.drops_strip(trace, row, found))
        _curve(trace, row, found)
        _figure("position", trace, rule, row, lambda: _position(trace, row, found))
    with right:
        _figure("loads", trace, rule, row, lambda: _load_bars(trace, row, found))
        way_to_mute(trace, row, view.expert)
        _figure("lost", trace, rule, -1, lambda: pictures.overflow_grid(trace, found))


def _figure(kind: str, trace: RoutingTrace, rule: CapacityRule, row: int, make) -> None:
    """A picture of the simulation; row -1 for one that is the same for all layers."""
    draw = {"drops": token_strip, "lost": heat_grid}.get(kind, plot)
    figure(kind, trace, (str(rule), row), lambda: _marked(make(), rule), draw)


def _marked(picture: Picture, rule: CapacityRule) -> Picture:
    """The picture with a mark in the page, so that it can be seen when all show a rule."""
    return replace(picture, meta={**picture.meta, "mark": str(rule)})


def _load_bars(trace: RoutingTrace, row: int, found: Overflow):
    tokens, rule = trace.shape[1], found.rule
    experts, chosen = (int(x[row]) for x in layer_sizes(trace))
    sizes = [part.stop - part.start for part in windows(tokens, rule)]
    places = sum(rule.capacity(size, experts, chosen) for size in sizes)
    low, high = np.quantile(_counts(tokens, experts, chosen, rule).sum(axis=0), (0.025, 0.975))
    return pictures.load_bars(trace, row, found, places, (float(low), float(high)))


def _position(trace: RoutingTrace, row: int, found: Overflow):
    parts = overflow_by_position(found.dropped[row : row + 1])[0]
    rate, priority = float(found.dropped[row].mean()), found.rule.priority
    return pictures.position_bars(trace, row, parts, rate, priority)


def _curve(trace: RoutingTrace, row: int, found: Overflow) -> None:
    rule = found.rule
    if not words.has_factor(rule):
        name = words.CONVENTIONS[rule.convention]
        inform(f"{name} has no capacity factor, so there is no curve over it.")
        return
    experts, chosen = (int(x[row]) for x in layer_sizes(trace))
    band = _band(trace.shape[1], experts, chosen, rule.convention, rule.group, rule)
    curve = _curve_of(trace.key, rule.convention, rule.group, trace, rule)

    def make():
        factors, dropless = CURVE_FACTORS, found.dropless_factor
        return pictures.overflow_lines(trace, row, rule, factors, curve, band, dropless)

    picture = session.drawn(
        "curve", trace.key, (str(rule), row), lambda: packed(_marked(make(), rule))
    )
    plot(picture, "curve", lambda: _take_factor(trace))


def _take_factor(trace: RoutingTrace) -> None:
    set_setting(take_pick(trace, "curve"))


@st.cache_resource(max_entries=16, scope="session", show_spinner=False)
def _overflow(key: str, rule_in_short: str, _trace: RoutingTrace, _rule: CapacityRule) -> Overflow:
    if _trace.experts.size > MOST_WAITING:
        return overflow(_trace, _rule)
    at_any_factor = replace(_rule, factor=1.0, absolute=1)
    return overflow(_trace, _rule, _demand(key, str(at_any_factor), _trace, _rule))


@st.cache_resource(max_entries=2, scope="session", show_spinner=False)
def _demand(key: str, rule_in_short: str, _trace: RoutingTrace, _rule: CapacityRule) -> Demand:
    return demand(_trace, _rule)


def found_under(trace: RoutingTrace, rule: CapacityRule) -> Overflow:
    """What the rule would drop; raises RuleError for a rule that does not fit the text."""
    return _overflow(trace.key, str(rule), trace, rule)


@st.cache_resource(max_entries=16, scope="session", show_spinner=False)
def _curve_of(
    key: str, convention: str, group: int | None, _trace: RoutingTrace, _rule: CapacityRule
) -> np.ndarray:
    return overflow_curve(_trace, _rule)


def _counts(tokens: int, experts: int, chosen: int, rule: CapacityRule) -> np.ndarray:
    return _random_counts(tokens, experts, chosen, rule.group)


@st.cache_resource(max_entries=32, show_spinner=False)
def _random_counts(tokens: int, experts: int, chosen: int, group: int | None) -> np.ndarray:
    return chance_counts(tokens, experts, chosen, CapacityRule(group=group))


@st.cache_resource(max_entries=64, show_spinner=False)
def _band(
    tokens: int, experts: int, chosen: int, convention: str, group: int | None, _rule: CapacityRule
) -> np.ndarray:
    """[F, 2] share that random routers lose at each factor of the curve, low and high."""
    counts = _counts(tokens, experts, chosen, _rule)
    rules = [CapacityRule(float(f), convention, group=group) for f in CURVE_FACTORS]
    found = [overflow_chance(tokens, experts, chosen, rule, counts=counts) for rule in rules]
    return np.array([(chance.low, chance.high) for chance in found])
