"""What to see on the Generate page: what to write, how far it is, and what it would overflow."""

from __future__ import annotations

import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from moeviz.charts import capacity_words, compare, compare_words, running
from moeviz.charts.words import plural
from moeviz.metrics.difference import Difference, difference
from moeviz.metrics.runs import Run, prompt_and_generated
from moeviz.trace import MoevizError, RoutingTrace
from moeviz.ui import ask, capacity, draft, explore, links, live, session, setting
from moeviz.ui.card import model_card
from moeviz.ui.components import live_text, packed, picked, plot
from moeviz.ui.draft import Draft
from moeviz.ui.house import hidden_pages, most_new_tokens, way_to
from moeviz.ui.live import Live
from moeviz.ui.markdown import plain
from moeviz.ui.terms import headline, inform, note, warn

TICK = 0.15
"""Seconds between two looks at what was written meanwhile."""


def form() -> None:
    """What to write: the prompt, and how the next token is chosen."""
    wish = _wish()
    state = st.session_state
    for name in draft.PARAMETERS:
        state.setdefault(name, getattr(wish, name))
    with st.form("write", border=False):
        st.text_area("Prompt", key="prompt", height=86, label_visibility="collapsed",
                     placeholder="Type the beginning of a text, in any language")  # fmt: skip
        with st.container(horizontal=True, vertical_alignment="bottom", key="choices"):
            most = most_new_tokens(draft.MOST_TOKENS)
            state["most"] = min(state["most"], most)
            st.number_input(
                "New tokens", 1, most, key="most", width=130, help=f"At most {most:,} at a time."
            )
            st.number_input(
                "Temperature", 0.0, 10.0, step=0.1, key="temperature", width=130,
                help="0 takes the likeliest token; more makes rarer tokens likelier.",
            )  # fmt: skip
            st.number_input(
                "Top-p", 0.05, 1.0, step=0.05, key="top_p", width=130,
                help="Sample among the likeliest tokens that together have this probability.",
            )  # fmt: skip
            st.number_input(
                "Seed", 0, draft.MOST_SEED, key="seed", width=130,
                help="The same seed writes the same text again.",
            )  # fmt: skip
            st.form_submit_button("Write", type="primary", on_click=_ask, help="Ctrl + Enter")


def _wish() -> Draft:
    """What the visitor asked for last; a link that was just opened brings its own."""
    state = st.session_state
    if "link_wish" in state:
        capacity.current_setting()  # which reads the same link
        link = state.pop("link_wish")
        state["draft"], state["from_link"] = draft.from_link(link), link
        for name in draft.PARAMETERS:
            state.pop(name, None)
        state["live"] = None
    return state.setdefault("draft", Draft())


def _ask() -> None:
    state = st.session_state
    state["draft"] = Draft(**{name: state[name] for name in draft.PARAMETERS})
    state["wanted"] = True


def current(slot: DeltaGenerator) -> Live | None:
    """The continuation to show, begun first where there is none of this model yet."""
    state = st.session_state
    here, model = state.get("live"), session.asked()[0]
    wanted = state.pop("wanted", False)
    if here is not None and not wanted and here.model == model:
        return here
    try:
        ask.get_ready(slot)(model)
        fresh = live.begin(model, state["draft"])
    except MoevizError as error:
        slot.error(plain(str(error)))
        if here is not None:
            session.ask(model=here.model)
        return here
    if here is not None:
        here.writing.give_up()
        fresh.row = min(here.row, len(fresh.reel.layers) - 1)
    _stand_where_the_link_says(fresh)
    state["live"] = fresh
    return fresh


def _stand_where_the_link_says(fresh: Live) -> None:
    link = st.session_state.pop("from_link", {})
    if link.get("layer") in fresh.reel.layers:
        fresh.row = fresh.reel.layers.index(link["layer"])
    step = setting.whole(link.get("step"), 1, draft.MOST_TOKENS)
    fresh.step = None if step is None else step - 1


def introduce(here: Live, facts: DeltaGenerator) -> None:
    """The line on the model in the page's head."""
    with facts.container(horizontal=True, vertical_alignment="center", width="content"):
        note(session.writer_facts(here.model), width="content")
        model_card(here.model)
    for sentence in session.loaded(here.model).warnings:
        warn(sentence)


def controls(here: Live) -> None:
    """How far it is, and the buttons that hold it, let it go on, or end it."""
    writing, state = here.writing, here.state
    with st.container(horizontal=True, vertical_alignment="center", key="controls"):
        if state == "running":
            st.button("Pause", on_click=writing.pause)
        if state == "paused":
            st.button("Continue", on_click=writing.go_on)
        if state != "finished":
            st.button("Stop", on_click=writing.stop)
        note(_progress(here), width="content")
    if writing.trouble:
        st.error(plain(writing.trouble))


