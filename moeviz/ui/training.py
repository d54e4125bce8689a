"""How the demo model's specialisation came about, moment by moment."""

from __future__ import annotations

import numpy as np
import streamlit as st

from moeviz.charts import specialise as pictures
from moeviz.charts import specialise_words as words
from moeviz.corpora.emergence import load_emergence
from moeviz.metrics.emergence import (
    Growth,
    grouped,
    label_divergence,
    max_violation,
    passage_counts,
    saturation,
)
from moeviz.rules.words import short_count
from moeviz.ui import asking, session
from moeviz.ui.components import heat_grid, packed, plot
from moeviz.ui.datasets import DataSet
from moeviz.ui.inquiry import Inquiry
from moeviz.ui.terms import headline, note

LABELS = ("language", "domain")
SHUFFLES = 200


def training_section(data: DataSet, inquiry: Inquiry) -> None:
    """A slider over training: what each expert reads then, and three figures as they grow."""
    found = load_emergence()
    seen = [short_count(int(count)) for count in found.seen]
    layers = [str(row) for row in range(found.experts.shape[1])]
    moment = min(inquiry.moment, len(seen) - 1)
    row = layers.index(inquiry.layer) if inquiry.layer in layers else len(layers) // 2
    label = inquiry.by if inquiry.by in LABELS else LABELS[0]
    note(
        f"The demo model's own training: {found.experts.shape[2]} fixed passages, routed at "
        f"{len(seen)} moments. Only this model's moments are at hand."
    )
    _moment_slider(seen, moment)
    with st.container(horizontal=True, gap="medium"):
        asking.choice("Layer", "layer", {name: name for name in layers}, layers[row])
        asking.choice("By", "by", {name: name.capitalize() for name in LABELS}, label)
    parts = _growth(label)
    headline(words.growth_sentence(parts, found.loss, seen, moment, row, label))
    left, right = st.columns([3, 2], gap="medium")
    with left:
        names, counts, low, high = _moments(label)
        _draw("moment", (label, row, moment), lambda: pictures.moment_grid(
            names, counts[moment, row], low[moment, row], high[moment, row], label, layers[row],
            seen[moment],
        ), heat_grid, lambda: None)  # fmt: skip
    with right:
        for name, growth in parts.items():
            title, read = words.growth_words(name, label)
            _draw(f"growth-{name}", (label, row, moment), lambda g=growth, t=title, r=read: (
                pictures.growth_lines(t, r, g.name, g.unit, g.values, g.chance, seen, layers, row,
                                      moment)
            ), plot, lambda: None)  # fmt: skip


def _moment_slider(seen: list[str], moment: int) -> None:
    key = "ask_moment"
    st.session_state[key] = seen[moment]

    def take() -> None:
        asking.wish(moment=seen.index(st.session_state[key]))

    st.select_slider("Tokens trained on", seen, key=key, on_change=take)


@st.cache_resource(show_spinner="Shuffling labels, to see what chance would show")
def _growth(label: str) -> dict[str, Growth]:
    found = load_emergence()
    return {
        "divergence": label_divergence(found, label),
        "saturation": saturation(found),
        "balance": max_violation(found),
    }


@st.cache_resource(show_spinner=False)
def _moments(label: str) -> tuple[list[str], np.ndarray, np.ndarray, np.ndarray]:
    """(names [G], counts [C, L, G, E], low and high [C, L, G, E] of shares by shuffled labels)."""
    found = load_emergence()
    names, codes = np.unique(found.labels[label], return_inverse=True)
    counts, rng = passage_counts(found).astype(float), np.random.default_rng(0)
    drawn = np.stack([_shares(grouped(counts, rng.permutation(codes))) for _ in range(SHUFFLES)])
    low, high = np.quantile(drawn, (0.025, 0.975), axis=0)
    return names.tolist(), grouped(counts, codes), low, high


def _shares(counts: np.ndarray) -> np.ndarray:
    return (counts / np.maximum(counts.sum(axis=-1, keepdims=True), 1)).astype(np.float32)


def _draw(kind: str, options: tuple, make, component, take) -> None:
    component(session.drawn(kind, "emergence", options, lambda: packed(make())), kind, take)
