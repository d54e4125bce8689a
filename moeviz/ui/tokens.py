"""Tokens that go to an expert more than chance sends them, as a table."""

from __future__ import annotations

import pandas as pd
import streamlit as st

from moeviz.charts.words import spelt, visible
from moeviz.metrics.words import ExpertWords, expert_words, layer_words
from moeviz.ui import asking
from moeviz.ui.datasets import DataSet, kept
from moeviz.ui.inquiry import KINDS, Inquiry
from moeviz.ui.sheets import sheet
from moeviz.ui.terms import note

MOST = 20
"""Tokens shown of one expert."""

_COLUMNS = {
    "chose it": st.column_config.NumberColumn(format="%.0f %%"),
    "lift": st.column_config.NumberColumn(format="%.1f ×"),
}


def kind_choice(data: DataSet, inquiry: Inquiry) -> str:
    """Buttons for the kinds of token that were counted; hands back the one chosen."""
    known = {kind: KINDS[kind] for kind in KINDS if kind in data.routing.vocabulary}
    kind = inquiry.kind if inquiry.kind in known else next(iter(known))
    if len(known) > 1:
        asking.choice("Token", "kind", known, kind)
    return kind


def expert_table(data: DataSet, kind: str, row: int, expert: int) -> None:
    """The tokens of one expert, highest lift first."""
    found = _of_expert(data, kind, row, expert)
    best = [i for i, above in enumerate(found.above) if above][:MOST]
    if not best:
        note("No token chooses it beyond what chance would show among so many tokens.")
        return
    table = {
        "token": [visible(spelt(found.pieces[i])) for i in best],
        "times": found.times[best],
        "chose it": 100 * found.share[best],
        "lift": found.lift[best],
    }
    sheet(pd.DataFrame(table), "expert-tokens", height=246, column_config=_COLUMNS)
    left = int(found.above.sum()) - len(best)
    more = f" {left:,} more tokens are." if left else ""
    note(f"All of them beyond chance, even among so many tokens and experts.{more}")


def layer_table(data: DataSet, kind: str, row: int) -> None:
    """The tokens that most belong to one expert of a layer."""
    found = _of_layer(data, kind, row)
    if not found:
        note("No token of this layer goes to one expert beyond chance.")
        return
    table = pd.DataFrame(found, columns=["expert", "token", "times", "chose it", "lift"])
    table["token"] = [visible(spelt(piece)) for piece in table["token"]]
    table["chose it"] *= 100
    sheet(table, "layer-tokens", height=320, column_config=_COLUMNS)
    note("The highest shares, each beyond chance even among so many tokens and experts.")


@kept(most=200)
def _of_expert(key: str, kind: str, row: int, expert: int, _data: DataSet) -> ExpertWords:
    return expert_words(_data.routing, row, expert, kind)


@kept(most=48)
def _of_layer(key: str, kind: str, row: int, _data: DataSet) -> list:
    return layer_words(_data.routing, row, kind)
