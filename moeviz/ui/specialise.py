"""What to see on the Specialise page: the data's choice, its sections, and who wrote the texts."""

from __future__ import annotations

import pandas as pd
import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from moeviz.charts.words import model_name, plural
from moeviz.ui import asking, cards, clusters, habits, labels, maps, published, training
from moeviz.ui.datasets import DataSet
from moeviz.ui.inquiry import DATA, OF_COUNTS, PUBLISHED, SECTIONS, Inquiry
from moeviz.ui.markdown import plain
from moeviz.ui.sheets import sheet
from moeviz.ui.terms import note, tell


def data_choice(inquiry: Inquiry) -> None:
    """Whose texts to look at."""
    shown = "olmoe" if inquiry.data in PUBLISHED else inquiry.data
    asking.choice("Texts", "data", DATA, shown)


def introduce(data: DataSet, facts: DeltaGenerator) -> None:
    """The model's line in the head, and what was read, in one sentence."""
    if data.published:
        published.introduce(facts)
        return
    routing = data.routing
    _, layers, experts = routing.shape
    chosen = int(routing.chosen.max())
    st.session_state["facts"] = line = (
        f"{model_name(routing.model)} · {plural(layers, 'routed layer')} · "
        f"top-{chosen} of {plural(experts, 'expert')}"
    )
    facts.caption(plain(line), width="content")
    for sentence in routing.notes:
        note(sentence)


def section(data: DataSet) -> None:
    """The parts of the page, one at a time."""
    inquiry = asking.current()
    names = {name: SECTIONS[name] for name in (OF_COUNTS if data.published else SECTIONS)}
    shown = inquiry.section if inquiry.section in names else "labels"
    asking.choice("Look at", "section", names, shown)
    {
        "map": maps.map_section,
        "labels": (published if data.published else labels).labels_section,
        "layers": (published if data.published else labels).layers_section,
        "experts": cards.cards_section,
        "habits": habits.habits_section,
        "clusters": clusters.clusters_section,
        "training": training.training_section,
        "texts": lambda data, inquiry: texts_section(data),
    }[shown](data, inquiry)


def texts_section(data: DataSet) -> None:
    """How many texts of each kind there are, and under which licence."""
    if data.published:
        published.texts_section()
        return
    routing = data.routing
    tell(
        f"{plural(len(routing.tokens), 'passage')}, {plural(int(routing.tokens.sum()), 'token')}, "
        f"from {plural(len(routing.sources), 'source')}. Every text was changed: cleaned and cut "
        "into passages."
    )  # fmt: skip
    table = pd.DataFrame([vars(source) for source in routing.sources])
    sheet(table, "sources")
