"""What to see on the Lab page: the algorithms' controls, and what each makes of one layer."""

from __future__ import annotations

import pandas as pd
import streamlit as st

from moeviz.charts import lab as pictures
from moeviz.charts import lab_words as words
from moeviz.metrics.balance import balance_chance
from moeviz.metrics.load import LoadChance, layer_sizes, load_chance
from moeviz.metrics.rerouted import Rerouted, own_route, rerouted_layer
from moeviz.metrics.router import router_logits
from moeviz.rules.assignment import Assignment
from moeviz.rules.routing import ALGORITHMS, RoutingRule
from moeviz.trace import MoevizError, RoutingTrace
from moeviz.ui.capacity import layer_choice
from moeviz.ui.components import dial, heat_grid, plot, turned
from moeviz.ui.figure import figure, take_pick
from moeviz.ui.lab_setting import LIMITS, Lab, changed, from_link, group_choices
from moeviz.ui.markdown import plain
from moeviz.ui.sheets import sheet
from moeviz.ui.terms import headline, inform, note
from moeviz.ui.view import View, layer_labels

LABELS = {
    "chosen": "Experts a token (K)",
    "factor": "Capacity factor (CF)",
    "noise": "Noise, in logits",
    "groups": "Groups",
    "kept": "Groups kept",
    "speed": "Bias speed",
    "steps": "Balancing steps",
    "temperature": "Temperature",
    "seed": "Seed",
}
"""What each setting is called on screen."""

STEPS = {"factor": 0.25, "noise": 0.25, "speed": 0.0005, "steps": 50, "temperature": 0.1}
"""How far one press of + or - goes, where it is not 1."""


def current_lab() -> Lab:
    """The visitor's algorithms and settings; a link that was just opened brings its own."""
    state = st.session_state
    if "link_wish" in state:
        state["lab"] = from_link(state["link_wish"])
    return state.setdefault("lab", Lab())


def set_lab(wish: dict) -> None:
    """Change the algorithms or their settings; what makes no sense is passed over."""
    st.session_state["lab"] = changed(st.session_state["lab"], wish)


def toolbar(trace: RoutingTrace, view: View, lab: Lab) -> None:
    """Layer, algorithms, and the settings that have a say in those chosen."""
    with st.container(horizontal=True, key="toolbar", gap="medium"):
        layer_choice(trace, view)
        st.session_state["algorithms"] = list(lab.names)
        st.pills(
            "Beside the model's own route (one or two)", list(ALGORITHMS), key="algorithms",
            selection_mode="multi", wrap=True, format_func=words.NAMES.get,
            on_change=_take_algorithms,
        )  # fmt: skip
    for name in lab.names:
        note(words.meaning(name))
    used = dict.fromkeys(field for name in lab.names for field in ALGORITHMS[name])
    if used:
        with st.container(horizontal=True, key="settings", gap="small"):
            for field in used:
                _setting(trace, view.row, lab, field)


def _take_algorithms() -> None:
    """Keep the order in which they were chosen; a third one takes the place of the first."""
    wanted, before = st.session_state["algorithms"], st.session_state["lab"].names
    kept = [name for name in before if name in wanted]
    set_lab({"names": kept + [name for name in wanted if name not in before]})


def _setting(trace: RoutingTrace, row: int, lab: Lab, name: str) -> None:
    state, key = st.session_state, f"lab_{name}"
    value = getattr(lab.rule(lab.names[0], trace, row), name)
    experts = int(layer_sizes(trace)[0][row])

    def take() -> None:
        set_lab({name: state[key]})

    state[key] = value
    if name == "groups" and value in group_choices(experts):
        st.selectbox(LABELS[name], group_choices(experts), key=key, width=120, on_change=take)
        return
    low, high = LIMITS[name]
    high = min(high, experts) if name in ("chosen", "kept", "groups") else high
    whole = isinstance(value, int)
    st.number_input(
        LABELS[name], int(low) if whole else float(low),
        max(int(high), value) if whole else float(high), step=STEPS.get(name, 1), key=key,
        format="%d" if whole else "%.4g", width=170, on_change=take,
    )  # fmt: skip


