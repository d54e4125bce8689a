"""Algorithms that make experts share the work evenly, and how they get there."""

from __future__ import annotations

import numpy as np

from moeviz.rules.assignment import (
    Assignment,
    Balancing,
    Weighing,
    assigned,
    check_chosen,
    count,
    top,
    violation,
)
from moeviz.rules.capacity import RuleError

SOFTMAX = Weighing()
MOST_ROUNDS = 10_000
TOLERANCE = 1e-4


def loss_free(
    logits: np.ndarray,
    chosen: int,
    speed: float = 0.001,
    steps: int = 300,
    weighing: Weighing = SOFTMAX,
) -> Assignment:
    """Token choice by score + bias, the bias nudged `steps` times against the load.

    b_i += speed * sign(mean n - n_i), weights from the scores alone. Wang et al. 2024
    (arXiv:2408.15664) algorithm 1; speed 0.001 there, and each step a new batch. Here every step
    sees the same tokens, so the bias has read the whole text; given the bias, no token depends on
    later ones. `balancing` holds every step, the first without bias.
    Raises RuleError unless K is 1 to E, the speed above 0 and the steps at least 1.
    """
    experts = logits.shape[1]
    check_chosen(chosen, experts)
    if not 0 < speed < np.inf or steps < 1:
        raise RuleError(
            f"Balancing needs a speed above 0 and at least 1 step, not {speed:g} and {steps}."
        )
    balancing = _balanced(weighing.scores(logits), chosen, speed, steps)
    return at_bias(logits, chosen, balancing.bias[-1], weighing, balancing)


def at_bias(
    logits: np.ndarray,
    chosen: int,
    bias: np.ndarray,
    weighing: Weighing = SOFTMAX,
    balancing: Balancing | None = None,
) -> Assignment:
    """Token choice by score + bias [E], weights from the scores alone: one step of balancing."""
    ids = top(weighing.scores(logits) + bias, chosen)
    gates = weighing.gates(logits, ids)
    return assigned(ids, gates, logits.shape[1], balancing=balancing)


def _balanced(scores: np.ndarray, chosen: int, speed: float, steps: int) -> Balancing:
    """Every step; once two steps undo each other they do so for ever, and are only repeated."""
    tokens, experts = scores.shape
    nudges, load = np.zeros((2, steps + 1, experts), np.int64)
    last = steps
    for step in range(steps + 1):
        load[step] = _chosen_counts(scores + speed * nudges[step], chosen)
        if step == steps:
            break
        nudges[step + 1] = nudges[step] + np.sign(tokens * chosen - experts * load[step])
        if step and (nudges[step + 1] == nudges[step - 1]).all():
            last = step
            break
    back = (np.arange(last + 1, steps + 1) - last) % 2
    for history in (nudges, load):
        history[last + 1 :] = history[last - back]
    return Balancing(speed * nudges, load, violation(load))


def _chosen_counts(scores: np.ndarray, chosen: int) -> np.ndarray:
    """[E] tokens that have each expert among their `chosen` best."""
    best = np.argpartition(-scores, chosen - 1, axis=1)[:, :chosen]
    return count(best, scores.shape[1])


def sinkhorn_plan(logits: np.ndarray, temperature: float = 1.0) -> np.ndarray:
    """[T, E] shares: every token's add up to 1, every expert's to T / E.

    Sinkhorn and Knopp 1967: exp(logits / temperature) has its columns and rows scaled in turn
    until each column is within 0.01 % of T / E; rows come last and are exact. As a router: Clark
    et al. 2022 (arXiv:2202.01169) §3.1. Raises RuleError for a temperature of 0 or below, or one so
    low that the sums do not settle.
    """
    if not 0 < temperature < np.inf:
        raise RuleError(f"The temperature must be a number above 0, not {temperature:g}.")
    scaled = np.asarray(logits, np.float64) / temperature
    tokens, experts = scaled.shape
    kernel = np.exp(scaled - scaled.max(axis=1, keepdims=True))
    columns = np.ones(experts)
    with np.errstate(over="ignore", divide="ignore", invalid="ignore"):  # sums that run away
        for _ in range(MOST_ROUNDS):
            rows = 1 / (kernel @ columns)
            sums = columns * (rows @ kernel)
            if np.abs(sums * experts / tokens - 1).max() <= TOLERANCE:
                return kernel * columns * rows[:, None]
            columns *= tokens / experts / sums
    raise RuleError(
        f"At temperature {temperature:g} the sums did not settle in {MOST_ROUNDS:,} rounds. "
        "Choose a higher temperature."
    )


