"""What would a capacity rule drop of a text that is still being written?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from moeviz.metrics.load import DRAWS, random_choices
from moeviz.rules.capacity import CapacityRule, check_group, refused_seconds
from moeviz.trace import EMPTY


@dataclass(frozen=True)
class RunningRate:
    """The figures after `tokens` tokens.

    rate: [L] share of assignments that overflow, as `overflow` counts it on these tokens.
    low, high: [L] 95 % band of the same figure for uniformly random routers.
    """

    tokens: int
    rate: np.ndarray
    low: np.ndarray
    high: np.ndarray


class RunningOverflow:
    """Overflow of a batch that grows token by token, from counts alone.

    How many are dropped follows from how many each expert was sent, whatever the priority, so a
    further token costs the same however long the text has become.

    experts, chosen: [L] of each layer. draws: random routers behind the chance band; they are
    given every token that the model reads, and grow with the text.
    """

    def __init__(
        self,
        rule: CapacityRule,
        experts: Sequence[int],
        chosen: Sequence[int],
        draws: int = DRAWS,
        seed: int = 0,
    ):
        self.rule, self.tokens = rule, 0
        sizes = list(zip(map(int, experts), map(int, chosen), strict=True))
        self._layers = [_Queue(rule, e, k) for e, k in sizes]
        self._random = {size: _RandomQueues(rule, *size, draws, seed) for size in set(sizes)}
        self._of_layer = [self._random[size] for size in sizes]

    def add(self, ids: np.ndarray, gates: np.ndarray) -> None:
        """Read further rows: ids and gates [L, R, K], largest gate first, -1 for an empty slot."""
        self.tokens += ids.shape[1]
        for queue, layer_ids, layer_gates in zip(self._layers, ids, gates, strict=True):
            queue.add(layer_ids, layer_gates)
        for queues in self._random.values():
            queues.add(ids.shape[1])

    def now(self) -> RunningRate:
        """The figures so far; raises RuleError while the text is shorter than a group."""
        check_group(self.tokens, self.rule)
        bands = {id(queues): queues.band() for queues in self._random.values()}
        low, high = np.array([bands[id(queues)] for queues in self._of_layer]).T
        return RunningRate(self.tokens, np.array([q.rate() for q in self._layers]), low, high)


class _Queue:
    """Assignments of one layer: those of finished windows settled, those of the last one open."""

    def __init__(self, rule: CapacityRule, experts: int, chosen: int):
        self._rule, self._experts, self._chosen = rule, experts, chosen
        self._lost = self._sent = self._window = 0
        self._open()

    def _open(self) -> None:
        self._counts = np.zeros(self._experts, np.int64)
        self._tokens = 0
        self._rng = np.random.default_rng((self._rule.seed, self._window))

    def add(self, ids: np.ndarray, gates: np.ndarray) -> None:
        at = 0
        while at < len(ids):
            room = len(ids) if self._rule.group is None else self._rule.group - self._tokens
            self._take(ids[at : at + room], gates[at : at + room])
            at += room
            if self._tokens == self._rule.group:
                self._lost += self._excess()
                self._window += 1
                self._open()

    def _take(self, ids: np.ndarray, gates: np.ndarray) -> None:
        waiting = ids != EMPTY
        self._sent += int(waiting.sum())
        if self._rule.convention == "gshard" and self._chosen > 1:
            refused = refused_seconds(ids, gates, self._rng)
            self._lost += int(refused.sum())
            waiting &= ~refused
        self._counts += np.bincount(ids[waiting], minlength=self._experts)
        self._tokens += len(ids)

    def _excess(self) -> int:
        room = self._rule.capacity(self._tokens, self._experts, self._chosen)
        return int(np.maximum(self._counts - room, 0).sum())

    def rate(self) -> float:
        return (self._lost + self._excess()) / max(self._sent, 1)


class _RandomQueues:
    """The same for many random routers of E experts at once, each with its own counts."""

    def __init__(self, rule: CapacityRule, experts: int, chosen: int, draws: int, seed: int):
        self._rule, self._experts, self._chosen = rule, experts, chosen
        self._rng = np.random.default_rng(seed)
        self._lost = np.zeros(draws, np.int64)
        self._counts = np.zeros((draws, experts), np.int64)
        self._tokens = self._all = 0

    def add(self, tokens: int) -> None:
        while tokens:
            group = self._rule.group
            step = tokens if group is None else min(tokens, group - self._tokens)
            self._take(step)
            tokens -= step
            if self._tokens == group:
                self._lost += self._excess()
                self._counts[:] = 0
                self._tokens = 0

    def _take(self, tokens: int) -> None:
        draws = len(self._lost)
        ids = random_choices(self._rng, draws * tokens, self._experts, self._chosen)
        flat = ids.reshape(draws, -1) + np.arange(draws)[:, None] * self._experts
        counts = np.bincount(flat.ravel(), minlength=self._counts.size)
        self._counts += counts.reshape(self._counts.shape)
        self._tokens += tokens
        self._all += tokens

    def _excess(self) -> np.ndarray:
        room = self._rule.capacity(self._tokens, self._experts, self._chosen)
        return np.maximum(self._counts - room, 0).sum(axis=1)

    def band(self) -> tuple[float, float]:
        share = (self._lost + self._excess()) / max(self._all * self._chosen, 1)
        low, high = np.quantile(share, (0.025, 0.975))
        return float(low), float(high)
