"""Grids of experts: tokens by experts, layers by experts, and one token through the layers."""

from __future__ import annotations

import numpy as np

from moeviz.charts import palette
from moeviz.charts.once import once
from moeviz.charts.picture import Picture, quantised
from moeviz.charts.units import Unit, text_units, unit_of_token
from moeviz.charts.words import loss_words, model_name, percent, visible
from moeviz.metrics.load import Load, LoadChance, layer_sizes
from moeviz.metrics.router import (
    has_logits,
    probability_recipe,
    router_gates,
    router_probabilities,
)
from moeviz.metrics.tokens import token_path
from moeviz.trace import EMPTY, RoutingTrace, TraceError

CELLS = {"probability": "Probability", "logit": "Logit", "gate": "Gate", "choice": "Choice"}
"""What the cells of the token grid can show: the name in links, and the word on screen."""

COLUMNS = {"experts": "All experts, this layer", "layers": "One expert, all layers"}
"""What the columns of the token grid can be: the name in links, and the words on screen."""

LABEL, NAME = 16, 48
"""Most characters of a token in a row's label, and in a heading."""


def token_grid(
    trace: RoutingTrace, row: int, cells: str, load: Load, chance: LoadChance, top: float
) -> Picture:
    """Tokens x experts of routed layer `row`, with the layer's load above the columns.

    top: where the scale of probabilities ends, the same for every layer of the trace.
    Raises TraceError when `cells` needs logits or gates that the trace does not hold.
    """
    values, low, high, name, read = _cells(trace, row, cells, top)
    layer = trace.layers[row]
    read = f"{read} {_marks(trace)}".strip()
    meta = {
        "title": f"Layer {layer}, token by token",
        "rows": {"kind": "token", "name": "Token", "labels": token_labels(trace)},
        "fixed": {"layer": layer},
        "cell": _cell(cells, name, low, high),
        "ends": _ends(cells, low, high),
        "bars": {"low": chance.low, "high": chance.high, "even": chance.even},
        "read": (
            f"{read} Bars: each expert's share of the layer's assignments; grey band: chance, "
            f"where 95 % of experts fall when routers choose at random ({chance.draws} draws)."
        ),
        **_common(trace, palette.sequential()),
    }
    return Picture(
        meta,
        {
            "values": quantised(values, low, high),
            "experts": trace.experts[row],
            **_where_known(gates=None if trace.gates is None else trace.gates[row]),
            "bars": load.share[row].astype(np.float32),
        },
    )


def expert_grid(
    trace: RoutingTrace,
    expert: int,
    cells: str,
    load: Load,
    chance: LoadChance | None,
    top: float,
) -> Picture:
    """Tokens x layers of the experts numbered `expert`, one of each routed layer.

    chance: of the load in any layer; None where layers differ, and then their load is not drawn.
    Raises TraceError when `cells` needs logits or gates that the trace does not hold.
    """
    values, low, high, name, read = _expert_cells(trace, expert, cells, top)
    took = trace.experts == expert  # [L, T, K]
    layers = np.arange(len(trace.layers))[:, None]
    absent = layer_sizes(trace)[0] <= expert
    meta = {
        "title": f"Expert {expert} of every layer, token by token",
        "rows": {"kind": "token", "name": "Token", "labels": token_labels(trace)},
        "across": {"kind": "layer", "name": "Layer", "labels": [str(x) for x in trace.layers]},
        "fixed": {"expert": expert},
        "cell": _cell(cells, name, low, high),
        "ends": _ends(cells, low, high),
        "read": (
            f"{read} Each column is another expert: those of different layers share only their "
            f"number. {_marks(trace, 'where it was chosen', ', and its gate')}"
        ),
        **_common(trace, palette.sequential()),
        "columns": len(trace.layers),
        "chosen": len(trace.layers),
    }
    arrays = {
        "values": quantised(np.where(absent, np.nan, values), low, high),
        "experts": np.where(took.any(axis=-1), layers, EMPTY).T.astype(np.int16),
        **_where_known(gates=None if trace.gates is None else _summed(trace, took)),
    }
    if chance is not None:
        meta["bars"] = {"low": chance.low, "high": chance.high, "even": chance.even}
        meta["read"] += (
            f" Bars: its share of each layer's assignments; grey band: chance, where 95 % of "
            f"experts fall when routers choose at random ({chance.draws} draws)."
        )
        arrays["bars"] = load.share[:, expert].astype(np.float32)
    return Picture(meta, arrays)


