"""OLMoE and Mixtral as their routing was published: side by side, without any download."""

from __future__ import annotations

import pandas as pd
import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from moeviz.charts import published as pictures
from moeviz.charts.published import Published
from moeviz.corpora.published import published_corpus
from moeviz.ui import asking
from moeviz.ui.components import heat_grid, picked, plot
from moeviz.ui.datasets import DataSet, data_set
from moeviz.ui.inquiry import PUBLISHED, Inquiry
from moeviz.ui.labels import draw, specialised
from moeviz.ui.markdown import plain
from moeviz.ui.sheets import sheet
from moeviz.ui.terms import headline

LABEL = "domain"


def introduce(facts: DeltaGenerator) -> None:
    """The models' line in the head, what was counted, by whom, and what that cannot tell."""
    routings = {word: published_corpus(name) for name, word in PUBLISHED.items()}
    st.session_state["facts"] = line = " · ".join(
        f"{word}: top-{int(r.chosen[0])} of {int(r.experts[0])}" for word, r in routings.items()
    )
    facts.caption(plain(line), width="content")
    st.caption(
        "Counts for the same five domains of 208,896 tokens, in layers 0, 7 and 15 of OLMoE's 16 "
        "and Mixtral's 32, published with OLMoE (Muennighoff et al. 2024, [arXiv:2409.02060](https://arxiv.org/abs/2409.02060);"
        " [github.com/allenai/OLMoE](https://github.com/allenai/OLMoE), Apache-2.0). They hold no "
        "passages, so there is no map, and no documents to deal labels over, so chance is what an "
        "even router gives."
    )


def both() -> list[Published]:
    """The models in the order of their buttons."""
    sets = {name: data_set(name) for name in PUBLISHED}
    return [
        Published(word, sets[name].routing, specialised(sets[name], LABEL))
        for name, word in PUBLISHED.items()
    ]


def labels_section(data: DataSet, inquiry: Inquiry) -> None:
    """Domains by experts of one layer, the two models side by side on one scale."""
    row = asking.layer_choice(data.routing, inquiry)
    models = both()
    headline(pictures.strongest_sentence(models, row))
    for column, name, one in zip(st.columns(2, gap="medium"), PUBLISHED, models, strict=True):
        with column:
            draw(
                f"published-{name}", data, (row,),
                lambda one=one: pictures.domain_grid(one, row), heat_grid,
                lambda name=name, one=one: _take(name, one.layer(row)),
            )  # fmt: skip
    draw(
        "published-strongest", data, (row,),
        lambda: pictures.strongest_bars(models, row), plot, lambda: None,
    )  # fmt: skip


def layers_section(data: DataSet, inquiry: Inquiry) -> None:
    """How far the domains part in each layer, the two models beside each other."""
    models = both()
    headline(pictures.apart_sentence(models))
    draw("published-apart", data, (), lambda: pictures.apart_bars(models), plot,
         lambda: _take_row(data))  # fmt: skip


def texts_section() -> None:
    """Where the counts come from."""
    sources = [source for name in PUBLISHED for source in published_corpus(name).sources]
    sheet(pd.DataFrame([vars(source) for source in sources]), "sources")


def model_choice(data: DataSet) -> None:
    """Whose expert to look at."""
    asking.choice("Model", "data", PUBLISHED, data.kind, key="published")


def _take(name: str, layer: str) -> None:
    expert = picked(f"published-{name}").get("expert")
    if isinstance(expert, int):
        asking.wish(data=name)
        asking.open_card(layer, expert)


def _take_row(data: DataSet) -> None:
    row, names = picked("published-apart").get("row"), asking.layer_labels(data.routing)
    if isinstance(row, int) and 0 <= row < len(names):
        asking.wish(layer=names[row], section="labels")
