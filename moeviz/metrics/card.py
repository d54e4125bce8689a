"""What was counted about one expert: its load, its places in the text, and its company."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from moeviz.corpora.routing import POSITIONS, CorpusRouting


@dataclass(frozen=True)
class ExpertCard:
    """What is known of one expert, the pair (layer, expert).

    count: tokens that chose it, of `tokens` that were read; base: their share. even: K / E.
    positions: [B] share of the tokens at each place that choose it, nan where none stood;
    band: [B, 2] where 95 % of the share lies if the place does not matter. partners: [E] share of
    its tokens that also chose each other expert of the layer, nan for itself; alone: [E] the same
    if company were by load alone. None where the counts do not hold it.
    """

    row: int
    expert: int
    count: int
    tokens: int
    base: float
    even: float
    positions: np.ndarray | None
    band: np.ndarray | None
    partners: np.ndarray | None
    alone: np.ndarray | None


def expert_card(routing: CorpusRouting, row: int, expert: int) -> ExpertCard:
    """The card of expert `expert` in routed layer `row`."""
    count, tokens = int(routing.counts[:, row, expert].sum()), int(routing.tokens.sum())
    base = count / max(1, tokens)
    positions, band = _positions(routing, row, expert, base)
    partners, alone = _partners(routing, row, expert)
    even = float(routing.chosen[row] / routing.experts[row])
    return ExpertCard(row, expert, count, tokens, base, even, positions, band, partners, alone)


def place_names() -> list[str]:
    """A word for each bin of positions: "0", "1", "2-3", ..."""
    ends = [0, *(2**b for b in range(POSITIONS))]
    names = [f"{a}-{b - 1}" if b - a > 1 else str(a) for a, b in pairwise(ends)]
    return [*names[: POSITIONS - 1], f"{ends[POSITIONS - 1]}+"]


def _positions(
    routing: CorpusRouting, row: int, expert: int, base: float
) -> tuple[np.ndarray | None, np.ndarray | None]:
    if routing.positions is None:
        return None, None
    mine = routing.positions[row, expert]
    there = routing.positions[row].sum(axis=0) / int(routing.chosen[row])
    share = np.where(there > 0, mine / np.maximum(there, 1), np.nan)
    half = 1.96 * np.sqrt(base * (1 - base) / np.maximum(there, 1))
    return share, np.stack([np.maximum(base - half, 0), np.minimum(base + half, 1)], axis=1)


def _partners(
    routing: CorpusRouting, row: int, expert: int
) -> tuple[np.ndarray | None, np.ndarray | None]:
    """([E] N_ij / N_i, [E] the same if each other slot were filled by load)."""
    if routing.together is None or routing.chosen[row] < 2:
        return None, None
    load = routing.counts[:, row].sum(axis=0).astype(float)
    share = routing.together[row, expert] / max(1.0, load[expert])
    others = load.copy()
    others[expert] = 0
    alone = (int(routing.chosen[row]) - 1) * others / max(1.0, others.sum())
    share[expert] = alone[expert] = np.nan
    return share, alone