def sinkhorn(
    logits: np.ndarray, chosen: int, temperature: float = 1.0, weighing: Weighing = SOFTMAX
) -> Assignment:
    """Each token takes the `chosen` experts with the largest share in the balanced plan.

    Clark et al. 2022 (arXiv:2202.01169) §3.1, S-BASE: the plan chooses, the router's own scores
    weigh. The plan is balanced exactly, its largest entries only nearly. It sees the whole text:
    not causal. Raises RuleError as `sinkhorn_plan`, and unless K is 1 to E.
    """
    check_chosen(chosen, logits.shape[1])
    ids = top(sinkhorn_plan(logits, temperature), chosen)
    return assigned(ids, weighing.gates(logits, ids), logits.shape[1], causal=False)


def base(logits: np.ndarray, weighing: Weighing = SOFTMAX) -> Assignment:
    """One expert a token, every expert equally many: the split with the largest sum of logits.

    Lewis et al. 2021 (arXiv:2103.16716) eq. 1, a linear assignment problem; solved exactly. Where
    E does not divide T, loads differ by one at most. Weight there sigmoid(logit), here the model's
    recipe. It sees the whole text, and the paper chooses freely when it generates: not causal.
    """
    owner = _even_split(np.asarray(logits, np.float64))
    ids = owner[:, None]
    return assigned(ids, weighing.gates(logits, ids), logits.shape[1], causal=False)


def _even_split(gain: np.ndarray) -> np.ndarray:
    """[T] expert of each token, loads floor or ceil of T / E, the sum of gain [T, E] largest.

    Successive shortest paths (Ahuja, Magnanti and Orlin 1993, §9.7), over experts as nodes: all
    tokens start at their favourite; then the cheapest chain of moves that evens the load by one
    token is made, as long as there is one.
    """
    tokens, experts = gain.shape
    owner = gain.argmax(axis=1)
    load = count(owner, experts)
    low, high = tokens // experts, -(-tokens // experts)
    must = 4.0 * experts * (np.ptp(gain) + 1)  # more than any chain of moves can cost
    price = np.full((experts, experts), np.inf)
    mover = np.zeros((experts, experts), np.int64)
    stale = range(experts)
    while True:
        for expert in stale:
            _reprice(gain, owner, expert, price, mover)
        leave = np.where(load > high, -must, np.where(load > low, 0.0, must))
        enter = np.where(load < low, -must, np.where(load < high, 0.0, must))
        cost, before = _cheapest(price, leave)
        last = int(np.argmin(cost + enter))
        if cost[last] + enter[last] > -1e-9:
            return owner
        stale = _chain(before, last)
        for place, here in enumerate(stale[:-1]):
            owner[mover[here, stale[place + 1]]] = stale[place + 1]
        load[stale[0]] -= 1
        load[last] += 1


def _reprice(gain, owner, expert: int, price, mover) -> None:
    """What it costs to move one token from `expert` to each other one, and which token is it."""
    own = np.flatnonzero(owner == expert)
    price[expert] = np.inf
    if len(own):
        loss = gain[own, expert][:, None] - gain[own]
        best = loss.argmin(axis=0)
        price[expert], mover[expert] = loss[best, np.arange(len(price))], own[best]
    price[expert, expert] = np.inf


def _cheapest(price: np.ndarray, start: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(cost, node before) of the cheapest way to each node, -1 for a way that starts there."""
    cost, before = start.copy(), np.full(len(start), -1)
    for _ in range(len(start)):
        through = cost[:, None] + price
        best = through.argmin(axis=0)
        better = through[best, np.arange(len(start))] < cost - 1e-12
        if not better.any():
            break
        cost = np.where(better, through[best, np.arange(len(start))], cost)
        before = np.where(better, best, before)
    return cost, before


def _chain(before: np.ndarray, last: int) -> list[int]:
    """The nodes of the way to `last`, first one first."""
    chain = [last]
    while before[chain[-1]] >= 0:
        chain.append(int(before[chain[-1]]))
    return chain[::-1]
