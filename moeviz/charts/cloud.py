"""A map as a cloud of points: passages or experts, by class or by value, and texts placed on it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from moeviz.charts import palette
from moeviz.charts.picture import Picture
from moeviz.charts.words import model_name
from moeviz.metrics.map import RoutingMap

MOST_CLASSES = 64
"""Classes that have a mark of their own, eight colours in eight shapes; the rest are "other"."""

LONGEST = 100
"""Characters of a text that a tooltip shows."""

_CELLS = 24
"""Cells a side of the grid in which the thickest place of a class is looked for."""

_THICK = 0.25
"""Share of a class that must lie about its thickest place for its name to stand there."""


def cloud_picture(
    name: str,
    routing_map: RoutingMap,
    texts: Sequence[str],
    columns: Mapping[str, np.ndarray],
    model: str,
    points: str,
    labels: Mapping[str, str] | None = None,
    title: str = "Passages by their routing",
    noun: str = "passage",
) -> Picture:
    """The map's points with what is known of each.

    name: what a tint calls this cloud. texts: [P]. columns: [P] label of each point by column; ""
    is "none". points: the same as long as the points are, whatever their layout. labels: a
    longer word for a label. columns' marks go to their largest classes first.
    """
    place, (width, height) = _frame(routing_map.coordinates)
    codes, described, spots = {}, [], {}
    for column, values in columns.items():
        names, own = _classes(values)
        codes[f"c{len(described)}"] = own.astype(np.uint8)
        counts = np.bincount(own, minlength=len(names))
        shown = [(labels or {}).get(word, _words(word)) for word in names]
        classes = [{"name": word, "count": int(n)} for word, n in zip(shown, counts, strict=True)]
        described.append({"name": column, "label": column, "classes": classes})
        spots[column] = [_spot(place[own == code]) for code in range(len(names))]
    marks, ramp = palette.classes(), palette.sequential()
    meta = {
        "name": name,
        "key": f"{points}-{routing_map.kind}-{routing_map.seed}",
        "points": points,
        "kind": routing_map.kind,
        "title": title,
        "noun": noun,
        "model": model_name(model),
        "lead": lead(routing_map, noun),
        "read": read(routing_map, noun),
        "texts": [_short(text) for text in texts],
        "columns": described,
        "spots": spots,
        "width": width,
        "height": height,
        "light": marks.light,
        "dark": marks.dark,
        "ramp": {"light": ramp.light, "dark": ramp.dark},
    }
    steps = np.rint(place * 65534).astype(np.uint16)
    return Picture(meta, {"x": steps[:, 0], "y": steps[:, 1], **codes})


def tint_picture(
    name: str,
    column: str,
    placed: Sequence[Mapping] = (),
    value: np.ndarray | None = None,
    label: str = "",
    times: bool = False,
) -> Picture:
    """How the cloud `name` is coloured: by a column, or by a value [P] named `label`.

    times: the value is a factor, not a share.
    placed: texts put on the map, each {x, y, near, label} with x and y as `on_screen` gives them.
    """
    meta = {"for": name, "column": column, "placed": list(placed)}
    if value is None:
        return Picture(meta)
    low, high = 0.0, float(max(np.max(value), 1e-9))
    ends = ["0", f"{high:.1f} ×"] if times else ["0 %", f"{100 * high:.0f} %"]
    meta |= {
        "label": label, "low": low, "high": high, "ends": ends, "stamp": label, "times": times,
    }  # fmt: skip
    return Picture(meta, {"value": np.rint(255 * value / high).astype(np.uint8)})


def on_screen(routing_map: RoutingMap, coordinates: np.ndarray) -> np.ndarray:
    """[Q, 2] coordinates as parts of the picture's width and height, kept within its frame."""
    low, span = _bounds(routing_map.coordinates)
    return np.clip((coordinates - low) / span, -0.02, 1.02)


def lead(routing_map: RoutingMap, noun: str) -> str:
    """What the two axes are."""
    if routing_map.kind == "pca":
        both = 100 * float(routing_map.explained[:2].sum())
        return (
            f"The first two principal components of the routing; they hold {both:.0f} % of what "
            f"differs between {noun}s."
        )
    alike = "are routed alike" if noun == "passage" else "read the same passages"
    return f"UMAP of the routing, seed {routing_map.seed}: {noun}s that {alike} lie together."


def read(routing_map: RoutingMap, noun: str) -> str:
    """How to read the map, and how not to."""
    by = "which experts read it" if noun == "passage" else "which passages it reads"
    marks = "Colour and shape together tell classes apart; point at a name to see it alone."
    if routing_map.kind == "pca":
        return (
            f"Each mark is one {noun}, placed by {by} and nothing else. Far apart means "
            f"different; near may still differ in what two axes cannot show. {marks}"
        )
    return (
        f"Each mark is one {noun}, placed by {by} and nothing else. Neighbours are alike. The "
        "distance between groups, how tightly they lie and one single layout "
        f"mean nothing: try another seed, and trust what stays. {marks}"
    )


def _frame(coordinates: np.ndarray) -> tuple[np.ndarray, tuple[float, float]]:
    """([P, 2] in 0..1, (width, height) of the picture, the longer one 1)."""
    low, span = _bounds(coordinates)
    width, height = (float(s) for s in span / span.max())
    return (coordinates - low) / span, (max(width, 0.05), max(height, 0.05))


def _bounds(coordinates: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    low, high = coordinates.min(axis=0), coordinates.max(axis=0)
    return low, np.maximum(high - low, 1e-9)


def _classes(values: np.ndarray) -> tuple[list[str], np.ndarray]:
    """(names, largest class first; [P] code of each point)."""
    found, codes, counts = np.unique(values, return_inverse=True, return_counts=True)
    order = np.argsort(-counts, kind="stable")
    rank = np.empty(len(order), dtype=np.int64)
    rank[order] = np.arange(len(order))
    names = [str(found[at]) for at in order]
    if len(names) > MOST_CLASSES:
        names = [*names[: MOST_CLASSES - 1], "other"]
    return names, np.minimum(rank[codes.ravel()], len(names) - 1)


def _spot(points: np.ndarray) -> list[float] | None:
    """The middle of the thickest place of some points, None where they are scattered."""
    cells = np.minimum((points * _CELLS).astype(int), _CELLS - 1)
    grid = np.zeros((_CELLS + 2, _CELLS + 2))
    np.add.at(grid, (cells[:, 0] + 1, cells[:, 1] + 1), 1)
    around = sum(
        grid[i : i + _CELLS, j : j + _CELLS] for i in range(3) for j in range(3)
    )  # each cell with its eight neighbours
    best = np.array(np.unravel_index(around.argmax(), around.shape))
    if around.max() < _THICK * len(points):
        return None
    about = np.abs(cells - best).max(axis=1) <= 1
    return [round(float(v), 4) for v in np.median(points[about], axis=0)]


def _words(label: str) -> str:
    return label.replace("_", " ") if label else "none"


def _short(text: str) -> str:
    flat = " ".join(text[: 2 * LONGEST].split())
    return flat if len(flat) <= LONGEST else flat[: LONGEST - 1] + "…"
