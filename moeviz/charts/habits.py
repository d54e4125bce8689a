"""Habits of experts, beside chance: the company they keep, their tokens, reading and writing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from moeviz.charts import palette
from moeviz.charts.picture import Picture, quantised
from moeviz.charts.specialise import framed, layer_lines
from moeviz.charts.words import percent, plural
from moeviz.corpora.routing import CorpusRouting
from moeviz.metrics.coactivation import Company
from moeviz.metrics.phases import READ, WRITTEN
from moeviz.metrics.specialisation import Specialisation
from moeviz.metrics.words import VocabularySpecialisation

KIND_WORDS = {
    "input": "the token that is read",
    "next": "the token that follows",
    "predicted": "the token the model predicts",
}
"""What a choice of experts is set against, in a sentence."""

WHERE = {
    "input": "where it is read",
    "next": "where it comes next",
    "predicted": "where the model predicts it",
}

COUNTED = {
    "paper": "both among its choices, whatever their rank (N_ij / N_i, arXiv:2409.02060, eq. 6)",
    "script": "next to each other in the ranking of its choices, as the paper's published script "
    "counts, so that chance is lower",
}


def company_grid(
    routing: CorpusRouting, found: Company, row: int, layer: str, variant: str
) -> Picture:
    """Experts x experts of one layer: the share of one's tokens that chose the other too."""
    size = len(found.share)
    high = float(np.nanmax(found.share, initial=1e-6))
    with np.errstate(invalid="ignore", divide="ignore"):
        lift = np.where(found.alone > 0, found.share / found.alone, 0)
    meta = {
        "title": f"Which experts of layer {layer} fire together",
        "rows": {"kind": "label", "name": "Expert", "labels": [f"expert {e}" for e in range(size)]},
        "fixed": {"layer": layer},
        "cell": {"name": "Share of its tokens", "low": 0.0, "high": high, "unit": "%"},
        "ends": ["chance", "8 × chance"],
        "against": "their loads alone",
        "read": (
            "Each row is one expert, each cell the part of its tokens that chose the other expert "
            f"too: {COUNTED[variant]}. Even routing gives {percent(found.even)}; orange is more "
            "than the two experts' loads alone would bring together. Small: not above that chance, "
            "with all pairs looked at and tokens taken one by one. Click a cell for the column's "
            "card."
        ),
        **framed(routing, f"company-{variant}-{row}", palette.loss()),
        "columns": size,
    }  # fmt: skip
    arrays = {"lift": lift, "low": found.alone, "high": found.alone}
    floats = {name: np.ascontiguousarray(a, np.float32) for name, a in arrays.items()}
    inside = np.isfinite(found.share) & ~found.above
    return Picture(
        meta,
        {
            "values": quantised(found.share, 0.0, high),
            "inside": inside.astype(np.uint8),
            **{name: np.nan_to_num(a) for name, a in floats.items()},
        },
    )


def company_sentence(found: Company, layer: str) -> str:
    """How many pairs are above chance, and the closest one."""
    size = len(found.share)
    pairs = f"{int(found.above.sum())} of {size * (size - 1):,} pairs of experts"
    if not found.above.any():
        return f"In layer {layer}, no two experts fire together more than their loads make them."
    lift = np.where(found.above, found.share / np.maximum(found.alone, 1e-12), -1)
    one, other = (int(i) for i in np.unravel_index(lift.argmax(), lift.shape))
    return (
        f"In layer {layer}, {pairs} fire together more than their loads make them; the closest: "
        f"{percent(found.share[one, other])} of expert {one}'s tokens choose expert {other} too, "
        f"{lift[one, other]:.1f} × chance."
    )


