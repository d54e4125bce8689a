"""A corpus run as one HTML page that needs nothing from anywhere and holds no text of the corpus.

Everything that comes from outside (names of models, labels and sources, tokens) is escaped.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from html import escape

import numpy as np

from moeviz.charts import palette
from moeviz.metrics.findings import Findings
from moeviz.metrics.specialisation import Specialisation

MOST_EXPERTS = 64
"""Columns of a grid: of wider layers the most selective experts are drawn."""

SPECIALISTS = 3
"""Experts named for each value of a label."""

WIDE, HIGH = 640, 240
"""Pixels of a line chart's drawing."""

LEFT, BELOW = 54, 40
"""Room for its axes."""


def report_html(found: Findings, title: str = "") -> str:
    """The whole page."""
    routing = found.routing
    title = title or f"What the experts of {routing.model} are for"
    parts = [
        f"<h1>{escape(title)}</h1>",
        f"<p>{_facts(found)}</p>",
        *(f'<p class="note">{escape(note)}</p>' for note in routing.notes),
        *(_label(found, label) for label in found.labels),
        _recall(found),
        _languages(found),
        _repetition(found),
        _vocabulary(found),
        _missing(found),
        _sources(found),
    ]
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        '<meta http-equiv="Content-Security-Policy" '
        "content=\"default-src 'none'; style-src 'unsafe-inline'\">"
        f"<title>{escape(title)}</title><style>{_style()}</style></head>"
        f"<body><main>{''.join(parts)}</main></body></html>"
    )


def _facts(found: Findings) -> str:
    routing = found.routing
    passages, layers, _ = routing.shape
    read = "read" if routing.phase == "prefill" else "written by the model itself (decode)"
    return (
        f"{passages:,} passages and {int(routing.tokens.sum()):,} tokens of "
        f"{escape(routing.corpus)}, {read}; {layers} routed layers, top-{int(routing.chosen.max())}"
        f" of {int(routing.experts.max())} experts. Every number is counted from what the model "
        "chose. An expert is the pair of layer and number: expert 3 of one layer has nothing to do "
        "with expert 3 of another."
    )


def _label(found: Findings, label: str) -> str:
    told = found.labels[label]
    row = int(told.divergence.argmax())
    return (
        f"<h2>{escape(label.capitalize())}</h2>"
        + _divergence_chart(told)
        + f"<h3>Layer {told.layers[row]}, the layer that tells {escape(label)} best</h3>"
        + _grid(told, row)
        + _specialists(told, found.explained.get(label))
    )


def _divergence_chart(told: Specialisation) -> str:
    band = told.divergence_band
    chance = (band.low, band.high) if told.draws else None
    return _banded(
        told.layers, told.divergence, chance, "bits",
        f"How differently the {len(told.names)} values of {told.label} use each layer",
        "Higher is more different: the bits that one choice of a token tells on its "
        f"{told.label} (generalised Jensen–Shannon divergence). {_chance_words(told)}",
    )  # fmt: skip


def _banded(layers, values: np.ndarray, chance, unit: str, title: str, reading: str) -> str:
    """A figure of one line over the layers, with its chance band (low, high) and its table."""
    low, high = chance or np.full((2, len(values)), np.nan)
    rows = (
        (layer, _number(value), _range(*band))
        for layer, value, *band in zip(layers, values, low, high, strict=True)
    )
    return _figure(
        _lines(layers, [Line("measured", values, "kept")], chance, unit),
        title,
        reading,
        _table(("layer", unit, "chance, 95 %"), rows),
    )


def _chance_words(told: Specialisation) -> str:
    if not told.draws:
        return "There are no documents to deal labels over, so no chance band can be drawn."
    within = f", each within its own {told.within}" if told.within else ""
    return (
        f"Grey is chance: {told.draws} times the labels were dealt anew over whole {told.unit}"
        f"{within}."
    )


def _grid(told: Specialisation, row: int) -> str:
    shown = np.flatnonzero(np.isfinite(told.share[row, 0]))
    if len(shown) > MOST_EXPERTS:
        best = np.argsort(-told.selectivity[row, shown], kind="stable")[:MOST_EXPERTS]
        shown = np.sort(shown[best])
    above = told.share_band.above
    head = "".join(f"<th>{expert}</th>" for expert in shown)
    body = "".join(
        f"<tr><th>{escape(str(name))}</th>"
        + "".join(_cell(told, row, group, expert, above) for expert in shown)
        + "</tr>"
        for group, name in enumerate(told.names)
    )
    table = f'<div class="scroll"><table class="grid"><tr><td></td>{head}</tr>{body}</table></div>'
    others = "blue less" if above is None else "pale cells do not rise above chance"
    return _figure(
        table,
        f"Expert by {told.label}",
        "Columns are experts, rows the values. A number is the percent of the row's tokens that "
        f"chose the expert; an even router gives {_percent(told.chance[row])}. Orange is more than "
        f"the expert's share over all rows, {others}.",
    )


