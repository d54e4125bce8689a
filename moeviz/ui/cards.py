"""One expert's card: what it reads, where, with whom, and how sure that is."""

from __future__ import annotations

import numpy as np
import pandas as pd
import streamlit as st

from moeviz.charts import specialise as pictures
from moeviz.charts import specialise_words as words
from moeviz.charts.units import text_units
from moeviz.metrics.card import ExpertCard, expert_card
from moeviz.trace import MoevizError
from moeviz.ui import asking, published, session
from moeviz.ui.components import heat_grid, picked, plot
from moeviz.ui.datasets import DataSet, kept
from moeviz.ui.house import way_to
from moeviz.ui.inquiry import Inquiry
from moeviz.ui.labels import draw, label_choice, labels_of, specialised
from moeviz.ui.line import in_line
from moeviz.ui.markdown import plain
from moeviz.ui.sheets import sheet
from moeviz.ui.shelf import shelf
from moeviz.ui.terms import headline, inform, note
from moeviz.ui.tokens import expert_table, kind_choice
from moeviz.ui.view import text_for_link

SHOWN = 5
"""Passages in which an expert is shown at work, each of another text."""

LONGEST = 110
"""Tokens of a passage that are shown."""


def cards_section(data: DataSet, inquiry: Inquiry) -> None:
    """All experts at a glance to choose from, and the card of one."""
    routing = data.routing
    if data.published:
        published.model_choice(data)
    label = label_choice(data, inquiry)
    names = asking.layer_labels(routing)
    found = specialised(data, label) if label else None
    if found is not None:
        draw("selectivity", data, (label,),
             lambda: pictures.selectivity_grid(routing, found, names), heat_grid,
             lambda: _take(data))  # fmt: skip
    with st.container(horizontal=True, gap="medium"):
        row, expert = asking.expert_choice(routing, inquiry)
    card = _card(data, row, expert)
    st.header(f"Layer {names[row]}, expert {expert}", anchor=False)
    headline(words.card_sentence(card, _summary(data, row, expert)))
    if data.model == session.asked()[0]:
        _what_if(names[row], expert)
    left, right = st.columns(2, gap="medium")
    with left:
        _labels(data, row, expert)
        if card.partners is not None:
            draw("partners", data, (row, expert),
                 lambda: pictures.partner_bars(routing, card, names[row]), plot,
                 lambda: _take_partner(names[row]))  # fmt: skip
    with right:
        _tokens(data, inquiry, card)
        if card.positions is not None:
            draw(
                "positions", data, (row, expert),
                lambda: pictures.position_bars(routing, card, names[row]), plot, lambda: None,
            )  # fmt: skip
    if data.texts:
        _at_work(data, row, expert)


def _take(data: DataSet) -> None:
    pick, names = picked("selectivity"), asking.layer_labels(data.routing)
    row, expert = pick.get("row"), pick.get("expert")
    if isinstance(row, int) and 0 <= row < len(names):
        asking.wish(layer=names[row])
    if isinstance(expert, int):
        asking.wish(expert=expert)


def _take_partner(layer: str) -> None:
    expert = picked("partners").get("expert")
    if isinstance(expert, int):
        asking.open_card(layer, expert)


@kept(most=200)
def _card(key: str, row: int, expert: int, _data: DataSet) -> ExpertCard:
    return expert_card(_data.routing, row, expert)


def _summary(data: DataSet, row: int, expert: int) -> dict[str, tuple[str, float, int] | None]:
    """By label: (the value with the most lift that is above chance, that lift, how many are)."""
    summary = {}
    for label in labels_of(data.routing):
        found = specialised(data, label)
        if found is None:
            continue
        lift = found.lift[row, :, expert]
        sure = np.isfinite(lift) if not found.draws else found.share_band.above[row, :, expert]
        best = int(np.argmax(np.where(sure, lift, -1)))
        count = int(sure.sum()) if found.draws else 0  # 0: published totals, not tested
        named = (str(found.names[best]), float(lift[best]), count)
        summary[label] = named if sure.any() else None
    return summary


