"""The panel beside the text: one token, one expert, one layer, or the ways of many, closely."""

from __future__ import annotations

import numpy as np
import streamlit as st

from moeviz.charts.flow import flow_picture
from moeviz.charts.heat import token_journey
from moeviz.charts.layers import MEASURES, layer_bars
from moeviz.charts.lists import expert_list, partner_list, similar_list
from moeviz.charts.picture import Picture
from moeviz.metrics.coactivation import coactivation, coactivation_band, coactivation_chance
from moeviz.metrics.expert import expert_tokens
from moeviz.metrics.load import layer_sizes
from moeviz.metrics.similar import similar_tokens
from moeviz.trace import RoutingTrace
from moeviz.ui.choice import choice
from moeviz.ui.components import flow, heat_grid, plot, ranked
from moeviz.ui.figure import figure
from moeviz.ui.house import hidden_pages
from moeviz.ui.measures import Scope, layer_chance, layer_facts, load_of, part_of, top_of
from moeviz.ui.terms import note
from moeviz.ui.view import LOOKS, View, layer_labels


def panel(trace: RoutingTrace, view: View) -> None:
    """What to look at, and its figures; a click on the page brings what was clicked."""
    choice(trace, view, "look", "Look closer at", LOOKS, quiet=True)
    {"token": _token, "expert": _expert, "layer": _layer, "flow": _flow}[view.look](trace, view)


def expert_shown(trace: RoutingTrace, view: View) -> int:
    """The picked expert where the layer has it, else the busiest of the layer."""
    sizes, _ = layer_sizes(trace)
    if view.expert is not None and view.expert < sizes[view.row]:
        return view.expert
    return int(np.nanargmax(load_of(trace).share[view.row]))


def _token(trace: RoutingTrace, view: View) -> None:
    token = view.token
    figure(
        "journey", trace, (token,), lambda: token_journey(trace, token, top_of(trace)), heat_grid
    )
    figure(
        "similar", trace, (token,),
        lambda: similar_list(trace, token, similar_tokens(trace, token)), ranked,
    )  # fmt: skip


def _expert(trace: RoutingTrace, view: View) -> None:
    row, expert, scope = view.row, expert_shown(trace, view), view.selection
    options = (row, expert, scope)
    way_to_mute(trace, row, expert)
    figure("taken", trace, options, lambda: _taken(trace, row, expert, scope), ranked)
    if layer_sizes(trace)[1][row] > 1:
        figure("partners", trace, options, lambda: _partners(trace, row, expert, scope), ranked)
    else:
        note("This layer gives every token one expert, so no two are chosen together.")


def way_to_mute(trace: RoutingTrace, row: int, expert: int | None) -> None:
    """The way to the page where this expert can be muted, and more; nothing where the layer has no
    such expert, or none is picked."""
    if expert is None or expert >= layer_sizes(trace)[0][row]:
        return
    layer = layer_labels(trace)[row]
    if "what-if" not in hidden_pages() and st.button(
        f"What if expert {expert} were muted?", key="mute_this"
    ):
        here = {"layer": layer, "expert": str(expert), "rule": f"mute {layer}:{expert}"}
        st.switch_page("pages/what-if.py", query_params={**st.query_params.to_dict(), **here})


def _taken(trace: RoutingTrace, row: int, expert: int, scope: Scope) -> Picture:
    found = expert_tokens(part_of(trace, scope), row, expert)
    load, chance = load_of(trace, scope), layer_chance(trace, row, scope)
    return expert_list(trace, row, expert, found, load, chance, scope)


def _partners(trace: RoutingTrace, row: int, expert: int, scope: Scope) -> Picture:
    part = part_of(trace, scope)
    experts, chosen = (int(x[row]) for x in layer_sizes(trace))
    share = coactivation(part, row)[expert, :experts]
    tokens = len(expert_tokens(part, row, expert).tokens)
    band = coactivation_band(tokens, experts, chosen)
    chance = coactivation_chance(experts, chosen)
    return partner_list(trace, row, expert, share, band, chance, tokens, scope)


def _layer(trace: RoutingTrace, view: View) -> None:
    row, scope, measure = view.row, view.selection, view.measure
    choice(trace, view, "measure", "Compare layers by", MEASURES)
    figure(
        "among", trace, (row, scope, measure),
        lambda: layer_bars(trace, layer_facts(trace, scope), row, measure, scope), plot,
    )  # fmt: skip


def _flow(trace: RoutingTrace, view: View) -> None:
    figure("flow", trace, (view.selection,), lambda: flow_picture(trace, view.selection), flow)
