"""How many tokens may an expert take, and which of those sent to it come first?

Five conventions are in use, each with its own rounding; the sixth is an absolute number.
T tokens counted together, E experts, K chosen per token, CF the capacity factor:

    switch     floor(T / E * CF)            Fedus et al. 2021 (arXiv:2101.03961), eq. 3
    gshard     ceil(2 * T / E)              Lepikhin et al. 2020 (arXiv:2006.16668); no CF
    vmoe       round(K * T * CF / E)        Riquelme et al. 2021 (arXiv:2106.05974)
    deepspeed  max(4, ceil(T / E * CF * K)) DeepSpeed, sharded_moe top-k gating
    tutel      K * int(CF * ceil(T / E))    Tutel, moe_layer
    absolute   a fixed number of tokens     Switch Transformers in transformers (64)

The Switch paper states its capacity for K = 1 and does not round; we round down, since an expert
takes whole tokens, and do not multiply by K.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from moeviz.trace import EMPTY, MoevizError

CONVENTIONS = ("switch", "gshard", "vmoe", "deepspeed", "tutel", "absolute")
PRIORITIES = ("position", "slot", "score", "gate", "random")


class RuleError(MoevizError):
    """A rule that cannot be applied, in one sentence."""


@dataclass(frozen=True)
class CapacityRule:
    """A limit on how many tokens one expert takes.

    factor: capacity factor CF. convention: how capacity follows from it, see the module.
    priority: who comes first when more are sent than fit:
        position  earlier tokens first, all choices of a token together (Switch)
        slot      all first choices before any second, then position (GShard, Tutel)
        score     as slot, tokens with the highest gate first (batch prioritised, V-MoE)
        gate      each assignment by its own gate, highest first (DeepSpeed "probs")
        random    in an order drawn with `seed` (DeepSpeed random token selection)
    group: tokens counted together, in windows of this many; None counts the whole text.
    absolute: the capacity under the convention "absolute".

    Raises RuleError for values that mean nothing.
    """

    factor: float = 1.25
    convention: str = "switch"
    priority: str = "position"
    group: int | None = None
    seed: int = 0
    absolute: int = 64

    def __post_init__(self) -> None:
        if not isinstance(self.factor, int | float) or not 0 < self.factor < math.inf:
            raise RuleError(f"The capacity factor must be a number above 0, not {self.factor!r}.")
        for name, choices in (("convention", CONVENTIONS), ("priority", PRIORITIES)):
            if getattr(self, name) not in choices:
                given = getattr(self, name)
                raise RuleError(f"{name} {given!r} is not one of {', '.join(choices)}.")
        for name in ("group", "absolute"):
            value = getattr(self, name)
            if value is not None and (not isinstance(value, int) or value < 1):
                raise RuleError(f"{name} must be a whole number of at least 1, not {value!r}.")

    def __str__(self) -> str:
        """The rule in short: "capacity vmoe 1.25 by slot in groups of 128"."""
        amount = self.absolute if self.convention == "absolute" else f"{self.factor:g}"
        parts = [f"capacity {self.convention} {amount} by {self.priority}"]
        if self.group is not None:
            parts.append(f"in groups of {self.group}")
        if self.priority == "random" or self.convention == "gshard":
            parts.append(f"seed {self.seed}")
        return " ".join(parts)

    def capacity(self, tokens: int, experts: int, chosen: int) -> int:
        """Tokens that one expert takes of `tokens` counted together, rounded as its convention."""
        each = tokens / experts
        if self.convention == "switch":
            return math.floor(each * self.factor + _SLACK)
        if self.convention == "gshard":
            return math.ceil(2 * each - _SLACK)
        if self.convention == "vmoe":
            return round(chosen * tokens * self.factor / experts)
        if self.convention == "deepspeed":
            return max(4, math.ceil(each * self.factor * chosen - _SLACK))
        if self.convention == "tutel":
            return chosen * int(self.factor * math.ceil(each) + _SLACK)
        return self.absolute


_SLACK = 1e-9
"""Keeps 1.1 * 10 at 11 where binary fractions would round it up to 12."""


def windows(tokens: int, rule: CapacityRule) -> list[slice]:
    """The stretches of the text that are counted together; raises RuleError for a group too large.

    The last window may be shorter; its capacity follows from its own length.
    """
    check_group(tokens, rule)
    if rule.group is None:
        return [slice(0, tokens)]
    return [slice(at, min(at + rule.group, tokens)) for at in range(0, tokens, rule.group)]


def check_group(tokens: int, rule: CapacityRule) -> None:
    """Raises RuleError for a group larger than a text of so many tokens."""
    if rule.group is not None and rule.group > tokens:
        raise RuleError(
            f"A group of {rule.group:,} tokens is larger than the text, which has {tokens:,}."
        )


def dropped_slots(
    ids: np.ndarray,
    gates: np.ndarray | None,
    experts: int,
    rule: CapacityRule,
    lines: list[Queue] | None = None,
) -> np.ndarray:
    """[T, K] bool: the assignments of one layer that find their expert full.

    ids [T, K] with -1 for empty slots, which are never dropped; gates [T, K], largest first.
    lines: their `queues`, where many factors are asked about the same choices.
    Without gates (None) raises RuleError for a rule that has to know them.
    """
    chosen = ids.shape[1]
    parts = windows(len(ids), rule)
    if lines is None:
        lines = queues(ids, gates, experts, rule)
    dropped = np.zeros(ids.shape, bool)
    for part, line in zip(parts, lines, strict=True):
        late = line.late(rule.capacity(part.stop - part.start, experts, chosen))
        dropped[part].ravel()[late] = True
        if line.refused is not None:
            dropped[part] |= line.refused
    return dropped


@dataclass(frozen=True)
class Queue:
    """Who waits for each expert of one layer in one window, whatever room there is.

    waiting [T * K]: the expert that each assignment waits for, in the order of service, -1 for
    none. order [T * K]: the places of those in the flat [T, K] array; None is that array itself.
    counts [E]: how many wait for each expert. refused [T, K] bool: those who may not wait, or None.
    """

    waiting: np.ndarray
    order: np.ndarray | None
    counts: np.ndarray
    refused: np.ndarray | None

    @cached_property
    def lined_up(self) -> np.ndarray:
        """Flat places expert by expert, first served first; those that wait for none lead.

        One stable sort (a radix sort for 8 and 16 bits) lines up every queue.
        """
        line = np.argsort(self.waiting, kind="stable")
        return line if self.order is None else self.order[line]

    def late(self, capacity: int) -> np.ndarray:
        """Flat places of the assignments after the first `capacity` of each expert."""
        full = np.flatnonzero(self.counts > capacity)
        if not len(full):
            return full
        ends = len(self.waiting) - self.counts.sum() + self.counts.cumsum()
        starts = ends - self.counts
        return np.concatenate([self.lined_up[starts[e] + capacity : ends[e]] for e in full])


def queues(
    ids: np.ndarray, gates: np.ndarray | None, experts: int, rule: CapacityRule
) -> list[Queue]:
    """One `Queue` for each window of one layer; no capacity factor changes them.

    Without gates (None) raises RuleError for a rule that has to know them.
    """
    if gates is None:
        _check_needs_no_gates(rule, ids.shape[1])
        gates = np.zeros(ids.shape, np.float32)  # not read under such a rule
    parts = windows(len(ids), rule)
    return [_queue(ids[p], gates[p], experts, rule, place) for place, p in enumerate(parts)]


def _check_needs_no_gates(rule: CapacityRule, chosen: int) -> None:
    """Raises RuleError for a rule that asks which choice is first, or how large a gate is."""
    if rule.priority in ("score", "gate") or (rule.priority == "slot" and chosen > 1):
        raise RuleError(
            f"Priority by {rule.priority} needs to know the gates, and this trace holds the "
            "chosen experts alone. Serve tokens by position or at random."
        )
    if rule.convention == "gshard" and chosen > 1:
        raise RuleError(
            "GShard turns second choices away by their gates, and this trace holds the chosen "
            "experts alone. Choose another convention."
        )


def _queue(
    ids: np.ndarray, gates: np.ndarray, experts: int, rule: CapacityRule, place: int
) -> Queue:
    rng = np.random.default_rng((rule.seed, place))
    refused = None
    if rule.convention == "gshard" and ids.shape[1] > 1:
        refused = refused_seconds(ids, gates, rng)
        ids = np.where(refused, EMPTY, ids)
    order = priority_order(gates, rule, rng)
    waiting = ids.ravel().astype(np.int8 if experts <= 127 else np.int16, copy=False)
    waiting = waiting if order is None else waiting[order]
    counts = np.bincount(waiting.astype(np.intp) + 1, minlength=experts + 1)[1:]
    return Queue(waiting, order, counts, refused)


def refused_seconds(ids: np.ndarray, gates: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """[T, K] bool: GShard's random routing sends a second choice with probability min(1, 2 * gate).

    The first `len(ids)` numbers of `rng` decide, one a token. Gates are normalised over the two
    first choices (Lepikhin et al. 2020, algorithm 1).
    """
    total = gates[:, :2].sum(axis=1)
    second = np.divide(gates[:, 1], total, out=np.zeros_like(total), where=total > 0)
    refused = np.zeros(ids.shape, bool)
    refused[:, 1] = (rng.random(len(ids)) >= 2 * second) & (ids[:, 1] != EMPTY)
    return refused


def priority_order(
    gates: np.ndarray, rule: CapacityRule, rng: np.random.Generator
) -> np.ndarray | None:
    """[T * K] places in the flat [T, K] array, first come first; None is the flat order itself."""
    tokens, chosen = gates.shape
    if rule.priority == "position":
        return None
    if rule.priority == "random":
        return rng.permutation(tokens * chosen)
    if rule.priority == "gate":
        return np.argsort(-gates.ravel(), kind="stable")
    first = np.arange(tokens)
    if rule.priority == "score":
        first = np.argsort(-gates.max(axis=1), kind="stable")
    return (first[None, :] * chosen + np.arange(chosen)[:, None]).ravel()
