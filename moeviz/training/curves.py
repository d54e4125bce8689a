"""What did the run look like? Loss and balance over tokens seen, as a small SVG."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np

WIDTH, HEIGHT, LEFT, TOP = 360, 200, 44, 26
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#000000", "#999999")


def read_log(path: Path) -> dict[str, np.ndarray]:
    """Columns of log.jsonl: tokens [S], loss [S], max_violation_recent [S, L]."""
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    names = ("tokens", "loss", "max_violation_recent")
    return {name: np.array([row[name] for row in rows]) for name in names}


def smoothed(values: np.ndarray, points: int = 120) -> np.ndarray:
    """Means of `points` equal stretches of values [S, ...], so that a curve stays small."""
    return np.stack([part.mean(0) for part in np.array_split(values, min(points, len(values)))])


def curves_svg(log: dict[str, np.ndarray]) -> str:
    """Two panels side by side: training loss, and MaxVio of each layer, over million tokens."""
    x = smoothed(log["tokens"]) / 1e6
    violation = smoothed(log["max_violation_recent"].reshape(len(log["tokens"]), -1))
    loss = _panel(0, "Training loss (nats per token)", x, [smoothed(log["loss"])])
    balance = _panel(WIDTH, "MaxVio per layer, recent batches", x, list(violation.T))
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {2 * WIDTH} {HEIGHT + 50}" '
        f'font-family="sans-serif" font-size="11">\n'
        f'<rect width="100%" height="100%" fill="white"/>\n{loss}{balance}</svg>\n'
    )


def _panel(offset: int, title: str, x: np.ndarray, lines: Sequence[np.ndarray]) -> str:
    top = max(float(line.max()) for line in lines) * 1.05
    inner = WIDTH - LEFT - 12
    drawn = [
        f'<text x="{LEFT}" y="16" font-weight="bold">{title}</text>',
        f'<text x="{LEFT}" y="{TOP + HEIGHT + 16}">0</text>',
        f'<text x="{LEFT + inner}" y="{TOP + HEIGHT + 16}" text-anchor="end">'
        f"{x[-1]:.1f} M tokens</text>",
    ]
    for tick in np.linspace(0, top, 5):
        y = TOP + HEIGHT * (1 - tick / top)
        drawn.append(f'<path d="M{LEFT} {y:.1f}h{inner}" stroke="#ddd"/>')
        drawn.append(f'<text x="{LEFT - 4}" y="{y + 4:.1f}" text-anchor="end">{tick:.1f}</text>')
    for place, line in enumerate(lines):
        points = " ".join(
            f"{LEFT + inner * a / x[-1]:.1f},{TOP + HEIGHT * (1 - b / top):.1f}"
            for a, b in zip(x, line, strict=True)
        )
        colour = COLOURS[place % len(COLOURS)]
        drawn.append(f'<polyline points="{points}" fill="none" stroke="{colour}"/>')
    return f'<g transform="translate({offset} 0)">\n' + "\n".join(drawn) + "\n</g>\n"