def words_lines(
    routing: CorpusRouting,
    found: VocabularySpecialisation,
    layers: Sequence[str],
    kind: str,
    row: int,
) -> Picture:
    """How far one token means one expert, layer by layer, beside chance."""
    return layer_lines(
        routing, layers, found.favourite, np.stack([found.low, found.high], axis=1),
        f"How far {KIND_WORDS[kind]} settles the expert", "To its favourite expert", "%",
        f"Of all times that a token stands there, the share whose expert is the token's favourite, "
        f"mean of {plural(found.words, 'token')}. Grey is chance: each time sent by the experts' "
        f"loads alone, {found.draws} times. Click a layer to see its tokens.", row,
    )  # fmt: skip


def words_sentence(found: Mapping[str, VocabularySpecialisation], row: int, layer: str) -> str:
    """What settles the expert in one layer: each kind of token beside its chance."""
    parts = [
        f"{percent(one.favourite[row])} {WHERE[kind]} (chance {percent(one.high[row])})"
        for kind, one in found.items()
    ]
    return f"In layer {layer}, a token's favourite expert takes {', '.join(parts)}."


def phase_grid(routing: CorpusRouting, found: Specialisation, layers: Sequence[str]) -> Picture:
    """Layers x experts: share of the written tokens less that of the read ones, zero neutral."""
    read, written = (found.names.tolist().index(side) for side in (READ, WRITTEN))
    gap = found.share[:, written] - found.share[:, read]
    band = found.share_band
    low, high = (2 * (edge[:, written] - found.base) for edge in (band.low, band.high))
    inside = np.isfinite(gap)
    if band.above is not None:
        inside &= ~(band.above[:, written] | band.above[:, read])
    reach = float(np.nanmax(np.abs(gap))) or 0.01
    points = f"{100 * reach:.0f} points"
    meta = {
        "title": "Written minus read, expert by expert",
        "rows": {"kind": "layer", "name": "Layer", "labels": list(layers)},
        "fixed": {},
        "cell": {"name": "Written minus read", "low": -reach, "high": reach, "unit": "points"},
        "ends": [f"−{points}", "0", f"+{points}"],
        "read": (
            "Each cell is one expert: its share of the tokens that the model wrote (decode) less "
            "its share of those it read before them (prefill). Small: not beyond chance, the two "
            f"sides of each passage swapped at random, {found.draws} times. Read or "
            "written, the same token is routed alike, so what differs is the text. Click a cell "
            "for its card."
        ),
        **framed(routing, "phase-gap", palette.diverging()),
    }  # fmt: skip
    floats = {
        name: np.ascontiguousarray(a, np.float32) for name, a in (("low", low), ("high", high))
    }
    return Picture(
        meta, {"values": quantised(gap, -reach, reach), "inside": inside.astype(np.uint8), **floats}
    )


def phase_lines(
    routing: CorpusRouting, found: Specialisation, layers: Sequence[str], row: int
) -> Picture:
    """How far reading and writing part, layer by layer, beside swapped sides."""
    band = found.divergence_band
    edges = [np.broadcast_to(np.nan_to_num(edge), len(layers)) for edge in (band.low, band.high)]
    return layer_lines(
        routing, layers, found.divergence, np.stack(edges, axis=1),
        "How far reading and writing part", "Divergence", "bits",
        "Jensen–Shannon divergence: the bits that one choice of an expert tells on whether its "
        "token was read or written, every passage with the same weight. Grey is chance: sides of "
        f"each passage swapped, {found.draws} times.", row,
    )  # fmt: skip


def phase_sentence(found: Specialisation, passages: int, layers: Sequence[str]) -> str:
    """Where reading and writing part most, and in how many layers beyond chance."""
    bits, rises = found.divergence, found.divergence_band.above
    top = int(bits.argmax())
    sure = int(np.sum(rises)) if rises is not None else 0
    return (
        f"After {plural(passages, 'passage')} the model wrote on: what it writes takes other "
        f"experts than what it reads in {sure} of {plural(len(layers), 'layer')} beyond chance, "
        f"most in layer {layers[top]} ({bits[top]:.3f} bits)."
    )
