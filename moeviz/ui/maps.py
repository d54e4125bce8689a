"""The map on the Specialise page: points, their colours, what is selected, and texts placed."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
import streamlit as st

from moeviz.charts import specialise_words as words
from moeviz.charts.cloud import cloud_picture, on_screen, tint_picture
from moeviz.charts.words import plural
from moeviz.corpora.atlas import LANGUAGES
from moeviz.metrics.apart import Apart, set_apart
from moeviz.metrics.map import (
    RoutingMap,
    expert_features,
    pca_map,
    place,
    routing_features,
    with_layout,
)
from moeviz.trace import EMPTY, MoevizError, RoutingTrace
from moeviz.ui import asking, labels, session
from moeviz.ui.components import cloud, packed, picked, tint
from moeviz.ui.datasets import DataSet, kept
from moeviz.ui.inquiry import LOAD, POINTS, VIEWS, Inquiry
from moeviz.ui.layouts import layouts
from moeviz.ui.markdown import plain
from moeviz.ui.sheets import sheet
from moeviz.ui.terms import inform, note, tell

GLANCE = 1.0
"""Seconds between two looks at a layout under way."""

LISTED = 60
"""Passages of a selection that are listed."""

SHORT = 24
"""Tokens below which a placed text is said to be short."""


def map_section(data: DataSet, inquiry: Inquiry) -> None:
    """The map, and beside it what is selected and the way to place a text."""
    try:
        points = points_of(data, inquiry.of)
    except MoevizError as error:
        inform(str(error))
        return
    _controls(data, points, inquiry)
    shown, waiting = laid_out(data, points, inquiry.seed, inquiry.of, inquiry.view)
    left, right = st.columns([3, 2], gap="medium")
    with left:
        if waiting:
            wait(points.routing_map, inquiry.seed)
        _cloud(data, points, shown, inquiry)
    with right:
        if inquiry.of == "passages":
            _place_form(data)
            _selection(data)
        else:
            _selected_experts(data, points)


@dataclass(frozen=True, eq=False)
class Points:
    """What a map shows. texts, columns: of each point. places: [X] flat (layer, expert), or None.

    routing_map: by principal components, before any layout.
    """

    routing_map: RoutingMap
    texts: tuple[str, ...]
    columns: dict[str, np.ndarray]
    places: np.ndarray | None = None


def points_of(data: DataSet, of: str) -> Points:
    """The points of a map of "passages" or "experts"; raises MapError when there is none."""
    return _points(data, of)


@kept(most=12)
def _points(key: str, of: str, _data: DataSet) -> Points:
    routing = _data.routing
    features = routing_features(routing.counts)
    if of == "passages":
        columns = {name: values for name, values in routing.labels.items() if name != "document"}
        return Points(
            pca_map(features), _data.texts, columns or {"all": np.full(len(features), "")}
        )
    rows, places = expert_features(features)
    layers, experts = np.divmod(places, routing.shape[2])
    named = [_expert_name(routing, row, e) for row, e in zip(layers, experts, strict=True)]
    columns = {
        f"favourite {label}": _favourites(_data, label)[layers, experts]
        for label in labels.labels_of(routing)
    }
    columns["layer"] = np.array([f"layer {routing.layers[row]}" for row in layers])
    return Points(pca_map(rows), tuple(named), columns, places)


def _controls(data: DataSet, points: Points, inquiry: Inquiry) -> None:
    """What the map shows and how it is coloured; every choice in sight."""
    colours = {name: name.capitalize() for name in points.columns}
    colours[LOAD] = "One expert's share" if inquiry.of == "passages" else "Load"
    by = _colour(points, inquiry)
    with st.container(horizontal=True, key="map_tools", gap="medium"):
        asking.choice("Map of", "of", POINTS, inquiry.of)
        asking.choice("Drawn by", "view", VIEWS, inquiry.view)
        asking.choice("Coloured by", "by", colours, by)
        if by == LOAD and inquiry.of == "passages":
            asking.expert_choice(data.routing, inquiry)
        if inquiry.view == "umap":
            asking.number("Seed of the layout", "seed", inquiry.seed)


def _colour(points: Points, inquiry: Inquiry) -> str:
    """The colouring asked for, or the first there is."""
    known = (*points.columns, LOAD)
    return inquiry.by if inquiry.by in known else next(iter(points.columns))


def laid_out(
    data: DataSet, points: Points, seed: int, of: str, view: str
) -> tuple[RoutingMap, bool]:
    """(the map to draw now, whether a layout of it is under way)."""
    plain_map, shipped = points.routing_map, data.shipped
    if view == "pca":
        return plain_map, False
    if shipped and seed == shipped.seed:
        return with_layout(plain_map, getattr(shipped, of), seed), False
    layout = layouts().layout(plain_map, seed)
    if layout.coordinates is not None:
        return with_layout(plain_map, layout.coordinates, seed), False
    if layout.trouble:
        inform(f"{layout.trouble} Here are the principal components.")
    return plain_map, not layout.over


@st.fragment(run_every=GLANCE)
def wait(routing_map: RoutingMap, seed: int) -> None:
    """How far the layout is; when it is done the page draws it."""
    layout = layouts().layout(routing_map, seed)
    if layout.over:
        st.rerun()
    note(f"Principal components for now. UMAP: {layout.words}…")


def _cloud(data: DataSet, points: Points, shown: RoutingMap, inquiry: Inquiry) -> None:
    """The points, drawn once for each layout; their colouring travels apart."""
    of, digest = inquiry.of, points.routing_map.key
    title = "Passages by the experts that read them"
    if of == "experts":
        title = "Experts by the passages they read"
    picture = session.drawn(
        f"cloud-{of}", digest, (shown.kind, shown.seed, data.key),
        lambda: packed(cloud_picture(
            of, shown, points.texts, points.columns, data.routing.model, digest, LANGUAGES,
            title, of[:-1],
        )),
    )  # fmt: skip
    by = _colour(points, inquiry)
    value, label = _value(data, points, inquiry) if by == LOAD else (None, "")
    placed = _placed(data, points, shown) if of == "passages" else []
    cloud(picture, f"cloud-{of}", lambda: _take_selection(of, len(points.texts)))
    times = of == "experts"
    tint(packed(tint_picture(of, by, placed, value, label, times)), f"tint-{of}")


def _value(data: DataSet, points: Points, inquiry: Inquiry) -> tuple[np.ndarray, str]:
    """(what each point is coloured by where no label is, its name)."""
    routing = data.routing
    if inquiry.of == "experts":
        load = routing.counts.sum(axis=0) / np.maximum(routing.assignments.sum(axis=0), 1)[:, None]
        return (load * routing.experts[:, None]).ravel()[points.places], "Load, 1 × is even"
    row, expert = asking.place_of(routing, inquiry)
    share = routing_features(routing.counts).reshape(routing.shape)[:, row, expert]
    return share, f"Share that {_expert_name(routing, row, expert, False)} took in its layer"


def _take_selection(of: str, count: int) -> None:
    """Note what was lassoed; ids come from a browser, so each is checked."""
    pick = picked(f"cloud-{of}")
    ids = pick.get("ids")
    ids = ids if isinstance(ids, list) else []
    good = sorted({i for i in ids if isinstance(i, int) and 0 <= i < count})
    st.session_state["selected"] = (of, pick.get("points"), np.array(good, dtype=np.int64))


def selected(of: str, digest: str) -> np.ndarray:
    """Places of the points selected on the map with this digest; none of any other map."""
    what, points, ids = st.session_state.get("selected", ("", "", np.array([], np.int64)))
    return ids if (what, points) == (of, digest) else np.array([], np.int64)


# ---- a selection of passages


def _selection(data: DataSet) -> None:
    ids = selected("passages", points_of(data, "passages").routing_map.key)
    with st.container(border=True, key="selection"):
        if not len(ids):
            st.markdown("**Select some passages**")
            note(
                "Draw a lasso or a box on the map, click a point, or press a name below it and "
                "then Select. Here you will see what the selection is and which experts set it "
                "apart."
            )
            return
        chosen = np.zeros(len(data.texts), bool)
        chosen[ids] = True
        tell(words.selection_sentence(data.routing, chosen))
        if not chosen.all():
            found = _apart(data.key, ids.tobytes(), data.routing, chosen)
            tell(words.apart_sentence(found))
            asking.expert_buttons(data.routing, found, "selection")
            note(
                "You chose these passages because they lie together, so some experts had to stand "
                "out. Chance here is as many passages taken at random."
            )
        _list(data, ids)


@st.cache_resource(max_entries=32, scope="session", show_spinner=False)
def _apart(key: str, ids: bytes, _routing, _chosen: np.ndarray) -> Apart:
    return set_apart(_routing, _chosen)


def _list(data: DataSet, ids: np.ndarray) -> None:
    shown = ids[:LISTED]
    columns = {
        name: [words.label_word(str(value)) for value in values[shown]]
        for name, values in data.routing.labels.items()
        if name != "source"
    }
    table = pd.DataFrame({**columns, "passage": [" ".join(data.texts[i].split()) for i in shown]})
    sheet(table, "selected-passages", height=280)
    if len(ids) > LISTED:
        note(f"The first {LISTED} of {len(ids):,}.")


def _selected_experts(data: DataSet, points: Points) -> None:
    ids = selected("experts", points.routing_map.key)
    with st.container(border=True, key="selection"):
        if not len(ids):
            st.markdown("**Select some experts**")
            note("Experts that read the same passages lie together, whatever their layer. "
                       "Select some to open their cards.")  # fmt: skip
            return
        st.markdown(f"**{plural(len(ids), 'expert')}**, and what they favour")
        for i in ids[:12]:
            row, expert = divmod(int(points.places[i]), data.routing.shape[2])
            asking.expert_button(
                data.routing, row, expert, _favourite_words(data, row, expert), "map"
            )
        if len(ids) > 12:
            note(f"The first 12 of {len(ids):,}.")


def _favourites(data: DataSet, label: str) -> np.ndarray:
    """[L, E] the value with the most lift at each expert, "" where none is above chance."""
    found = labels.specialised(data, label)
    if found is None:
        return np.full(data.routing.shape[1:], "")
    sure = np.isfinite(found.lift) if not found.draws else found.share_band.above
    best = np.where(sure, np.nan_to_num(found.lift), -1).argmax(axis=1)
    return np.where(sure.any(axis=1), found.names[best], "")


def _favourite_words(data: DataSet, row: int, expert: int) -> str:
    found = [str(_favourites(data, label)[row, expert]) for label in labels.labels_of(data.routing)]
    return ", ".join(words.label_word(value) for value in found if value) or "nothing beyond chance"


# ---- the visitor's own text


def _place_form(data: DataSet) -> None:
    with st.form("place", border=True):
        st.text_area(
            "Place your own text on the map", key="place_text", height=84, max_chars=20_000,
            placeholder="Type or paste a sentence or two, in any language",
        )  # fmt: skip
        st.form_submit_button("Place it", on_click=_ask_place)
    sentence, trouble = st.session_state.get("place_words", {}).get(data.key, ("", ""))
    if trouble:
        st.error(plain(trouble))
    elif sentence:
        tell(sentence)


def _ask_place() -> None:
    st.session_state["place_asked"] = st.session_state["place_text"]


def _placed(data: DataSet, points: Points, shown: RoutingMap) -> list[dict]:
    """The visitor's text as a mark on the map, and a sentence on where it landed."""
    text = st.session_state.get("place_asked", "")
    if not text.strip():
        return []
    said = st.session_state.setdefault("place_words", {})
    try:
        features, tokens = text_features(data, text)
        found = place(shown, features)
    except MoevizError as error:
        said[data.key] = ("", str(error))
        return []
    said[data.key] = (words.placed_sentence(data.routing, data.texts, found, tokens), "")
    x, y = on_screen(shown, found.coordinates)[0]
    return [
        {"x": float(x), "y": float(y), "near": found.neighbours[0].tolist(), "label": "your text"}
    ]


def text_features(data: DataSet, text: str) -> tuple[np.ndarray, int]:
    """([1, L * E] routing features of a text by the data set's model, tokens counted).

    Special tokens are left out, as in the data set. Raises MoevizError for what is no text.
    """
    session.check_text(text)
    trace = session.text_trace(data.model, text)
    kept = ~trace.tokens.special
    return routing_features(text_counts(trace, kept)[None]), int(kept.sum())


def text_counts(trace: RoutingTrace, kept: np.ndarray) -> np.ndarray:
    """[L, E] times each expert was chosen by the tokens where `kept` [T] is true."""
    layers, _, experts, _ = trace.shape
    ids = trace.experts[:, kept].astype(np.int64)
    flat = (np.arange(layers)[:, None, None] * experts + ids)[ids != EMPTY]
    return np.bincount(flat, minlength=layers * experts).reshape(layers, experts)


def _expert_name(routing, row: int, expert: int, capital: bool = True) -> str:
    name = f"layer {routing.layers[row]}, expert {expert}"
    return name.capitalize() if capital else f"expert {expert} of layer {routing.layers[row]}"
