"""Languages and domains against experts: who reads what, and how that changes over the layers."""

from __future__ import annotations

import numpy as np
import streamlit as st

from moeviz.charts import specialise as pictures
from moeviz.charts import specialise_words as words
from moeviz.charts.picture import Picture
from moeviz.corpora.routing import CorpusRouting
from moeviz.metrics.languages import LanguageDivergence, language_divergence
from moeviz.metrics.specialisation import Specialisation, specialisation
from moeviz.trace import MoevizError
from moeviz.ui import asking, session
from moeviz.ui.components import heat_grid, packed, picked, plot
from moeviz.ui.datasets import DataSet, kept
from moeviz.ui.inquiry import Inquiry
from moeviz.ui.terms import headline, inform, note

MOST_LABELS = 200
"""Values of a label that can be compared: more are ids or texts, not labels."""


def labels_section(data: DataSet, inquiry: Inquiry) -> None:
    """Labels by experts in one layer, and the finding in a sentence."""
    label = label_choice(data, inquiry)
    if not label:
        return
    row = asking.layer_choice(data.routing, inquiry)
    within = ""
    if label == "domain" and data.texts and "language" in labels_of(data.routing):
        keep = st.toggle(
            "Chance within each language", key="within_language",
            help="Domains are dealt among texts of one language only, so that what the language "
            "explains cannot pass for a topic.",
        )  # fmt: skip
        within = "language" if keep else ""
    found = specialised(data, label, within)
    if found is None:
        return
    layer = asking.layer_labels(data.routing)[row]
    headline(words.labels_sentence(found, row, layer))
    draw(
        "labels", data, (label, row, within),
        lambda: pictures.label_grid(data.routing, found, row, layer), heat_grid,
        lambda: _take_label(data, row),
    )  # fmt: skip
    if label == "domain" and "language" in data.routing.labels:
        note(
            "A domain that exists in one language only looks like that language here: turn on "
            "“Chance within each language” before you believe in topics."
        )


def layers_section(data: DataSet, inquiry: Inquiry) -> None:
    """What a choice tells on each label, layer by layer, beside dealt labels."""
    row, _ = asking.place_of(data.routing, inquiry)
    labels = labels_of(data.routing)
    if not labels:
        inform(NO_LABELS)
        return
    names = asking.layer_labels(data.routing)
    columns = st.columns(2, gap="medium")
    for number, label in enumerate(labels):
        found = specialised(data, label)
        if found is None:
            continue
        with columns[number % len(columns)]:
            headline(words.layers_sentence(found, names))
            draw(
                f"layers-{number}", data, (label, row),
                lambda label=label, found=found: _divergence_lines(data, found, names, row),
                plot, lambda number=number: _take_row(data, f"layers-{number}"),
            )  # fmt: skip
    with columns[len(labels) % len(columns)]:
        _parallel(data, names, row)


@kept(most=8)
def _languages(key: str, _data: DataSet) -> LanguageDivergence:
    return language_divergence(_data.routing)


def _parallel(data: DataSet, names: list[str], row: int) -> None:
    """Languages on texts that say the same, where there are such texts."""
    try:
        found = _languages(data)
    except MoevizError:
        return  # no translations, or no languages: nothing to show and nothing wrong
    headline(words.parallel_sentence(found, names))
    draw(
        "layers-parallel", data, (row,),
        lambda: pictures.layer_lines(
            data.routing, names, found.mean, np.stack([found.low, found.high], axis=1),
            "How far languages part when they say the same", "Divergence", "",
            words.parallel_read(found), row,
        ),
        plot, lambda: _take_row(data, "layers-parallel"),
    )  # fmt: skip


NO_LABELS = "These texts have no label with at least two values, so there is nothing to compare."


def label_choice(data: DataSet, inquiry: Inquiry) -> str:
    """Buttons for the labels that can be compared; hands back the one chosen, "" for none."""
    known = labels_of(data.routing)
    if not known:
        inform(NO_LABELS)
        return ""
    by = inquiry.by if inquiry.by in known else known[0]
    if len(known) > 1:
        asking.choice("By", "by", {name: name.capitalize() for name in known}, by)
    return by


def labels_of(routing: CorpusRouting) -> list[str]:
    """Label columns with two to MOST_LABELS values, where a text comes from left out."""
    found = []
    for name, column in routing.labels.items():
        values = len(np.unique(column[column != ""]))
        if name != "source" and 2 <= values <= MOST_LABELS:
            found.append(name)
    return found


def specialised(data: DataSet, label: str, within: str = "") -> Specialisation | None:
    """The label's specialisation, worked out once; None after a sentence of trouble.

    within: the column whose values the dealing keeps to, see `deal_labels`.
    """
    try:
        with st.spinner("Dealing the labels anew, to see what chance would show"):
            return _specialised(data, label, within)
    except MoevizError as error:
        inform(str(error))
        return None


@kept(most=24)
def _specialised(key: str, label: str, within: str, _data: DataSet) -> Specialisation:
    return specialisation(_data.routing, label, within=within)


def draw(kind: str, data: DataSet, options: tuple, make, component, take) -> None:
    """One picture, made once a session, and what its clicks do."""

    def pack() -> bytes:
        picture: Picture = make()
        return packed(picture)

    component(session.drawn(kind, data.key, options, pack), kind, take)


def _divergence_lines(data: DataSet, found: Specialisation, names: list[str], row: int) -> Picture:
    band = found.divergence_band
    low = np.broadcast_to(np.nan_to_num(band.low), len(names))
    high = np.broadcast_to(np.nan_to_num(band.high), len(names))
    return pictures.layer_lines(
        data.routing, names, found.divergence, np.stack([low, high], axis=1),
        f"How far {found.label}s part, layer by layer",
        "Divergence", "bits", words.divergence_read(found), row,
    )  # fmt: skip


def _take_label(data: DataSet, row: int) -> None:
    pick = picked("labels")
    if isinstance(pick.get("expert"), int):
        asking.open_card(asking.layer_labels(data.routing)[row], pick["expert"])


def _take_row(data: DataSet, kind: str) -> None:
    row, names = picked(kind).get("row"), asking.layer_labels(data.routing)
    if isinstance(row, int) and 0 <= row < len(names):
        asking.wish(layer=names[row], section="labels")
