"""Lessons on what surrounds the layer: serving, ensembles, history, words."""

from __future__ import annotations

import pandas as pd
import streamlit as st

from moeviz.charts.lessons import contest_bars, experts_read, read_bars
from moeviz.corpora.models import known_facts
from moeviz.lessons.committee import Contest, contest
from moeviz.lessons.glossary import TERMS
from moeviz.lessons.history import HISTORY
from moeviz.lessons.quizzes import contest_quiz, read_quiz
from moeviz.metrics.parallel import PLACEMENTS, parallel_load
from moeviz.rules.facts import from_json
from moeviz.rules.words import short_bytes
from moeviz.trace import RoutingTrace
from moeviz.ui.lessons.parts import ask, draw, go_on, layer_row, say
from moeviz.ui.markdown import plain
from moeviz.ui.terms import explained, note

BATCHES = [1, 2, 4, 8, 16, 32, 64]
DEVICES = (2, 4, 8)


def serving(trace: RoutingTrace) -> None:
    """What training and serving pay: reading, sending, waiting."""
    say(
        "On a phone with one user, an MoE is quick: it reads only the active parameters for each "
        "token. A server works on many texts at once, and a model that fits on no single device "
        "is spread over several."
    )
    row = layer_row(trace, "serving_layer")
    batches = [n for n in BATCHES if n <= trace.shape[1]]
    shares = experts_read(trace, row, batches)
    if not ask(f"serving {row}", read_quiz(shares[-1], batches[-1], shares[0])):
        return
    draw(read_bars(trace, row, batches), "lesson_read")
    say(
        "With experts on several devices, every token travels to the devices of its experts and "
        "back (all-to-all), and a layer waits for its busiest device."
    )
    _devices(trace, row)
    facts = from_json(known_facts()["DeepSeek-V3"])
    say(
        f"The price of size is memory. DeepSeek-V3 must hold {short_bytes(facts.memory(8))} in "
        f"8 bits and reads {short_bytes(facts.touched(8))} of it for one token alone."
    )
    go_on("Spread the experts over devices on the Capacity page", "capacity", {"devices": "4"})


def _devices(trace: RoutingTrace, row: int) -> None:
    table = []
    for devices in DEVICES:
        for placement in PLACEMENTS:
            found = parallel_load(trace, devices, placement)
            table.append(
                {
                    "Devices": devices,
                    "Experts laid out": placement,
                    "Busiest device over mean": f"{found.straggler[row]:.2f}×",
                    "Sent to other devices": f"{int(found.transfers[row])} times",
                }
            )
    st.table(pd.DataFrame(table), hide_index=True)
    note(
        "Worked out for this text in one layer of the demo model; a token's hidden state is sent "
        "once to each other device that it needs."
    )


def ensembles(trace: RoutingTrace) -> None:
    """Mixtures beside averaging, bagging, boosting and stacking."""
    say(
        "Many heads are better than one: an old idea. **Averaging** and **bagging** "
        "ask all learners and take the mean, **boosting** lets each correct the ones before it, "
        "**stacking** learns how much to trust each. A mixture of experts learns **whom to ask "
        "where**, and asks only a few."
    )
    seed = st.session_state.get("contest_seed", 0)
    found = _contest(seed)
    if not ask(f"ensembles {seed}", contest_quiz(found)):
        return
    draw(contest_bars(found), "lesson_contest")
    st.button("Draw other points", on_click=_next_contest)
    say(
        "A **toy**: eight cubics and a curve of four pieces, fitted in front of you. A mixture "
        "wins where the task falls into regions; it can also get stuck when its gate splits the "
        "regions badly, as some draws show. And averaging reduces noise, which one expert alone "
        "does not."
    )
    go_on("See whom each token of a text asks, in Explore", "explore")


def _next_contest() -> None:
    st.session_state["contest_seed"] = st.session_state.get("contest_seed", 0) + 1


@st.cache_resource(max_entries=16, show_spinner="Fitting the learners")
def _contest(seed: int) -> Contest:
    return contest(seed)


def history(trace: RoutingTrace) -> None:
    """From Jacobs 1991 to today, each step with its source."""
    say("Mixtures of experts are older than the Transformer. Each step below names its paper.")
    for step in HISTORY:
        st.markdown(f"**{step.year} · {plain(step.what)}**  \n{explained(plain(step.idea))} "
                    f":gray[{plain(step.source)}]")  # fmt: skip


def glossary(trace: RoutingTrace) -> None:
    """Every term in two sentences."""
    wanted = st.query_params.get("term", "")
    for term in sorted(TERMS, key=lambda term: term.slug != wanted):
        mark = ":blue-background[" if term.slug == wanted else ""
        name = f"{mark}{plain(term.name)}{']' if mark else ''}"
        also = f" :gray[also: {plain(', '.join(term.also))}]" if term.also else ""
        st.markdown(f"**{name}**{also}  \n{plain(term.means)}")
