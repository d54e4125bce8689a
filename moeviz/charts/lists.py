"""Ranked lists: tokens routed alike, the tokens of an expert, and experts that fire together."""

from __future__ import annotations

import numpy as np

from moeviz.charts.heat import token_labels, token_name
from moeviz.charts.picture import Picture
from moeviz.charts.words import model_name, percent, plural, range_words, visible
from moeviz.metrics.expert import ExpertTokens
from moeviz.metrics.load import Load, LoadChance
from moeviz.metrics.similar import SimilarTokens
from moeviz.trace import RoutingTrace

BEFORE, AFTER = 14, 28
"""Characters of the text shown before and after a token in a list."""


def similar_list(trace: RoutingTrace, token: int, found: SimilarTokens) -> Picture:
    """The tokens routed most like `token`, through all layers."""
    low, high = found.closest
    meta = {
        "title": "Routed most alike",
        "chip": token_name(trace, token),
        "facts": [
            ["An average token of this text shares", percent(found.average)],
            ["A random one", percent(found.chance)],
        ],
        "pick": "token",
        "rows": _contexts(trace, found.tokens),
        "value": {"name": "Choices shared", "unit": "%", "high": 1.0},
        "band": {"low": low, "high": high, "name": "chance of the closest"},
        "read": (
            f"Share of the token's {plural(int((trace.experts[:, token] >= 0).sum()), 'choice')}, "
            "over all layers, that another token made too. Grey: what the closest of "
            f"{plural(len(trace.tokens) - 1, 'token')} would share if all chose at random."
        ),
        "empty": "This text has no other token to compare with.",
        **_common(trace),
    }
    if not len(found.tokens):
        meta["facts"], meta["band"] = [], None
    return Picture(meta, _arrays(found.tokens, found.overlap))


def expert_list(
    trace: RoutingTrace,
    row: int,
    expert: int,
    found: ExpertTokens,
    load: Load,
    chance: LoadChance,
    scope: tuple[int, int] | None = None,
) -> Picture:
    """Every token that chose `expert` of routed layer `row`, in context.

    found, load, chance: of the tokens first to last in `scope` (all if None), counted from there.
    """
    first, last = scope or (0, len(trace.tokens) - 1)
    tokens, share = found.tokens + first, float(load.share[row, expert])
    band = f"{percent(chance.low)} to {percent(chance.high)}"
    meta = {
        "title": f"Tokens of expert {expert}",
        "place": f"layer {trace.layers[row]}, {range_words(scope)}",
        "facts": [
            ["Tokens", f"{len(tokens):,} of {last - first + 1:,}"],
            [
                "Its first choice" if trace.ranked else "Named first for",
                f"{int((found.slot == 0).sum()):,}",
            ],
            ["Share of assignments", f"{percent(share)} (chance {band})"],
            *([["Mean gate", f"{found.gate.mean():.3f}"]] if _weighed(found) else []),
        ],
        "pick": "token",
        "rows": _contexts(trace, tokens),
        "read": (
            "Each line is a token that chose this expert, in its place in the text; "
            + (
                "how much weight each gave it is not known."
                if found.gate is None
                else "the bar is the weight the expert's output was multiplied by."
            )
        ),
        "empty": "No token chose this expert.",
        **_common(trace),
    }
    if found.gate is None:
        return Picture(meta, {"at": tokens.astype(np.int32)})
    meta["value"] = {"name": "Gate", "unit": "", "high": float(max(trace.gates[row].max(), 1e-6))}
    meta["sorts"] = ["Largest gate", "In the text"]
    return Picture(meta, _arrays(tokens, found.gate))


def _weighed(found: ExpertTokens) -> bool:
    return found.gate is not None and len(found.gate) > 0


def partner_list(
    trace: RoutingTrace,
    row: int,
    expert: int,
    share: np.ndarray,
    band: tuple[float, float],
    chance: float,
    tokens: int,
    scope: tuple[int, int] | None = None,
) -> Picture:
    """The experts that share most tokens with `expert`: share [E] of its tokens, nan for itself.

    band: 95 % of partners under random choices; chance: their mean. tokens: how
    many the expert got, of the selection `scope`.
    """
    others = np.flatnonzero(np.isfinite(share))
    order = others[np.argsort(-share[others], kind="stable")]
    low, high = band
    meta = {
        "title": f"Chosen together with expert {expert}",
        "place": f"layer {trace.layers[row]}, {range_words(scope)}",
        "facts": [["Chance for each", f"{percent(chance)} (K − 1 of E − 1)"]],
        "pick": "expert",
        "rows": [[f"Expert {e}", "", ""] for e in order],
        "value": {"name": "Tokens shared", "unit": "%", "high": _top(share, high)},
        "band": {"low": low, "high": high, "name": "chance"},
        "read": (
            f"Share of the {plural(tokens, 'token')} of expert {expert} that also chose another "
            "expert. Grey: where 95 % of experts fall when partners are random."
        ),
        "empty": "No token chose this expert, so it had no partners.",
        **_common(trace),
    }
    if not len(order):
        meta["facts"], meta["band"] = [], None
    return Picture(meta, _arrays(order, share[order]))


def _top(share: np.ndarray, high: float) -> float:
    known = share[np.isfinite(share)]
    return float(max(known.max(initial=0), high if np.isfinite(high) else 0, 0.01))


def _contexts(trace: RoutingTrace, tokens: np.ndarray) -> list[list[str]]:
    """[label, text before, text after] of each token."""
    labels, text = token_labels(trace), trace.tokens.source
    rows = []
    for t in tokens.tolist():
        start, end = trace.tokens.spans[t].tolist()
        if 0 <= start < end:
            before, after = text[max(0, start - BEFORE) : start], text[end : end + AFTER]
            rows.append([labels[t], _line(before), _line(after)])
        else:
            rows.append([labels[t], "", ""])
    return rows


def _line(text: str) -> str:
    """A stretch of text on one line: spaces as they are, other signs made visible."""
    return " ".join(visible(word) if word else "" for word in text.split(" "))


def _arrays(places: np.ndarray, values: np.ndarray) -> dict[str, np.ndarray]:
    return {"at": places.astype(np.int32), "values": np.asarray(values, np.float32)}


def _common(trace: RoutingTrace) -> dict:
    return {"key": trace.key, "model": model_name(trace.source.model)}
