"""Pictures of specialisation: labels by experts, layer by layer, one expert, and training."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from moeviz.charts import palette
from moeviz.charts.picture import Picture, quantised
from moeviz.charts.specialise_words import label_word
from moeviz.charts.words import model_name, percent
from moeviz.corpora.routing import CorpusRouting
from moeviz.metrics.card import ExpertCard, place_names
from moeviz.metrics.specialisation import Specialisation

_LIFT_ENDS = ["mean", "8 × the mean"]


def label_grid(routing: CorpusRouting, found: Specialisation, row: int, layer: str) -> Picture:
    """Labels x experts of routed layer `row`: share of each label's tokens, coloured by lift."""
    label, size = found.label, int(routing.experts[row])
    share, band = found.share[row, :, :size], found.share_band
    high = float(share.max())
    chance = (
        f"Small: not above chance, which is labels dealt anew over whole {found.unit} "
        f"({found.draws} times; at most one deal in twenty has any large cell)."
        if found.draws else
        f"With {int(found.tokens.min()):,} tokens each, counting noise is small; how far single "
        "documents sway it is not known, because only totals were published."
    )  # fmt: skip
    meta = {
        "title": f"Which experts of layer {layer} read which {label}",
        "rows": {"kind": "label", "name": label.capitalize(),
                 "labels": [label_word(name) for name in found.names]},
        "fixed": {"layer": layer},
        "cell": {"name": "Share of its tokens", "low": 0.0, "high": high, "unit": "%"},
        "ends": _LIFT_ENDS,
        "read": (
            f"Each row is one {label}, each cell the share of its tokens that chose one expert; an "
            f"even router gives {percent(found.chance[row])}. Stronger orange: more than {label}s "
            f"do on average. {chance} Click a cell for the expert's card."
        ),
        **framed(routing, f"{label}-{row}", palette.loss()),
        "columns": size,
    }  # fmt: skip
    inside = np.zeros(share.shape) if band.above is None else ~band.above[row, :, :size]
    arrays = {
        "lift": np.nan_to_num(found.lift[row, :, :size], nan=1.0),
        "low": _whole(band.low[row], share.shape), "high": _whole(band.high[row], share.shape),
    }  # fmt: skip
    return Picture(
        meta,
        {
            "values": quantised(share, 0.0, high),
            "inside": inside.astype(np.uint8),
            **{name: np.ascontiguousarray(a, dtype=np.float32) for name, a in arrays.items()},
        },
    )