def _cell(told: Specialisation, row: int, group: int, expert: int, above) -> str:
    share, lift = told.share[row, group, expert], told.lift[row, group, expert]
    step = 0.5 if not lift > 0 else 0.5 + float(np.clip(np.log2(lift) / 6, -0.5, 0.5))
    place = round(step * (palette.STEPS - 1))
    kind = "strong" if abs(step - 0.5) > 0.25 else "weak"
    kind = kind if above is None or above[row, group, expert] else "faint"
    title = f"expert {expert}: {_percent(share)}, {_number(lift)} times its usual share"
    return f'<td class="{kind}" title="{title}" style="--s:var(--d{place})">{100 * share:.0f}</td>'


def _specialists(told: Specialisation, explained: np.ndarray | None) -> str:
    """For each value the experts with the highest lift among those above chance."""
    rows = []
    for group, name in enumerate(told.names):
        lift = np.nan_to_num(told.lift[:, group])
        if told.share_band.above is not None:
            lift = np.where(told.share_band.above[:, group], lift, 0)
        order = np.argsort(-lift, axis=None, kind="stable")[:SPECIALISTS]
        named = [
            _named(told, row, group, expert, explained)
            for row, expert in zip(*np.unravel_index(order, lift.shape), strict=True)
            if lift[row, expert] > 1
        ]
        rows.append((name, f"{told.tokens[group]:,}", "; ".join(named) or "none above chance"))
    return _figure(
        _table((told.label, "tokens", "experts, with their share of its tokens and lift"), rows),
        f"Specialists of each {told.label}",
        " ".join(
            [
                "Lift is how many times its usual share the expert takes.",
                "Only experts that rise above chance are named, at 5 % for all values, layers and "
                "experts together."
                if told.draws
                else "",
                "Beyond its words: how many times what the words alone would give, each word going "
                "where it goes on average; near 1, the expert knows the words rather than the "
                f"{told.label}."
                if explained is not None
                else "",
            ]
        ).strip(),
    )


def _named(told: Specialisation, row: int, group: int, expert: int, explained) -> str:
    share = told.share[row, group, expert]
    words = f"layer {told.layers[row]} expert {expert}: {_percent(share)}"
    words += f", {told.lift[row, group, expert]:.1f}×"
    if explained is None:
        return words
    return f"{words} ({share / explained[row, group, expert]:.1f}× beyond its words)"


def _recall(found: Findings) -> str:
    if not found.recall:
        return ""
    rows = [
        (label, len(told.names), f"{told.passages:,}", _percent(told.accuracy),
         _percent(told.chance), _percent(told.right), _percent(told.right_chance))
        for label, told in found.recall.items()
    ]  # fmt: skip
    return "<h2>What routing alone tells</h2>" + _figure(
        _table(
            ("label", "classes", "passages tested", "recall, mean of classes", "chance",
             "passages right", "chance"), rows,
        ),
        "Named by the nearest centroid",
        "Half of the documents (with their translations) fit one centroid for each class, from "
        "nothing but how often and how strongly each expert was chosen; the other half is named.",
    )  # fmt: skip


def _languages(found: Findings) -> str:
    told = found.languages
    if told is None:
        return ""
    return "<h2>Languages on the same text</h2>" + _banded(
        told.layers, told.mean, (told.low, told.high), "divergence",
        f"{len(told.names)} languages, {told.passages} passages that say the same in each",
        "Higher is more apart: mean over pairs of languages of their Jensen–Shannon divergence "
        "over the room there is for it (arXiv:2510.04694). Topic is the same, so this is language. "
        f"Grey is chance: {told.draws} times the languages of each passage were dealt anew.",
    )  # fmt: skip