def has_logits(trace: RoutingTrace, row: int) -> bool:
    """Whether the layer can be routed anew; says why where it cannot."""
    try:
        router_logits(trace, row)
    except MoevizError as error:
        inform(f"The lab needs the router's logits. {error}")
        return False
    return True


def results(trace: RoutingTrace, view: View, lab: Lab) -> list[Rerouted]:
    """Each chosen algorithm on the layer on screen; what does not fit says so and is left out."""
    found = []
    for name in lab.names:
        try:
            found.append(_rerouted(trace, view.row, lab.rule(name, trace, view.row)))
        except MoevizError as error:
            st.error(plain(f"{words.NAMES[name]}: {error}"))
    return found


def at_moment(trace: RoutingTrace, view: View, lab: Lab, found: list[Rerouted]) -> list[Rerouted]:
    """The results with loss-free balancing at the step on screen."""

    def then(each: Rerouted) -> Rerouted:
        history = each.assignment.balancing
        if history is None or lab.moment is None or lab.moment >= len(history.bias) - 1:
            return each
        return rerouted_layer(trace, view.row, each.rule, history.bias[lab.moment])

    return [then(each) for each in found]


def finding(trace: RoutingTrace, view: View, found: list[Rerouted]) -> None:
    """What each algorithm would change, in a sentence, and that it is simulated."""
    own, label = own_route(trace, view.row), layer_labels(trace)[view.row]
    with st.container(horizontal=True, vertical_alignment="center", gap="small", key="simulated"):
        st.badge("SIMULATED", color="orange", width="content")
        note("The same router logits under other rules. The model itself ran as it is.")
    if trace.router.scoring not in ("softmax", "sigmoid"):
        note(
            "This model weighs experts in a way of its own; what other rules would choose is "
            "shown with softmax weights."
        )
    if trace.router.bias:
        note(
            "This model adds something to its logits before it chooses (a bias, groups), so token "
            "choice on the logits alone is not quite its own route."
        )
    for each in found:
        headline(words.rerouted_sentence(each, own, label))


def grids(trace: RoutingTrace, view: View, lab: Lab, found: list[Rerouted]) -> None:
    """The model's own route and each algorithm's, side by side on the same scales."""
    row, own = view.row, own_route(trace, view.row)
    shown = [own, *(each.assignment for each in found)]
    chances = [_load_chance(trace, row, made) for made in shown]
    high = max(max(float(made.weights.max()) for made in shown), 1e-6)
    shares = [made.load.max() / max(1, made.load.sum()) for made in shown]
    top = max(*shares, *(chance.high for chance in chances))
    columns = st.columns(len(shown), gap="small")
    scale = (row, round(high, 6), round(float(top), 6))
    with columns[0]:
        figure(
            "own_route", trace, scale,
            lambda: pictures.own_grid(trace, row, own, chances[0], high, top), heat_grid,
        )  # fmt: skip
    for place, each in enumerate(found):
        with columns[place + 1]:
            _assignment(trace, row, each, chances[place + 1], place, lab.moment, scale)


def _assignment(
    trace: RoutingTrace, row: int, found: Rerouted, chance: LoadChance, place: int, moment, scale
) -> None:
    options = (str(found.rule), moment if found.rule.name == "loss-free" else None, *scale)
    own, (_, high, top) = own_route(trace, row), scale
    figure(
        f"route_{place}", trace, options,
        lambda: pictures.assignment_grid(trace, row, found, own, chance, high, top), heat_grid,
    )  # fmt: skip


def balancing(trace: RoutingTrace, view: View, lab: Lab, found: list[Rerouted]) -> None:
    """MaxVio over the steps of loss-free balancing, and a slider that goes through them."""
    history = next((f.assignment.balancing for f in found if f.assignment.balancing), None)
    if history is None:
        return
    last = len(history.max_violation) - 1
    moment = last if lab.moment is None else min(lab.moment, last)
    rule = next(f.rule for f in found if f.rule.name == "loss-free")
    facts = {
        "name": "Balancing step",
        "value": moment,
        "low": 0,
        "high": last,
        "step": 1,
        "digits": 0,
        "marks": [round(last * part / 4) for part in range(5)],
        "off": "",
        "formula": "Drag to see the load even out, above and in the curve.",
        "answers": st.session_state.get("moment_answers", 0),
    }
    dial(facts, "moment_dial", _take_turn)
    chance = _violation_chance(trace, view.row, rule.chosen)
    figure(
        "balancing", trace, (view.row, str(rule), moment),
        lambda: pictures.balancing_lines(trace, view.row, history, moment, chance),
        lambda picture, key, _: plot(picture, key, lambda: set_lab(take_pick(trace, key))),
    )  # fmt: skip


