"""Two sets of texts against each other, expert by expert, as a picture and as sentences."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from moeviz.charts import palette
from moeviz.charts.picture import Picture, quantised
from moeviz.charts.words import model_name, percent
from moeviz.metrics.contrast import LEVEL, Contrast
from moeviz.trace import RoutingTrace, layer_names


def contrast_grid(trace: RoutingTrace, found: Contrast, names: tuple[str, str]) -> Picture:
    """Layers x experts: how much larger a share of A's tokens than of B's each expert takes.

    trace: any of the texts, for the model's layers. names: of A and of B.
    """
    most = max(float(np.nanmax(np.abs(found.difference))), 0.01)
    scale = palette.diverging()
    meta = {
        "key": trace.key,
        "model": model_name(trace.source.model),
        "title": f"{names[0]} against {names[1]}",
        "rows": {"kind": "layer", "name": "Layer", "labels": layer_names(trace.layers)},
        "fixed": {},
        "cell": {"name": "Points more", "low": -most, "high": most, "unit": "points"},
        "ends": [f"{names[1]} +{100 * most:.0f}", "0", f"{names[0]} +{100 * most:.0f}"],
        "read": (
            f"Each cell is one expert of one layer. Orange: it reads a larger share of the tokens "
            f"of {names[0]}; blue: of {names[1]}. Small cells differ by no more than chance. "
            f"Click a cell to read of the expert."
        ),
        "columns": trace.shape[2],
        "chosen": 0,
        "light": scale.light,
        "dark": scale.dark,
    }
    arrays = {
        "values": quantised(found.difference, -most, most),
        "inside": (np.isfinite(found.difference) & ~found.beyond).astype(np.uint8),
        "low": found.low.astype(np.float32),
        "high": found.high.astype(np.float32),
    }
    return Picture(meta, arrays)


def contrast_sentence(found: Contrast, names: tuple[str, str], labels: list[str]) -> str:
    """The expert that differs most, and how many do beyond chance."""
    row, expert = found.ranked()[0]
    reads = (
        f"reads {percent(float(found.share_a[row, expert]))} of the tokens in {names[0]} and "
        f"{percent(float(found.share_b[row, expert]))} in {names[1]}"
    )
    count = int(found.beyond.sum())
    if not count:
        return (
            f"No expert differs by more than chance. The largest difference: expert {expert} of "
            f"layer {labels[row]} {reads}."
        )
    many = f"{count:,} experts differ" if count > 1 else "It alone differs"
    return (
        f"Expert {expert} of layer {labels[row]} tells them apart best: it {reads}. "
        f"{many} by more than chance."
    )


def expert_sentence(
    found: Contrast, row: int, expert: int, names: tuple[str, str], label: str
) -> str:
    """One expert's difference, beside what chance would do to it alone."""
    return (
        f"Expert {expert} of layer {label} reads "
        f"{percent(float(found.share_a[row, expert]))} of the tokens in {names[0]} and "
        f"{percent(float(found.share_b[row, expert]))} in {names[1]}: a difference of "
        f"{_signed(found.difference[row, expert])} points, where 95 % of the shuffles give it "
        f"{_signed(found.low[row, expert])} to {_signed(found.high[row, expert])}."
    )


def cost_sentence(
    towards: str, names: tuple[str, str], costs: Sequence[tuple[float, float, float]]
) -> str:
    """What steering did to the next-token loss of both sets. costs: (mean, low, high) nats."""
    each = [
        f"{'rises' if mean >= 0 else 'falls'} by {abs(mean):.3f} nats in {name} "
        f"(95 %: {low:+.3f} to {high:+.3f})"
        for name, (mean, low, high) in zip(names, costs, strict=True)
    ]
    return f"Steered towards {towards}, the loss of a token {each[0]} and {each[1]}."


def control_sentence(names: tuple[str, str], means: Sequence[Sequence[float]]) -> str:
    """The same steering with experts drawn at random; means: [R, 2] nats of each draw."""
    each = [
        f"{min(some):+.3f} to {max(some):+.3f} in {name}"
        for name, some in zip(names, zip(*means, strict=True), strict=True)
    ]
    return (
        f"As many experts of the same layers drawn at random, {len(means)} times: "
        f"{each[0]}, {each[1]}. The texts that found the experts are measured here, so new texts "
        "may show less."
    )


def _signed(share: float) -> str:
    return f"{100 * float(share):+.0f}".replace("-", "−")


def chance_note(found: Contrast) -> str:
    """How chance was reckoned, and whether so few texts can show anything."""
    deals = f"all {found.deals:,} ways" if found.every else f"{found.deals:,} random ways"
    note = (
        f"Chance: {deals} to deal the {sum(found.texts)} texts to two such sets. In "
        f"{percent(1 - LEVEL)} of them no expert of any layer differs by more than "
        f"{percent(found.reach)}."
    )
    if found.least > LEVEL:
        note += (
            f" So few texts cannot rule chance out: even the clearest difference happens in "
            f"{percent(found.least)} of the deals. Give at least 4 texts a set."
        )
    return note
