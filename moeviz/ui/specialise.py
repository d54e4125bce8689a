"""What to see on the Specialise page: the data's choice, its sections, and who wrote the texts."""

from __future__ import annotations

import pandas as pd
import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from moeviz.charts.words import model_name, plural
from moeviz.ui import asking, cards, clusters, labels, maps, training
from moeviz.ui.datasets import DataSet
from moeviz.ui.inquiry import DATA, SECTIONS, Inquiry
from moeviz.ui.markdown import plain


def data_choice(inquiry: Inquiry) -> None:
    """Whose texts to look at."""
    asking.choice("Texts", "data", DATA, inquiry.data)


def introduce(data: DataSet, facts: DeltaGenerator) -> None:
    """The model's line in the head, and what was read, in one sentence."""
    routing = data.routing
    _, layers, experts = routing.shape
    chosen = int(routing.chosen.max())
    st.session_state["facts"] = line = (
        f"{model_name(routing.model)} · {plural(layers, 'routed layer')} · "
        f"top-{chosen} of {plural(experts, 'expert')}"
    )
    facts.caption(plain(line), width="content")
    for note in routing.notes:
        st.caption(plain(note))


def section(data: DataSet) -> None:
    """The parts of the page, one at a time."""
    inquiry = asking.current()
    asking.choice("Look at", "section", SECTIONS, inquiry.section)
    inquiry = asking.current()
    {
        "map": maps.map_section,
        "labels": labels.labels_section,
        "layers": labels.layers_section,
        "experts": cards.cards_section,
        "clusters": clusters.clusters_section,
        "training": training.training_section,
        "texts": lambda data, inquiry: texts_section(data),
    }[inquiry.section](data, inquiry)


def texts_section(data: DataSet) -> None:
    """How many texts of each kind there are, and under which licence."""
    routing = data.routing
    st.markdown(plain(
        f"{plural(len(routing.tokens), 'passage')}, {plural(int(routing.tokens.sum()), 'token')}, "
        f"from {plural(len(routing.sources), 'source')}. Every text was changed: cleaned and cut "
        "into passages."
    ))  # fmt: skip
    table = pd.DataFrame([vars(source) for source in routing.sources])
    st.dataframe(table, hide_index=True)