def _labels(data: DataSet, row: int, expert: int) -> None:
    """Each label's share of tokens at this expert, highest lift first, with its chance."""
    for label in labels_of(data.routing):
        found = specialised(data, label)
        if found is None:
            continue
        share, lift = found.share[row, :, expert], found.lift[row, :, expert]
        order = np.argsort(-np.nan_to_num(lift), kind="stable")
        table = {
            label: [words.label_word(str(found.names[i])) for i in order],
            "share of its tokens": 100 * share[order],
            "lift": lift[order],
        }
        if found.draws:
            low, high = found.share_band.low[row, :, expert], found.share_band.high[row, :, expert]
            table["chance"] = [f"{100 * low[i]:.1f} to {100 * high[i]:.1f} %" for i in order]
            above = found.share_band.above[row, :, expert]
            table["sure"] = ["✓" if above[i] else "" for i in order]
        st.markdown(f"**What it reads, by {plain(label)}**")
        sheet(
            pd.DataFrame(table), f"expert-{label}", height=246,
            column_config={
                "share of its tokens": st.column_config.NumberColumn(format="%.1f %%"),
                "lift": st.column_config.NumberColumn(format="%.2f ×"),
            },
        )  # fmt: skip


def _tokens(data: DataSet, inquiry: Inquiry, card: ExpertCard) -> None:
    st.markdown("**Tokens that choose it most**")
    if not data.routing.vocabulary:
        note("Only totals by domain were published, so its tokens are not known.")
        return
    expert_table(data, kind_choice(data, inquiry), card.row, card.expert)


def _at_work(data: DataSet, row: int, expert: int) -> None:
    """Passages that use the expert most, read by the model now, its tokens marked."""
    st.markdown("**Where it fires in the texts**")
    if data.model not in shelf():
        if not st.button("Read its passages", help="Loads the model, to see token by token"):
            return
        with st.spinner("Loading the model"):
            session.loaded(data.model)
    try:
        with in_line():
            shown = _marked(data.key, row, expert, data)
    except MoevizError as error:
        inform(str(error))
        return
    note("The passages that use it most, each of another text. Marked: tokens that chose it.")
    for label, text in shown:
        st.markdown(f"{text}  \n:gray[{plain(label)}]")


@st.cache_resource(max_entries=64, scope="session", show_spinner="Reading its passages")
def _marked(key: str, row: int, expert: int, _data: DataSet) -> list[tuple[str, str]]:
    """(labels, the passage as Markdown with the expert's tokens marked) of the busiest passages."""
    routing = _data.routing
    share = routing.counts[:, row, expert] / np.maximum(routing.tokens, 1)
    share[routing.tokens < min(20, routing.tokens.max())] = 0
    chosen, seen = [], set()
    for passage in np.argsort(-share, kind="stable"):
        if routing.documents[passage] not in seen:
            seen.add(routing.documents[passage])
            chosen.append(int(passage))
        if len(chosen) == SHOWN:
            break
    return [(_label_line(routing, p), _marked_text(_data, p, row, expert)) for p in chosen]


def _label_line(routing, passage: int) -> str:
    labels = [words.label_word(str(values[passage])) for values in routing.labels.values()]
    return " · ".join(labels)


def _marked_text(data: DataSet, passage: int, row: int, expert: int) -> str:
    from moeviz.models import trace_text  # late: torch takes seconds

    model = session.loaded(data.model)
    trace = trace_text(model, data.texts[passage], logits=False, truncate=True)
    fired = (trace.experts[row] == expert).any(axis=-1) & ~trace.tokens.special
    parts, open_run = [], ""
    for unit in text_units(trace.tokens):
        if unit.special or unit.first >= LONGEST:
            continue
        text = plain(" ".join(unit.text.split("\n"))) if "\n" in unit.text else plain(unit.text)
        hot = bool(unit.count) and fired[unit.first : unit.first + unit.count].any()
        if hot and text.strip():
            open_run += text
            continue
        parts += [_mark(open_run), text]
        open_run = ""
    return "".join([*parts, _mark(open_run)]).strip() or "…"


def _mark(run: str) -> str:
    """A run of fired tokens as a highlight; spaces at its ends stay outside."""
    inner = run.strip()
    if not inner:
        return run
    head = run[: len(run) - len(run.lstrip())]
    return f"{head}:orange-background[{inner}]{run[len(run.rstrip()) :]}"


def _what_if(layer: str, expert: int) -> None:
    """The way to muting the expert, with the visitor's own text."""
    text = session.asked()[1]
    link = {"rule": f"mute {layer}:{expert}", "layer": layer, "expert": str(expert)}
    if text_for_link(text):
        link["text"] = text
    way_to("what-if", "What changes without it? Mute it and read the losses", query_params=link)