def load_grid(trace: RoutingTrace, load: Load) -> Picture:
    """Layers x experts: each expert's share of its layer's assignments, against the even share."""
    even = 1 / load.experts
    same = len(set(load.experts.tolist())) == 1
    about = f"the even share of {percent(even[0])}" if same else "the layer's even share"
    high = float(np.nanmax(load.share))
    meta = {
        "title": "All layers, expert by expert",
        "rows": {"kind": "layer", "name": "Layer", "labels": [str(x) for x in trace.layers]},
        "fixed": {},
        "cell": {"name": "Share of assignments", "low": 0.0, "high": high, "unit": "%"},
        "ends": ["¼ of even", "even", "4 × even"],
        "read": (
            f"Each cell is one expert of one layer. Orange took more than {about}, blue less. "
            f"Click a cell to open its layer. Expert 3 of one layer and expert 3 of the next "
            f"have only their number in common."
        ),
        **_common(trace, palette.diverging()),
    }
    return Picture(
        meta, {"values": quantised(load.share, 0.0, high), "even": even.astype(np.float32)}
    )


def token_journey(trace: RoutingTrace, token: int, top: float) -> Picture:
    """Layers x experts for one token: its router's whole distribution and what was chosen."""
    path = token_path(trace, token)
    values, name, cells = path.probability, "Probability", "probability"
    known = (path.runner_up != EMPTY).any()
    absent = np.arange(trace.shape[2]) >= layer_sizes(trace)[0][:, None]
    unit = "logits" if trace.scores is None else "in what the router ranks by"
    if values is None:
        top = 1.0
        weights = (path.experts != EMPTY).astype(np.float32) if path.share is None else path.share
        values = _spread(path.experts, weights, trace.shape[2])
        name = "Chosen" if path.share is None else "Share of the gates"
        cells = "choice" if path.share is None else cells
    meta = {
        "title": "One token, all layers",
        "token": token_name(trace, token),
        "facts": _token_facts(trace, token, path.loss),
        "rows": {"kind": "layer", "name": "Layer", "labels": [str(x) for x in trace.layers]},
        "fixed": {"token": token},
        "cell": _cell(cells, name, 0.0, top),
        "ends": _ends(cells, 0.0, top),
        "choices": True,
        "read": (
            "Each row is one layer's router deciding about this token; dots mark the experts it "
            f"chose. {_about_gates(path.gates is not None)}"
            + (f" Rings: the runner-up, and how far behind it was ({unit})." if known else "")
        ),
        "units": unit,
        **_common(trace, palette.sequential()),
    }
    arrays = {"experts": path.experts, **_where_known(gates=path.gates, share=path.share)}
    if known:
        arrays["left_out"] = path.runner_up.astype(np.int16)
        arrays["behind"] = path.behind.astype(np.float32)
    return Picture(
        meta, {"values": quantised(np.where(absent, np.nan, values), 0.0, top), **arrays}
    )


@once
def token_labels(trace: RoutingTrace) -> list[str]:
    """One short label per token; byte pieces of one character say which piece they are."""
    units = text_units(trace.tokens)
    return [_label(units[i], t, LABEL) for t, i in enumerate(_owners(trace))]


def token_name(trace: RoutingTrace, token: int) -> str:
    """A longer label of one token, for a heading."""
    return _label(text_units(trace.tokens)[_owners(trace)[token]], token, NAME)


@once
def _owners(trace: RoutingTrace) -> list[int]:
    return unit_of_token(text_units(trace.tokens), len(trace.tokens)).tolist()


def _label(unit: Unit, token: int, cut: int) -> str:
    text = visible(unit.text)
    text = text if len(text) <= cut else text[: cut - 1] + "…"
    return text if unit.count < 2 else f"{text} {token - unit.first + 1}/{unit.count}"


def _cells(
    trace: RoutingTrace, row: int, cells: str, top: float
) -> tuple[np.ndarray, float, float, str, str]:
    """(values [T, E], low, high, name, how to read them)."""
    if cells == "choice":
        chosen = (trace.experts[row] != EMPTY).astype(np.float32)
        return _spread(trace.experts[row], chosen, trace.shape[2]), 0.0, 1.0, "Chosen", ""
    if cells == "gate":
        gates = router_gates(trace)
        values = _spread(trace.experts[row], gates[row], trace.shape[2])
        high = float(max(gates.max(), 1e-6))
        return values, 0.0, high, "Gate", "Stronger colour: a larger gate."
    if trace.logits is None:
        raise TraceError(_no_logits(trace))
    values = router_probabilities(trace, row)
    if cells == "logit":
        values = np.where(np.isfinite(trace.logits[row]), trace.logits[row], np.nan)
        low, high = float(np.nanmin(values)), float(np.nanmax(values))
        return values, low, high, "Logit", "Stronger colour: a larger raw router logit."
    values[:, layer_sizes(trace)[0][row] :] = np.nan  # experts that this layer does not have
    recipe = f"Stronger colour: more probability ({probability_recipe(trace)})."
    return values, 0.0, top, "Probability", recipe