def _whole(values: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """Values of the layer, [G, E], nan where there are none."""
    return values[:, : shape[1]] if np.ndim(values) == 2 else np.full(shape, np.nan)


def selectivity_grid(
    routing: CorpusRouting, found: Specialisation, layers: Sequence[str]
) -> Picture:
    """Layers x experts: the bits that each expert tells on the label, above chance."""
    bits = found.corrected if found.draws else found.selectivity
    high = float(max(np.nanmax(bits), 1e-6))
    chance = (
        "less what dealt labels show" if found.draws else "with no chance to take off, as only "
        "totals were published"
    )  # fmt: skip
    meta = {
        "title": f"How much each expert knows of the {found.label}",
        "rows": {"kind": "layer", "name": "Layer", "labels": list(layers)},
        "fixed": {},
        "cell": {"name": "Bits", "low": 0.0, "high": high, "unit": "", "root": True},
        "ends": ["0", f"{high / 4:.2f}", f"{high:.2f} bits"],
        "read": (
            f"Each cell is one expert: the bits that one look at whether a token chose it tells on "
            f"the token's {found.label} (mutual information), {chance}. Click a cell for its card."
        ),
        **framed(routing, f"selectivity-{found.label}", palette.sequential()),
    }
    return Picture(meta, {"values": quantised(bits, 0.0, high)})


def layer_lines(
    routing: CorpusRouting, layers: Sequence[str], values: np.ndarray, band: np.ndarray,
    title: str, name: str, unit: str, read: str, row: int, top: float | None = None,
) -> Picture:  # fmt: skip
    """One figure over the layers, values [L], beside its chance, band [L, 2].

    top: what its scale reaches at least, so that figures side by side can be compared.
    """
    places = np.arange(len(layers), dtype=np.float32)
    meta = {
        "kind": "lines",
        "title": title,
        "place": "",
        "x": {
            "name": "Layer", "low": 0.0, "high": float(max(1, len(layers) - 1)), "pick": "row",
            "words": list(layers),
        },
        "y": {"name": name, "unit": unit, "digits": 3} | ({} if top is None else {"top": top}),
        "lines": [name],
        "strong": 0,
        "upright": {"at": float(row), "name": ""},
        "band": {"name": "chance"},
        "read": read,
        **inked(routing, title),
    }  # fmt: skip
    arrays = {"xs": places, "values": values, "low": band[:, 0], "high": band[:, 1]}
    return Picture(meta, {n: np.ascontiguousarray(a, np.float32) for n, a in arrays.items()})


def position_bars(routing: CorpusRouting, card: ExpertCard, layer: str) -> Picture:
    """Share of the tokens at each place of a passage that choose the expert."""
    seen = np.flatnonzero(np.isfinite(card.positions))
    names = place_names()
    meta = {
        "kind": "bars",
        "title": "Where in the text it fires",
        "place": f"layer {layer}, expert {card.expert}",
        "x": {"name": "Place in the passage", "labels": [names[i] for i in seen]},
        "y": {"name": "Tokens that choose it", "unit": "%"},
        "parts": [{"name": "kept"}],
        "line": {"at": card.base, "name": "its mean"},
        "read": (
            "Each bar: of the tokens at that place, the share that choose this expert; place 0 is "
            "the first token. The dashed line is its share of all tokens: bars near it mean the "
            "place does not matter. Late places have few tokens."
        ),
        **inked(routing, f"positions-{card.row}-{card.expert}"),
    }
    return Picture(meta, {"kept": card.positions[seen].astype(np.float32)})


def partner_bars(routing: CorpusRouting, card: ExpertCard, layer: str) -> Picture:
    """Share of the expert's tokens that also chose each other expert of its layer."""
    size = int(routing.experts[card.row])
    chance = (int(routing.chosen[card.row]) - 1) / (size - 1)
    meta = {
        "kind": "bars",
        "title": "Who fires with it",
        "place": f"layer {layer}, expert {card.expert}",
        "x": {"name": "Other expert", "labels": [str(e) for e in range(size)], "pick": "expert"},
        "y": {"name": "Of its tokens", "unit": "%"},
        "parts": [{"name": "kept"}],
        "line": {"at": chance, "name": "chance"},
        "read": (
            "Each bar: of the tokens that choose this expert, the share that choose the other one "
            "too (N_ij / N_i). Dashed: (K − 1) / (E − 1), company at random. Click a bar to open "
            "that expert."
        ),
        **inked(routing, f"partners-{card.row}-{card.expert}"),
    }
    return Picture(meta, {"kept": np.nan_to_num(card.partners[:size]).astype(np.float32)})


def growth_lines(
    title: str, read: str, name: str, unit: str, values: np.ndarray, band: np.ndarray,
    seen: Sequence[str], layers: Sequence[str], row: int, moment: int,
) -> Picture:  # fmt: skip
    """A figure over training, values [C, L]: a line a layer, the shown one strong."""
    count = len(seen)
    light, dark = palette.inks()
    meta = {
        "kind": "lines",
        "title": title,
        "place": f"layer {layers[row]}",
        "x": {
            "name": "Tokens trained on", "low": 0.0, "high": float(count - 1),
            "words": list(seen),
        },
        "y": {"name": name, "unit": unit, "digits": 2},
        "lines": [f"Layer {x}" for x in layers],
        "strong": row,
        "upright": {"at": float(moment), "name": ""},
        "band": {"name": "chance"},
        "read": read,
        "key": f"growth-{title}",
        "model": "demo",
        "inks": {"light": light, "dark": dark},
    }  # fmt: skip
    xs = np.arange(count, dtype=np.float32)
    arrays = {"xs": xs, "values": values, "low": band[:, 0], "high": band[:, 1]}
    return Picture(meta, {n: np.ascontiguousarray(a, np.float32) for n, a in arrays.items()})


def moment_grid(
    names: Sequence[str], counts: np.ndarray, low: np.ndarray, high: np.ndarray, label: str,
    layer: str, moment: str,
) -> Picture:  # fmt: skip
    """Labels x experts at one moment of training, counts [G, E]; low, high [E] by chance."""
    share = counts / np.maximum(counts.sum(axis=-1, keepdims=True), 1)
    base = np.maximum(counts.sum(axis=0) / max(1, counts.sum()), 1e-9)
    scale = palette.loss()
    top = float(share.max())
    meta = {
        "title": f"Layer {layer} after {moment} tokens",
        "rows": {
            "kind": "label",
            "name": label.capitalize(),
            "labels": [label_word(n) for n in names],
        },
        "fixed": {"layer": layer},
        "cell": {"name": "Share of its choices", "low": 0.0, "high": top, "unit": "%"},
        "ends": _LIFT_ENDS,
        "read": (
            f"Each row is one {label} of the fixed passages, each cell the share of its choices "
            "that went to one expert. Stronger orange: more than all passages give it. Small: "
            "within what 97.5 % of shuffled labels give."
        ),
        "key": f"moment-{label}-{layer}-{moment}",
        "model": "demo",
        "columns": counts.shape[1],
        "chosen": 2,
        "light": scale.light,
        "dark": scale.dark,
    }
    inside = share <= high
    arrays = {"lift": share / base, "low": low, "high": high}
    return Picture(
        meta,
        {
            "values": quantised(share, 0.0, top),
            "inside": inside.astype(np.uint8),
            **{name: np.ascontiguousarray(a, dtype=np.float32) for name, a in arrays.items()},
        },
    )


def framed(routing: CorpusRouting, key: str, scale: palette.Scale) -> dict:
    """What every grid over one run carries."""
    return {
        "key": f"{routing.model}-{routing.corpus}-{key}",
        "model": model_name(routing.model),
        "columns": routing.shape[2],
        "chosen": int(routing.chosen.max()),
        "light": scale.light,
        "dark": scale.dark,
    }


def inked(routing: CorpusRouting, key: str) -> dict:
    """What every plot over one run carries."""
    light, dark = palette.inks()
    return {
        "key": f"{routing.model}-{routing.corpus}-{key}",
        "model": model_name(routing.model),
        "inks": {"light": light, "dark": dark},
    }