def _progress(here: Live) -> str:
    count, seconds = len(here.reel.ids), here.writing.seconds
    speed = f", {count / seconds:.0f} a second" if count > 1 and seconds > 0 else ""
    tokens = plural(count, "token")
    if here.state == "finished":
        return f"Written: {tokens}{speed}."
    word = "Writing" if here.state == "running" else "Paused"
    shared = here.writing.sharing.words() if here.state == "running" else ""
    return f"{word}: {count:,} of at most {plural(here.draft.most, 'token')}{speed}{shared}."


def words(here: Live) -> None:
    """The text, the experts of each step, and the load of prompt and continuation."""
    if here.reel.read is None:
        note("The model reads the prompt.")
        return
    live_text(here.packet(), "written", lambda: _take_pick(here))


def _take_pick(here: Live) -> None:
    pick = picked("written")
    row, step = pick.get("row"), pick.get("step", False)
    if isinstance(row, int) and 0 <= row < len(here.reel.layers):
        here.row = row
    if step is None or isinstance(step, int):
        here.step = here.step if step is False else step
    if pick.get("missing"):
        here.send_all_again()


def overflow(here: Live) -> None:
    """What the visitor's capacity rule would drop of the batch so far, layer by layer."""
    st.header("What would overflow?", anchor=False)
    rule, reel, row = capacity.current_setting().rule, here.reel, here.row
    here.count_under(rule)
    if not here.history:
        return
    experts, chosen = (size[row] for size in reel.sizes)
    tokens = len(reel.prompt) + len(reel.rows) - 1
    capacity.factor_dial(tokens, experts, chosen, rule)
    with st.container(horizontal=True, vertical_alignment="center", gap="small", key="simulated"):
        st.badge("SIMULATED", color="orange", width="content")
        note(_rule_words(rule, reel.router.capacity), width="content")
        way_to("capacity", "Change the rule on the Capacity page")
    known = [rate for rate in here.history if rate is not None]
    if not known:
        short = f"A group of {rule.group:,} tokens is larger than the text, which has {tokens:,}."
        inform(short)
        return
    headline(running.running_sentence(reel, row, known[-1]))
    left, right = st.columns([2, 3], gap="medium")
    with left:
        plot(packed(running.running_bars(reel, known[-1])), "running_bars", lambda: None)
    with right:
        plot(packed(running.running_lines(reel, row, known)), "running_lines", lambda: None)


def _rule_words(rule, own_limit: int) -> str:
    name = capacity_words.CONVENTIONS[rule.convention]
    factor = f" at capacity factor {rule.factor:g}" if capacity_words.has_factor(rule) else ""
    window = f", counted in windows of {plural(rule.group, 'token')}" if rule.group else ""
    own = " on top of the model's own limit" if own_limit else "; the model itself drops nothing"
    return f"The rule {name}{factor}{window}, applied afterwards{own}."


def apart(here: Live) -> None:
    """The load of the prompt against that of the rest, with the divergence and its chance."""
    if here.trace is None:
        return
    st.header("Do reading and writing use the same experts?", anchor=False)
    a, b, found = _apart(here.trace.key, here.trace)
    labels, row = here.reel.layers, here.row
    headline(compare_words.headline(found, labels))
    note("A is the prompt, read at once; B is what was written, read token by token.")
    left, right = st.columns([2, 3], gap="medium")
    with left:
        plot(packed(compare.bits_bars(a, b, found, labels)), "phase_bits", lambda: None)
    with right:
        shares = compare.expert_bars(a, b, found, row, labels[row])
        plot(packed(shares), "phase_experts", lambda: None)


@st.cache_resource(max_entries=4, scope="session", show_spinner=False)
def _apart(key: str, _trace: RoutingTrace) -> tuple[Run, Run, Difference]:
    read, written = prompt_and_generated(_trace)
    return read, written, difference(read, written, linked=False)


_WAYS = {"Explore": "explore", "Capacity": "capacity", "What if": "what-if"}
"""Pages that a finished text can be taken to: the word on the button, and the name in links."""


def ways_on(here: Live) -> None:
    """The finished text as a trace like any other: to other pages, or to a file."""
    if here.trace is None:
        return
    st.header("Go on with it", anchor=False)
    with st.container(horizontal=True, vertical_alignment="center", key="ways"):
        for label, page in _WAYS.items():
            if page not in hidden_pages() and st.button(f"Open in {label}"):
                links.open_trace(here.trace, "generated")
                st.switch_page(f"pages/{page}.py")
        explore.files(here.trace)


def write_link(here: Live) -> None:
    """Put what is asked for, and where the visitor stands, into the address."""
    link = draft.to_link(here.draft) | setting.to_link(capacity.current_setting())
    if here.row != len(here.reel.layers) // 2:
        link["layer"] = here.reel.layers[here.row]
    if here.step is not None:
        link["step"] = str(here.step + 1)
    if here.model != session.default_model():
        link["model"] = here.model
    links.put_link(link)