def _take_turn() -> None:
    turn = turned("moment_dial")
    set_lab({"moment": turn.get("value")})
    sent = turn.get("sent")
    st.session_state["moment_answers"] = sent if isinstance(sent, int) else 0


def every_algorithm(trace: RoutingTrace, view: View, lab: Lab, parameters: int | None) -> None:
    """All algorithms on this layer, as a table. parameters: of one expert, None if not known."""
    st.header("All algorithms on this layer", anchor=False)
    own = own_route(trace, view.row)
    lines = [_line(words.OWN, own, None, parameters)]
    for name in ALGORITHMS:
        try:
            found = _rerouted(trace, view.row, lab.rule(name, trace, view.row))
        except MoevizError as error:
            lines.append({"Algorithm": words.NAMES[name], "Note": str(error)})
        else:
            lines.append(_line(words.NAMES[name], found.assignment, found, parameters))
    sheet(pd.DataFrame(lines), "algorithms", width="stretch", height="content",
                 column_config=_columns())  # fmt: skip
    note(
        "Each row is one way to share out the same tokens. Own choices kept stands beside what "
        "drawing as many experts at random would keep. Experts a token: rows that experts "
        "compute, over tokens. Not causal: needs the whole text, so a model cannot write with it."
    )


def _line(name: str, made: Assignment, found: Rerouted | None, parameters: int | None) -> dict:
    line = {
        "Algorithm": name,
        "MaxVio": made.max_violation,
        "Own choices kept": round(100 * found.kept) if found else 100,
        "By chance": words.band(found) if found else "",
        "Dropped": made.dropped,
        "Without an expert": made.left_out,
        "Experts a token": made.active,
        "Causal": "yes" if made.causal else "no",
    }
    if parameters is not None:
        line["Parameters a token"] = round(made.active * parameters)
    return line


def _columns() -> dict:
    column = st.column_config
    return {
        "MaxVio": column.NumberColumn(format="%.2f", help="Busiest expert over the mean, minus 1"),
        "Own choices kept": column.ProgressColumn(format="%d %%", min_value=0, max_value=100),
        "Experts a token": column.NumberColumn(format="%.2f"),
        "Parameters a token": column.NumberColumn(
            format="compact", help="Of this layer's experts, active for one token on average"
        ),
    }


@st.cache_resource(max_entries=64, scope="session", show_spinner=False)
def _found(key: str, row: int, rule_in_short: str, _trace: RoutingTrace, _rule: RoutingRule):
    return rerouted_layer(_trace, row, _rule)


def _rerouted(trace: RoutingTrace, row: int, rule: RoutingRule) -> Rerouted:
    return _found(trace.key, row, str(rule), trace, rule)


def _load_chance(trace: RoutingTrace, row: int, made: Assignment) -> LoadChance:
    """Random routers that make about as many choices as this algorithm."""
    chosen = min(made.experts, max(1, round(made.active)))
    return _chance(trace.shape[1], made.experts, chosen)


@st.cache_resource(max_entries=64, show_spinner=False)
def _chance(tokens: int, experts: int, chosen: int) -> LoadChance:
    return load_chance(tokens, experts, chosen)


def _violation_chance(trace: RoutingTrace, row: int, chosen: int) -> tuple[float, float]:
    return _violations(trace.shape[1], int(layer_sizes(trace)[0][row]), chosen)


@st.cache_resource(max_entries=64, show_spinner=False)
def _violations(tokens: int, experts: int, chosen: int) -> tuple[float, float]:
    return balance_chance(tokens, experts, chosen).max_violation