def _repetition(found: Findings) -> str:
    told = found.repetition.get("all")
    if told is None or np.isnan(told.first).any():
        return ""
    lines = [
        Line("same first choice", told.first, "kept"),
        Line("any expert shared", told.shared, "lost"),
    ]
    rows = zip(
        found.routing.layers, map(_percent, told.first), map(_percent, told.loaded_first),
        map(_percent, told.shared), map(_percent, told.even_shared), strict=True,
    )  # fmt: skip
    return "<h2>Neighbouring tokens</h2>" + _figure(
        _lines(found.routing.layers, lines, None, "share of neighbours"),
        "How often a token goes where the one before it went",
        f"Chance is {_percent(told.loaded_first.mean())} for the same first choice (a router of "
        f"this load) and {_percent(told.even_shared.mean())} for a shared expert (an even one).",
        _table(("layer", "same first", "chance", "any shared", "chance"), rows),
    )


def _vocabulary(found: Findings) -> str:
    if not found.vocabulary:
        return ""
    lines = [
        Line(f"{kind} token", told.favourite, ink)
        for (kind, told), ink in zip(
            found.vocabulary.items(), ("kept", "lost", "changed"), strict=False
        )
    ]
    told = next(iter(found.vocabulary.values()))
    return "<h2>Vocabulary</h2>" + _figure(
        _lines(found.routing.layers, lines, (told.low, told.high), "share"),
        "How far one token means one expert",
        "Share of a token's occurrences that go to its favourite expert, mean over tokens. Grey is "
        f"what the experts' loads alone give; an even router gives {_percent(told.even.mean())}.",
        _table(
            ("layer", *found.vocabulary, "chance"),
            (
                (layer, *(_percent(v.favourite[row]) for v in found.vocabulary.values()),
                 _range(told.low[row], told.high[row]))
                for row, layer in enumerate(found.routing.layers)
            ),
        ),
    )  # fmt: skip


def _missing(found: Findings) -> str:
    if not found.missing:
        return ""
    listed = "".join(f"<li>{escape(sentence)}</li>" for sentence in found.missing)
    return f"<h2>What could not be computed</h2><ul>{listed}</ul>"


def _sources(found: Findings) -> str:
    if not found.routing.sources:
        return ""
    rows = [(s.title, s.origin, s.licence, s.attribution) for s in found.routing.sources]
    table = _table(("title", "origin", "licence", "attribution"), rows)
    return (
        f"<h2>Texts and licences</h2><details><summary>{len(rows)} sources</summary>{table}"
        "</details>"
    )


@dataclass(frozen=True, eq=False)
class Line:
    """One line of a chart: values [L] and the ink it is drawn in."""

    name: str
    values: np.ndarray
    ink: str


