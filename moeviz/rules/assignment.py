"""Which experts take which tokens of one layer, with what weight, and what that leaves uneven."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from itertools import product

import numpy as np

from moeviz.rules.capacity import RuleError
from moeviz.trace import EMPTY, RouterSpec

MISFIT = 0.05
"""Most that a gate may differ from its recipe: bfloat16 gates are off by a percent or two."""


@dataclass(frozen=True)
class Weighing:
    """How the weight of a chosen expert follows from the logits.

    scoring: "softmax" over all experts, or "sigmoid" of each. renormalised: the weights of a
    token are divided by their sum. scale: what they are multiplied by in the end.
    """

    scoring: str = "softmax"
    renormalised: bool = False
    scale: float = 1.0

    @classmethod
    def of(cls, router: RouterSpec) -> Weighing:
        """As the model of this router does it; softmax where its scoring is another."""
        scoring = "sigmoid" if router.scoring == "sigmoid" else "softmax"
        return cls(scoring, router.renormalised, router.scale)

    @classmethod
    def seen_in(cls, logits: np.ndarray, ids: np.ndarray, gates: np.ndarray) -> Weighing | None:
        """The recipe by which gates [T, K] follow from the logits of the chosen ids; None for one
        that is not known here."""
        filled = (ids != EMPTY) & (gates > 0)
        if not filled.any():
            return cls()
        found = []
        for scoring, renormalised in product(("softmax", "sigmoid"), (True, False)):
            plain = cls(scoring, renormalised).gates(logits, ids)
            ratio = gates[filled] / np.maximum(plain[filled], np.finfo(np.float32).tiny)
            scale = float(np.median(ratio))
            off = float(np.abs(ratio / scale - 1).max())
            odd = 0.001 * (abs(scale - 1) > 0.05)  # of two that fit, the one that needs no scale
            found.append((off + odd, cls(scoring, renormalised, scale)))
        off, best = min(found, key=lambda pair: pair[0])
        return best if off <= MISFIT else None

    def scores(self, logits: np.ndarray) -> np.ndarray:
        """[T, E] float64 scores of logits [T, E], before any renormalisation."""
        logits = np.asarray(logits, np.float64)
        if self.scoring == "sigmoid":
            return 0.5 * (1 + np.tanh(logits / 2))  # the sigmoid, without overflow
        return softmax(logits, axis=-1)

    def gates(self, logits: np.ndarray, ids: np.ndarray) -> np.ndarray:
        """[T, M] weights of the chosen ids [T, M]; 0 in empty slots."""
        gates = np.take_along_axis(self.scores(logits), np.maximum(ids, 0).astype(np.int64), -1)
        gates = np.where(ids == EMPTY, 0.0, gates)
        if self.renormalised:
            total = gates.sum(axis=-1, keepdims=True)
            gates = np.divide(gates, total, out=np.zeros_like(gates), where=total > 0)
        return gates * self.scale


@dataclass(frozen=True, eq=False)
class Balancing:
    """How the bias of loss-free balancing settled: S steps, the first without any bias.

    bias: [S, E]. load: [S, E] assignments each expert got with it. max_violation: [S] MaxVio.
    """

    bias: np.ndarray
    load: np.ndarray
    max_violation: np.ndarray


@dataclass(frozen=True, eq=False)
class Assignment:
    """What one routing algorithm does with the T tokens and E experts of one layer.

    ids: [T, M] int16, experts of each token, largest weight first, -1 in empty slots.
    gates: [T, M] float32, their weights. experts: E.
    causal: no token's experts depend on later tokens. dropped: assignments that the algorithm
    wanted and refused, for want of room or by lot.
    runs: token rows that the experts compute in all; the filled slots, but for Soft MoE, where
    an expert computes one mixed row a slot. dispatch: [T, E] of Soft MoE only, the share of each
    token in each expert's row. balancing: of loss-free balancing only.
    """

    ids: np.ndarray
    gates: np.ndarray
    experts: int
    causal: bool = True
    dropped: int = 0
    runs: int = 0
    dispatch: np.ndarray | None = None
    balancing: Balancing | None = None

    @cached_property
    def weights(self) -> np.ndarray:
        """[T, E] float32, 0 where a token does not go."""
        return spread(self.ids, self.gates, self.experts)

    @cached_property
    def taken(self) -> np.ndarray:
        """[T, E] bool: which experts take which tokens."""
        return spread(self.ids, self.ids != EMPTY, self.experts)

    @cached_property
    def load(self) -> np.ndarray:
        """[E] rows that each expert computes."""
        if self.dispatch is not None:
            return np.full(self.experts, self.runs // self.experts)
        return count(self.ids, self.experts)

    @property
    def max_violation(self) -> float:
        """MaxVio of the load: busiest over mean, minus 1 (Wang et al. 2024, arXiv:2408.15664)."""
        return float(violation(self.load))

    @property
    def active(self) -> float:
        """Experts that compute a row, per token: `runs` over T."""
        return self.runs / len(self.ids)

    @property
    def left_out(self) -> int:
        """Tokens that no expert takes, so that only the residual carries them on."""
        return int((self.ids == EMPTY).all(axis=1).sum())


def assigned(
    ids: np.ndarray, gates: np.ndarray, experts: int, causal: bool = True, **facts
) -> Assignment:
    """The `Assignment` of ids and gates [T, M] in any order of slots; a weight may be 0."""
    order = np.argsort(np.where(ids == EMPTY, np.inf, -gates), axis=-1, kind="stable")
    ids = np.take_along_axis(ids, order, -1).astype(np.int16)
    gates = np.take_along_axis(gates, order, -1).astype(np.float32)
    facts.setdefault("runs", int((ids != EMPTY).sum()))
    for array in (ids, gates):
        array.setflags(write=False)
    return Assignment(ids, gates, experts, causal, **facts)


def listed(chosen: np.ndarray) -> np.ndarray:
    """[T, M] ids of a table of choices [T, E] bool; M is the most any token has, at least 1."""
    width = max(1, int(chosen.sum(axis=1).max(initial=0)))
    first = np.argsort(~chosen, axis=1, kind="stable")[:, :width]
    return np.where(np.take_along_axis(chosen, first, 1), first, EMPTY)


def top(scores: np.ndarray, chosen: int) -> np.ndarray:
    """[T, K] ids of the `chosen` largest scores, largest first; the lower id wins a tie."""
    return np.argsort(-scores, axis=-1, kind="stable")[..., :chosen]


def spread(ids: np.ndarray, gates: np.ndarray, experts: int) -> np.ndarray:
    """[T, E] the gates [T, M] put at their experts, 0 elsewhere."""
    table = np.zeros((len(ids), experts + 1), gates.dtype)
    np.put_along_axis(table, np.where(ids == EMPTY, experts, ids).astype(np.int64), gates, -1)
    return table[:, :experts]


def count(ids: np.ndarray, experts: int) -> np.ndarray:
    """[E] times each expert is chosen in ids of any shape, empty slots left out."""
    return np.bincount(ids[ids != EMPTY].astype(np.int64), minlength=experts)


def violation(load: np.ndarray) -> np.ndarray:
    """MaxVio of loads [..., E]: (max - mean) / mean; nan where nothing is assigned."""
    mean = load.mean(axis=-1)
    with np.errstate(invalid="ignore", divide="ignore"):
        return (load.max(axis=-1) - mean) / mean


def softmax(values: np.ndarray, axis: int) -> np.ndarray:
    """exp of values over its sum along `axis`; -inf counts as 0."""
    weights = np.exp(values - values.max(axis=axis, keepdims=True))
    return weights / weights.sum(axis=axis, keepdims=True)


def check_chosen(chosen: int, experts: int) -> None:
    """Raises RuleError for a K that no token could choose."""
    if not 1 <= chosen <= experts:
        raise RuleError(
            f"A token cannot choose {chosen} of {experts} experts. Choose K from 1 to {experts}."
        )


def check_factor(factor: float) -> None:
    """Raises RuleError for a capacity factor that gives no expert any room."""
    if not 0 < factor < np.inf:
        raise RuleError(f"The capacity factor must be a number above 0, not {factor:g}.")