def _expert_cells(
    trace: RoutingTrace, expert: int, cells: str, top: float
) -> tuple[np.ndarray, float, float, str, str]:
    """(values [T, L], low, high, name, how to read them) of one expert of every layer."""
    if cells == "choice":
        values = (trace.experts == expert).any(axis=-1).astype(np.float32)
        return values.T, 0.0, 1.0, "Chosen", ""
    if cells == "gate":
        values = _summed(trace, trace.experts == expert)
        high = float(max(trace.gates.max(), 1e-6))
        return values, 0.0, high, "Gate", "Stronger colour: a larger gate."
    known = [row for row in range(trace.shape[0]) if has_logits(trace, row)]
    if not known:
        raise TraceError(_no_logits(trace))
    values = np.full(trace.experts.shape[:2], np.nan, np.float32)
    if cells == "logit":
        values[known] = trace.logits[known, :, expert]
        values = np.where(np.isfinite(values), values, np.nan)
        low, high = float(np.nanmin(values)), float(np.nanmax(values))
        return values.T, low, high, "Logit", "Stronger colour: a larger raw router logit."
    for row in known:
        values[row] = router_probabilities(trace, row)[:, expert]
    recipe = f"Stronger colour: more probability ({probability_recipe(trace)})."
    return values.T, 0.0, top, "Probability", recipe


def _cell(cells: str, name: str, low: float, high: float) -> dict:
    """What a cell's number is; on a root scale small values are spread."""
    unit = {"probability": "%", "choice": "yes"}.get(cells, "")
    root = cells in ("probability", "gate")
    return {"name": name, "low": low, "high": high, "unit": unit, "root": root}


def _ends(cells: str, low: float, high: float) -> list[str]:
    """Words for the ends of the scale; a root scale has a quarter of its top in the middle."""
    if cells == "choice":
        return ["not chosen", "chosen"]
    if cells == "logit":
        return [f"{low:.1f}", f"{high:.1f}"]
    word = percent if cells == "probability" else "{:.2f}".format
    return ["0 %" if cells == "probability" else "0", word(high / 4), word(high)]


def _no_logits(trace: RoutingTrace) -> str:
    cells = CELLS["choice" if trace.gates is None else "gate"]
    return (
        f"This trace holds the chosen experts but not the router's logits. Choose {cells} above to "
        "see the choices, or trace the text again with logits."
    )


def _marks(
    trace: RoutingTrace, where: str = "the chosen experts", gates: str = " and their gates"
) -> str:
    """What the dots mean, and the numbers where there are any."""
    return f"Dots: {where}." if trace.gates is None else f"Dots and numbers: {where}{gates}."


def _about_gates(known: bool) -> str:
    if not known:
        return "How much weight each got is not known: this trace holds choices alone."
    return (
        "Gates are the weights their outputs were multiplied by, and in brackets their share of "
        "the token's gates."
    )


def _where_known(**arrays: np.ndarray | None) -> dict[str, np.ndarray]:
    return {name: array for name, array in arrays.items() if array is not None}


def _summed(trace: RoutingTrace, took: np.ndarray) -> np.ndarray:
    """[T, L] the gates of the slots marked in `took` [L, T, K], summed over slots."""
    return np.where(took, router_gates(trace), 0).sum(axis=-1).T.astype(np.float32)


def _spread(experts: np.ndarray, weights: np.ndarray, size: int) -> np.ndarray:
    """[N, E] the weights [N, K] put at their experts; 0 where an expert was not chosen."""
    grid = np.zeros((len(experts), size + 1), dtype=np.float32)
    np.put_along_axis(grid, np.where(experts == EMPTY, size, experts).astype(np.int64), weights, -1)
    return grid[:, :size]


def _token_facts(trace: RoutingTrace, token: int, loss: float) -> list[list[str]]:
    piece = trace.tokens[token]
    start, end = piece.span
    facts = [["Token", f"{token + 1:,} of {len(trace.tokens):,}"], *_id(piece.id)]
    if start >= 0:
        one = "Character" if end - start == 1 else "Characters"
        facts.append([one, f"{start + 1:,}" if end - start == 1 else f"{start + 1:,} to {end:,}"])
    if piece.special:
        facts.append(["Kind", "special: stands for no text"])
    if trace.loss is not None:
        facts.append(["Next-token loss", loss_words(loss)])
    return facts


def _id(number: int) -> list[list[str]]:
    return [["Vocabulary id", f"{number}"]] if number >= 0 else []


def _common(trace: RoutingTrace, scale: palette.Scale) -> dict:
    return {
        "key": trace.key,
        "model": model_name(trace.source.model),
        "columns": trace.shape[2],
        "chosen": trace.shape[3],
        "light": scale.light,
        "dark": scale.dark,
    }
