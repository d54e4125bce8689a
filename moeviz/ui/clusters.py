"""Groups of passages that are routed alike, and how far they follow the labels."""

from __future__ import annotations

import numpy as np
import pandas as pd
import streamlit as st

from moeviz.charts import specialise_words as words
from moeviz.charts.cloud import cloud_picture, tint_picture
from moeviz.charts.words import percent
from moeviz.metrics.clusters import Purity, purity, sphere_clusters
from moeviz.trace import MoevizError
from moeviz.ui import asking, maps, session
from moeviz.ui.components import cloud, packed, tint
from moeviz.ui.datasets import DataSet, kept
from moeviz.ui.inquiry import Inquiry
from moeviz.ui.labels import labels_of
from moeviz.ui.sheets import sheet
from moeviz.ui.terms import headline, inform, note

MOST, FIRST = 40, 20
"""Groups that can be asked for, and those asked for at first."""


def clusters_section(data: DataSet, inquiry: Inquiry) -> None:
    """k-means on the sphere, its purity beside shuffled labels, and each group's labels."""
    most = min(MOST, len(data.texts) - 1)
    count = min(inquiry.groups, most)
    try:
        asking.slider("Number of groups", "groups", 2, most, count)
        with st.spinner("Looking for groups"):
            groups = _groups(data, count)
            found = {label: _purity(data, count, label)
                     for label in labels_of(data.routing)}  # fmt: skip
    except MoevizError as error:
        inform(str(error))
        return
    for label, one in found.items():
        headline(words.purity_sentence(one, label, count))
    left, right = st.columns([3, 2], gap="medium")
    with left:
        _cloud(data, inquiry, groups, count)
    with right:
        sheet(_table(groups, found), "clusters", height=560)
        note(
            "Spherical k-means on the principal components: passages whose routing differs from "
            "the mean in the same direction. The algorithm never sees a label; best of ten starts, "
            "seed 0. Another number of groups cuts otherwise: no number is the right one."
        )


def _cloud(data: DataSet, inquiry: Inquiry, groups: np.ndarray, count: int) -> None:
    points = maps.points_of(data, "passages")
    shown, waiting = maps.laid_out(data, points, inquiry.seed, "passages", inquiry.view)
    if waiting:
        maps.wait(points.routing_map, inquiry.seed)
    columns = {"group": np.array([f"group {g + 1}" for g in groups])}
    digest = f"{points.routing_map.key}-{count}"
    picture = session.drawn(
        "cloud-groups", digest, (shown.kind, shown.seed, data.key),
        lambda: packed(cloud_picture(
            "groups", shown, points.texts, columns, data.routing.model, digest,
            title="The groups on the map",
        )),
    )  # fmt: skip
    cloud(picture, "cloud-groups", lambda: None)
    tint(packed(tint_picture("groups", "group")), "tint-groups")


def _table(groups: np.ndarray, found: dict[str, Purity]) -> pd.DataFrame:
    sizes = np.bincount(groups)
    table = {"group": np.arange(1, len(sizes) + 1), "passages": sizes}
    for label, one in found.items():
        table[label] = [
            f"{words.label_word(name)} {percent(of)}"
            for name, of in zip(one.groups, one.of, strict=True)
        ]
    return pd.DataFrame(table)


@kept(most=24)
def _groups(key: str, count: int, _data: DataSet) -> np.ndarray:
    return sphere_clusters(maps.points_of(_data, "passages").routing_map.reduced, count)


@kept(most=48)
def _purity(key: str, count: int, label: str, _data: DataSet) -> Purity:
    return purity(_groups(_data, count), _data.routing.labels[label])
