"""What to see on the What-if page: the rule, what it costs, and searches over many rules."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import streamlit as st

from moeviz.charts import what_if as pictures
from moeviz.charts import what_if_words as words
from moeviz.charts.capacity import change_strip
from moeviz.charts.words import plural
from moeviz.metrics.compare import Comparison, ablations, control
from moeviz.rules.interventions import MaskGroups, Mute, Rule
from moeviz.rules.reading import parse_rule
from moeviz.trace import MoevizError, RoutingTrace
from moeviz.ui import draft, enforced, session, trials
from moeviz.ui import what_if_runs as runs
from moeviz.ui.ask import get_ready
from moeviz.ui.capacity import layer_choice
from moeviz.ui.closer import expert_shown
from moeviz.ui.components import packed, plot, ranked, token_strip
from moeviz.ui.draft import Draft
from moeviz.ui.figure import figure, take_pick
from moeviz.ui.house import most_new_tokens
from moeviz.ui.links import set_view
from moeviz.ui.markdown import plain
from moeviz.ui.terms import headline, inform, lead, note, tell
from moeviz.ui.view import View, first_view, layer_labels

LONGEST_RULE = 2000
"""Characters of a rule that are read from a link or the page."""

MOST_WRITTEN = 60
"""New tokens that are written with and without the rule."""

KINDS = {
    "mute": "Mute",
    "drop": "Mute, drop its output",
    "force": "Force",
    "up": "Steer up",
    "down": "Steer down",
    "k": "Change K",
    "temperature": "Temperature",
    "noise": "Noise",
    "random": "Random experts",
}
"""What can be done: the name, and the words on screen."""

MEANINGS = {
    "mute": "never chosen; its tokens go to the next best",
    "drop": "chosen as before, but its output counts nothing",
    "force": "always among the chosen",
    "up": "its logit is pushed above all others (SteerMoE); gates follow",
    "down": "its logit is pushed below all others (SteerMoE); gates follow",
    "k": "every token takes this many experts",
    "temperature": "router logits are divided by this: above 1 the gates get flatter",
    "noise": "Gaussian noise of this size on the router logits, seed 0",
    "random": "the control: experts drawn at random for every token, seed 0",
}

OF_EXPERT = ("mute", "drop", "force", "up", "down")
SCOPES = {"one": "This layer", "all": "All layers"}
WAYS = {"next": "Go to the next best", "drop": "Lose its output"}
"""What a sweep does with the tokens of the expert that is muted."""

NUMBERS = {"k": (1, 512, 1), "temperature": (0.05, 20.0, 2.0), "noise": (0.0, 50.0, 1.0)}
"""Lowest, highest and first value of what takes a number."""


def take_link() -> None:
    """Take over the rule, the prompt and the kind of sweep of a link that was just opened."""
    state = st.session_state
    if "link_wish" not in state:
        return
    wish = state["link_wish"]
    state["draft"] = draft.from_link(wish)
    state.pop("what_if", None)
    if "rule" in wish:
        state["what_if"] = wish["rule"][:LONGEST_RULE]
    state["swept_by"] = wish["swept"] if wish.get("swept") in WAYS else "next"


def current_rule(trace: RoutingTrace, view: View) -> str:
    """The visitor's rule in short. The first one mutes the expert that was picked on whatever page,
    or the busiest of the layer."""
    return st.session_state.setdefault("what_if", first_rule(trace, view))


def first_rule(trace: RoutingTrace, view: View) -> str:
    """Mute the picked expert of the layer on screen, or its busiest."""
    return f"mute {layer_labels(trace)[view.row]}:{expert_shown(trace, view)}"


def toolbar(trace: RoutingTrace, view: View) -> None:
    """Layer and expert, what to do with it, and the rule in short, which can be typed as well."""
    state = st.session_state
    state.setdefault("what", "mute")
    state.setdefault("where", "one")
    experts = runs.layer_sizes(trace)[view.row][1]
    state["which"] = expert_shown(trace, view)
    with st.container(horizontal=True, key="toolbar", gap="medium"):
        layer_choice(trace, view)
        st.segmented_control(
            "What to do", list(KINDS), key="what", required=True, wrap=True,
            format_func=KINDS.get,
        )  # fmt: skip
    note(f"{KINDS[state['what']]}: {MEANINGS[state['what']]}.")
    with st.container(horizontal=True, vertical_alignment="bottom", key="adding"):
        _subject(trace, state["what"], experts)
        st.segmented_control("Where", list(SCOPES), key="where", required=True,
                             format_func=SCOPES.get)  # fmt: skip
        st.button("Only this", type="primary", on_click=_take_part, args=(trace, view, False))
        st.button("Add to the rule", on_click=_take_part, args=(trace, view, True))


def _subject(trace: RoutingTrace, what: str, experts: int) -> None:
    """The expert, or the number, that the part is about."""
    state = st.session_state
    if what in OF_EXPERT:
        st.selectbox("Expert", range(experts), key="which", width=120,
                     on_change=lambda: set_view(trace, {"expert": state["which"]}))  # fmt: skip
    elif what in NUMBERS:
        low, high, first = NUMBERS[what]
        high = experts if what == "k" else high
        state[f"number_{what}"] = min(state.get(f"number_{what}", first), high)
        st.number_input(KINDS[what], low, high, key=f"number_{what}", width=150)


def _take_part(trace: RoutingTrace, view: View, add: bool) -> None:
    state = st.session_state
    what, layer = state["what"], layer_labels(trace)[view.row]
    here = layer if state["where"] == "one" else "*"
    at = f" @{layer}" if state["where"] == "one" else ""
    number, expert = state.get(f"number_{what}", 0), state.get("which", 0)
    part = {
        "mute": f"mute {here}:{expert}",
        "drop": f"mute {here}:{expert} drop",
        "force": f"force {here}:{expert}",
        "up": f"steer {here}:+{expert}",
        "down": f"steer {here}:-{expert}",
        "k": f"k={number}{at}",
        "temperature": f"temperature {number:g}{at}",
        "noise": f"noise {number:g} seed 0{at}",
        "random": f"random seed 0{at}",
    }[what]
    before = state.get("what_if", "").strip().rstrip(";")
    state["what_if"] = f"{before}; {part}" if add and before else part


def rule_in_short(text: str) -> Rule | None:
    """The rule `text` that can be typed, and its parts as chips to take out; None and a sentence
    where the text is no rule."""
    state = st.session_state
    state["what_if_field"] = text
    st.text_input("The rule in short", key="what_if_field", max_chars=LONGEST_RULE,
                  on_change=_take_text, help=HELP)  # fmt: skip
    try:
        rule = parse_rule(text)
    except MoevizError as error:
        st.error(plain(str(error)))
        return None
    if len(rule.parts) > 1:
        listed = [str(part) for part in rule.parts]
        state["parts"] = listed
        st.pills("Parts in force: click one to take it out", listed, key="parts",
                 selection_mode="multi", wrap=True, on_change=_take_out)  # fmt: skip
    if not rule:
        inform("No rule yet: choose what to do above, or type one.")
        return None
    return rule


HELP = (
    "Parts are joined by ;  —  mute 3:17 · mute 3:17 drop · force 3:17 · swap 3:17>4 token 5 · "
    "route 3:4,9 token 5 · mask 3:1 of 4 · k=1 @2 · temperature 0.5 · noise 1 seed 0 · "
    "steer 3:+17,-4 · random seed 0. Tokens are counted from 0."
)


def _take_text() -> None:
    st.session_state["what_if"] = st.session_state["what_if_field"]


def _take_out() -> None:
    st.session_state["what_if"] = "; ".join(st.session_state["parts"])


def results(trace: RoutingTrace, view: View, rule: Rule) -> View:
    """The rule in force: what it costs, which tokens pay, and what is predicted instead.

    Hands back the view: at first it goes to the token whose prediction changed most.
    """
    why_not = enforced.obstacle(trace)
    if why_not:
        inform(why_not)
        return view
    try:
        get_ready(st.empty())(session.shown()[0])
        with st.spinner("Running the model with the rule in force"):
            cost = runs.cost_of(trace, rule)
    except MoevizError as error:
        st.error(plain(str(error)))
        return view
    view = _where_it_shows(trace, view, cost)
    _sentences(trace, cost, rule)
    _figures(trace, view, cost, rule)
    return view


def _where_it_shows(trace: RoutingTrace, view: View, cost: Comparison) -> View:
    """The view at the token that changed most, until the visitor has picked one."""
    state = st.session_state
    fresh = state.get("what_if_of") != trace.key and view.token == first_view(trace).token
    state["what_if_of"] = trace.key
    if fresh and cost.predictions is not None and len(trace.tokens) > 1:
        set_view(trace, {"token": int(np.argmax(cost.predictions.kl[:-1]))})
    return state["view"]


def _sentences(trace: RoutingTrace, cost: Comparison, rule: Rule) -> None:
    with st.container(horizontal=True, vertical_alignment="center", gap="small", key="in_force"):
        st.badge("ENFORCED", color="blue", width="content")
        note("The text was run again with the rule in force inside the model.")
    headline(words.cost_sentence(cost, trace.loss))
    tell(words.first_layer_sentence(trace, cost, rule))
    tell(words.prediction_sentence(trace, cost))
    if cost.loss_change is not None and _mutes(trace, rule):
        _control(trace, cost, rule)


def _mutes(trace: RoutingTrace, rule: Rule) -> bool:
    """Whether the rule mutes experts and does nothing else, so that random mutes compare."""
    if not all(isinstance(part, Mute | MaskGroups) for part in rule.parts):
        return False
    return any(rule.here(name, Mute, MaskGroups) for name, *_ in runs.layer_sizes(trace))


def _control(trace: RoutingTrace, cost: Comparison, rule: Rule) -> None:
    here = trials.found("control", runs.control_mark(trace, rule))
    if here is None:
        st.button("Compare with random mutes", on_click=runs.start_control, args=(trace, rule),
                  help="As many other experts of the same layers, drawn at random")  # fmt: skip
    elif here.finished:
        tell(words.control_sentence(cost, control(trace, here.found)))
    else:
        trials.progress("control", here, "Random mutes")


def _figures(trace: RoutingTrace, view: View, cost: Comparison, rule: Rule) -> None:
    options, row, token = (str(rule),), view.row, view.token
    left, right = st.columns([3, 2], gap="medium")
    with left:
        if cost.loss_change is not None:
            figure("wi_change", trace, (*options, row), lambda: change_strip(trace, row, cost),
                   token_strip)  # fmt: skip
        figure("wi_moved", trace, options, lambda: pictures.moved_bars(trace, cost), plot)
    with right:
        if cost.predictions is None:
            return
        for changed in (False, True):
            figure(
                f"wi_predicted_{changed}", trace, (*options, token),
                lambda after=changed: pictures.prediction_list(
                    trace, token, cost.predictions, after
                ),
                ranked,
            )  # fmt: skip


def sweep(trace: RoutingTrace, view: View) -> None:
    """Each expert of the layer muted in turn, ranked by what the text loses."""
    st.header("Which expert matters most here?", anchor=False)
    name, experts, _ = runs.layer_sizes(trace)[view.row]
    if not _can_search(trace):
        return
    state = st.session_state
    state["sweep_way"] = state.get("swept_by", "next")
    st.segmented_control(
        "A muted expert's tokens", list(WAYS), key="sweep_way", required=True, wrap=True,
        format_func=WAYS.get, on_change=lambda: state.update(swept_by=state["sweep_way"]),
    )  # fmt: skip
    drop = state["sweep_way"] == "drop"
    here = trials.found("sweep", (trace.key, view.row, drop))
    if here is None or here.trouble:
        lead(
            f"Mute each expert of layer {plain(name)} alone and see what the text loses. The work "
            "before the layer is done once."
        )
        st.button(f"Mute each of the {experts} experts in turn", on_click=_begin,
                  args=(runs.start_sweep, trace, view.row, drop), key="start_sweep")  # fmt: skip
    if here is not None and not here.finished:
        trials.progress("sweep", here, "Experts muted")
    elif here is not None:
        found = ablations(trace, view.row, np.stack(here.found[:experts]))
        random = control(trace, here.found[experts:])
        headline(words.ablation_sentence(found, random, name))
        row = view.row
        figure(
            "wi_sweep", trace, (row, drop),
            lambda: pictures.ablation_list(trace, row, found, random, drop), ranked,
        )  # fmt: skip


def search(trace: RoutingTrace, view: View) -> None:
    """Other routes of equal compute for the picked token, the best first."""
    st.header("Was there a better route?", anchor=False)
    if not _can_search(trace):
        return
    row, token = view.row, view.token
    name, _, chosen = runs.layer_sizes(trace)[row]
    if token + 1 >= len(trace.tokens):
        inform("The last token has no next token, so no route can be better or worse. "
                "Click another one.")  # fmt: skip
        return
    here = trials.found("search", (trace.key, row, token))
    shown = plain(trace.tokens[token].text.strip() or "␣")
    if here is None or here.trouble:
        lead(
            f"Send the picked token “{shown}” (token {token + 1:,}) to other sets of "
            f"{plural(chosen, 'expert')} in layer {plain(name)}, and see how well the model then "
            "predicts the token after it."
        )
        st.button("Try other routes", on_click=_begin,
                  args=(runs.start_search, trace, row, token), key="start_search")  # fmt: skip
    if here is not None and not here.finished:
        trials.progress("search", here, "Routes tried")
    elif here is not None:
        found = tuple(here.found)
        headline(words.route_sentence(found, name))
        picture = session.drawn(
            "wi_routes", trace.key, (row, token),
            lambda: packed(pictures.route_list(trace, row, token, found)),
        )  # fmt: skip
        ranked(picture, "wi_routes", lambda: _take_route(trace, name, token, found))


def _take_route(trace: RoutingTrace, name: str, token: int, found: tuple) -> None:
    at = take_pick(trace, "wi_routes").get("route")
    if isinstance(at, int) and 0 <= at < len(found):
        experts = ",".join(map(str, found[at][0]))
        st.session_state["what_if"] = f"route {name}:{experts} token {token}"


def _can_search(trace: RoutingTrace) -> bool:
    """Whether the model is at hand and predicts tokens; says why where not."""
    why_not = enforced.obstacle(trace)
    if not why_not and trace.loss is None:
        why_not = "This model predicts no next token here, so there is no loss to rank by."
    if why_not:
        inform(why_not)
    return not why_not


def _begin(start, *arguments) -> None:
    """Start a job, or keep what went wrong for the page to say."""
    try:
        start(*arguments)
    except MoevizError as error:
        st.session_state["job_trouble"] = str(error)


def writing(rule: Rule | None) -> None:
    """A prompt continued without and with the rule, from the same seed."""
    st.header("What does it write?", anchor=False)
    state = st.session_state
    wish: Draft = state.setdefault("draft", Draft())
    most = most_new_tokens(MOST_WRITTEN)
    names = {"prompt": "Prompt", "most": "New tokens", "temperature": "Temperature", "seed": "Seed"}
    state["wi_prompt"], state["wi_most"] = wish.prompt, min(wish.most, most)
    state["wi_temperature"], state["wi_seed"] = wish.temperature, wish.seed
    with st.form("wi_write", border=False):
        st.text_input(names["prompt"], key="wi_prompt")
        with st.container(horizontal=True, vertical_alignment="bottom"):
            st.number_input(names["most"], 1, most, key="wi_most", width=130)
            st.number_input(names["temperature"], 0.0, 10.0, step=0.1, key="wi_temperature",
                            width=130, help="0 takes the likeliest token.")  # fmt: skip
            st.number_input(names["seed"], 0, draft.MOST_SEED, key="wi_seed", width=130)
            st.form_submit_button("Write with and without the rule", on_click=_write,
                                  args=(rule,), disabled=rule is None)  # fmt: skip
    here = trials.found("writing", (session.shown()[0], state["draft"], str(rule)))
    if here is not None:
        _written(here)


def _write(rule: Rule) -> None:
    state = st.session_state
    taken = {n: state[f"wi_{n}"] for n in ("prompt", "most", "temperature", "seed")}
    state["draft"] = replace(state["draft"], **taken)
    _begin(runs.start_writing, session.shown()[0], state["draft"], rule)


def _written(here: trials.Trials) -> None:
    texts = dict(here.found)  # the last of each
    if here.running:
        trials.progress("writing", here, "Tokens written")
    elif here.trouble:
        st.error(plain(here.trouble))
        return
    if texts:
        both = texts.get(False, ""), texts.get(True, "")
        if both[1]:
            tell(words.writing_sentence(*both, done=here.finished))
        left, right = st.columns(2, gap="medium")
        for place, title, text in ((left, "Without the rule", both[0]),
                                   (right, "With the rule", both[1])):  # fmt: skip
            with place.container(border=True):
                st.markdown(f"**{title}**")
                st.markdown(plain(text).replace("\n", "  \n"))


def trouble() -> None:
    """What went wrong when a job was asked for, once."""
    said = st.session_state.pop("job_trouble", "")
    if said:
        st.error(plain(said))


def to_link() -> dict[str, str]:
    """The rule, the kind of sweep and the prompt as link parameters."""
    state = st.session_state
    swept = {"swept": "drop"} if state.get("swept_by") == "drop" else {}
    return {"rule": state["what_if"]} | swept | draft.to_link(state.get("draft", Draft()))