def _lines(layers: Sequence[int], lines: list[Line], chance, unit: str) -> str:
    """Lines over layers from 0 up, with the chance band behind them."""
    highest = [np.nanmax(line.values) for line in lines]
    top = float(max([*highest, 0 if chance is None else np.nanmax(chance[1])])) * 1.08 or 1.0
    x = LEFT + (WIDE - LEFT - 20) * (np.arange(len(layers)) / max(1, len(layers) - 1))

    def y(values) -> np.ndarray:
        return (HIGH - BELOW) * (1 - np.asarray(values) / top) + 10

    ticks = "".join(
        f'<text x="{LEFT - 8}" y="{float(y(v)) + 4:.1f}" text-anchor="end">{_number(v)}</text>'
        f'<path class="rule" d="M{LEFT} {float(y(v)):.1f}H{WIDE - 10}"/>'
        for v in _ticks(top)
    )
    every = max(1, len(layers) // 12)
    names = "".join(
        f'<text x="{x[i]:.1f}" y="{HIGH - 12}" text-anchor="middle">{layers[i]}</text>'
        for i in range(0, len(layers), every)
    )
    band = ""
    if chance is not None:
        edge = [*zip(x, y(chance[1]), strict=True), *reversed([*zip(x, y(chance[0]), strict=True)])]
        band = f'<polygon class="band" points="{_points(edge)}"/>'
    drawn = "".join(
        f'<polyline class="{line.ink}" points="{_points(zip(x, y(line.values), strict=True))}"/>'
        + "".join(
            f'<circle class="{line.ink}" cx="{a:.1f}" cy="{b:.1f}" r="3.5"/>'
            for a, b in zip(x, y(line.values), strict=True)
        )
        for line in lines
    )
    key = "".join(f'<span class="{line.ink}">● {escape(line.name)}</span> ' for line in lines)
    key += '<span class="chance">▬ chance</span>' if chance is not None else ""
    return (
        f'<svg viewBox="0 0 {WIDE} {HIGH + 10}" role="img" aria-label="{escape(unit)} by layer; '
        f'the same numbers are in the table below">{ticks}{band}{drawn}{names}'
        f'<text x="{(LEFT + WIDE) / 2}" y="{HIGH + 6}" text-anchor="middle">layer</text></svg>'
        f'<p class="key">{key}</p>'
    )


def _ticks(top: float) -> np.ndarray:
    """Three to six round numbers from 0 up to `top`."""
    size = 10.0 ** np.floor(np.log10(top))
    step = next(s * size for s in (0.1, 0.2, 0.5, 1, 2) if top / (s * size) < 6)
    return np.arange(0, top, step)


def _points(pairs: Iterable[tuple[float, float]]) -> str:
    return " ".join(f"{a:.1f},{b:.1f}" for a, b in pairs)


def _figure(picture: str, title: str, reading: str, table: str = "") -> str:
    sheet = f"<details><summary>As a table</summary>{table}</details>" if table else ""
    return (
        f"<figure><figcaption><b>{escape(title)}</b><br>{escape(reading)}</figcaption>"
        f"{picture}{sheet}</figure>"
    )


def _table(head: Sequence[str], rows: Iterable[Sequence]) -> str:
    top = "".join(f"<th>{escape(str(name))}</th>" for name in head)
    body = "".join(
        "<tr>" + "".join(f"<td>{escape(str(cell))}</td>" for cell in row) + "</tr>" for row in rows
    )
    return f'<div class="scroll"><table><tr>{top}</tr>{body}</table></div>'


def _number(value: float) -> str:
    return "unknown" if np.isnan(value) else f"{value:.3g}"


def _range(low: float, high: float) -> str:
    return "unknown" if np.isnan(low) else f"{_number(low)} to {_number(high)}"


def _percent(share: float) -> str:
    return f"{100 * share:.1f} %"


def _style() -> str:
    light, dark = palette.inks()
    scale = palette.diverging()

    def names(inks: dict[str, str], steps: Sequence[str]) -> str:
        found = "".join(f"--{name}:{colour};" for name, colour in inks.items())
        return found + "".join(f"--d{place}:{colour};" for place, colour in enumerate(steps))

    return (
        f":root{{color-scheme:light dark;{_DAY}{names(light, scale.light)}}}"
        f"{_RULES}@media (prefers-color-scheme:dark){{:root{{{_NIGHT}{names(dark, scale.dark)}}}"
        ".grid td.strong{color:#14171b}}"
    )


_DAY = "--paper:#ffffff;--ink:#1d2126;--soft:#5a626c;--rule:#e2e3df;--band:#d4d6d2;"
_NIGHT = "--paper:#14171b;--ink:#e8eaed;--soft:#a3abb5;--rule:#30353c;--band:#454b54;"

_RULES = """
body{margin:0;background:var(--paper);color:var(--ink);font:16px/1.55 system-ui,sans-serif}
main{max-width:960px;margin:0 auto;padding:24px 18px 64px}
h1{line-height:1.2;margin:.4em 0}h2{margin:2.2em 0 .4em}h3{margin:1.6em 0 .2em}
figure{margin:14px 0 26px}figcaption{color:var(--soft);margin-bottom:8px}
figcaption b{color:var(--ink)}
.note{border-left:3px solid var(--lost);padding-left:10px}
svg{width:100%;height:auto;max-width:760px;font:12px system-ui,sans-serif}svg text{fill:var(--soft)}
.rule{stroke:var(--rule)}.band{fill:var(--band)}polyline{fill:none;stroke-width:2.5}
polyline.kept{stroke:var(--kept)}circle.kept{fill:var(--kept)}span.kept{color:var(--kept)}
polyline.lost{stroke:var(--lost);stroke-dasharray:7 4}circle.lost{fill:var(--lost)}
span.lost{color:var(--lost)}
polyline.changed{stroke:var(--changed);stroke-dasharray:2 4}circle.changed{fill:var(--changed)}
span.changed{color:var(--changed)}span.chance{color:var(--soft)}.key span{margin-right:16px}
.scroll{overflow-x:auto}table{border-collapse:collapse;font-size:14px}
td,th{padding:3px 9px;border-bottom:1px solid var(--rule);text-align:left;vertical-align:top}
.grid td,.grid th{padding:2px 5px;text-align:right;border:0;font-variant-numeric:tabular-nums}
.grid td[style]{background:var(--s);min-width:22px}
.grid td.faint{background:none;color:var(--soft);opacity:.75}
@media (max-width:600px){svg{font-size:19px}}
summary{cursor:pointer;color:var(--soft)}
""".replace("\n", "")
