"""Rules by which the tokens of one layer could be shared out among its experts.

Every function takes the same router logits [T, E] and hands back an `Assignment`. Weights follow
the model's own recipe (`Weighing`), so that two algorithms differ in whom they choose and not in
how loud the experts speak; a docstring says where the published weight is another.
"""

from __future__ import annotations

import numpy as np

from moeviz.rules.assignment import (
    Assignment,
    Weighing,
    assigned,
    check_chosen,
    check_factor,
    listed,
    softmax,
    top,
)
from moeviz.rules.capacity import CapacityRule, RuleError, dropped_slots
from moeviz.trace import EMPTY

SOFTMAX = Weighing()
GROUP_SCORES = ("max", "top2")


def token_choice(logits: np.ndarray, chosen: int, weighing: Weighing = SOFTMAX) -> Assignment:
    """Each token takes its `chosen` experts with the largest logits.

    logits [T, E]. What Mixtral, OLMoE, Qwen and most others do; Shazeer et al. 2017
    (arXiv:1701.06538) eq. 3 and 5 without the noise, where weights are renormalised.
    Raises RuleError unless K is 1 to E.
    """
    experts = logits.shape[1]
    check_chosen(chosen, experts)
    ids = top(logits, chosen)
    return assigned(ids, weighing.gates(logits, ids), experts)


def switch(logits: np.ndarray, factor: float, weighing: Weighing = SOFTMAX) -> Assignment:
    """Each token takes one expert; an expert takes the first floor(T / E * CF) that come.

    Fedus et al. 2021 (arXiv:2101.03961) eq. 2 and 3: weight p_i(x), not renormalised. The room
    follows from the length of the text; given the room, no token depends on later ones.
    Raises RuleError for a factor of 0 or below.
    """
    check_factor(factor)
    first = token_choice(logits, 1, weighing)
    return _limited(first, CapacityRule(float(factor), "switch", "position"))


def noisy_top_k(
    logits: np.ndarray, chosen: int, noise: float, seed: int = 0, weighing: Weighing = SOFTMAX
) -> Assignment:
    """Token choice by H = logits + noise * N(0, 1), weights from H as well.

    Shazeer et al. 2017 (arXiv:1701.06538) eq. 3 to 5. There the noise is scaled by a learned
    softplus(x W_noise), which other models do not have; here `noise` is its size, in logits.
    Raises RuleError unless K is 1 to E and the noise is a number of at least 0.
    """
    if not 0 <= noise < np.inf:
        raise RuleError(f"The noise must be a number of at least 0, not {noise:g}.")
    drawn = np.random.default_rng(seed).standard_normal(logits.shape)
    return token_choice(logits + noise * drawn, chosen, weighing)


def gshard(logits: np.ndarray, seed: int = 0, weighing: Weighing = SOFTMAX) -> Assignment:
    """Two experts a token; the second kept with probability min(1, 2 g2); room for 2 T / E.

    Lepikhin et al. 2020 (arXiv:2006.16668) algorithm 1: gates g1, g2 add up to 1, and all first
    choices are served before any second. So an early token's second choice can be refused for a
    later token's first: not causal. Raises RuleError for fewer than two experts.
    """
    wanted = token_choice(logits, 2, weighing)
    rule = CapacityRule(convention="gshard", priority="slot", seed=seed)
    return _limited(wanted, rule, causal=False)


def group_limited(
    logits: np.ndarray,
    chosen: int,
    groups: int,
    groups_chosen: int,
    score: str = "max",
    weighing: Weighing = SOFTMAX,
) -> Assignment:
    """First the best `groups_chosen` groups of neighbouring experts, then K experts of them.

    score: a group counts as much as its best expert ("max", DeepSeek-V2, arXiv:2405.04434, §2.2.2)
    or its two best together ("top2", DeepSeek-V3, arXiv:2412.19437, §2.1.2).
    Raises RuleError when the groups do not divide the experts or hold fewer than K.
    """
    experts = logits.shape[1]
    check_chosen(chosen, experts)
    _check_groups(experts, chosen, groups, groups_chosen, score)
    scores = weighing.scores(logits)
    parts = np.sort(scores.reshape(len(scores), groups, -1), axis=-1)
    best = parts[..., -1] if score == "max" else parts[..., -2:].sum(axis=-1)
    open_groups = np.zeros(best.shape, bool)
    np.put_along_axis(open_groups, top(best, groups_chosen), True, -1)
    within = np.repeat(open_groups, experts // groups, axis=1)
    ids = top(np.where(within, logits, -np.inf), chosen)
    return assigned(ids, weighing.gates(logits, ids), experts)


def expert_choice(logits: np.ndarray, factor: float, weighing: Weighing = SOFTMAX) -> Assignment:
    """Each expert takes the k = T * CF / E tokens that score it highest.

    Zhou et al. 2022 (arXiv:2202.09368) §3.2: scores are the softmax over experts, and weights are
    those scores. k is rounded to a whole number from 1 to T; CF is how many experts a token has on
    average. Whom an expert takes depends on the whole text: not causal.
    Raises RuleError for a factor of 0 or below.
    """
    check_factor(factor)
    tokens, experts = logits.shape
    room = min(tokens, max(1, round(tokens * factor / experts)))
    taken = top(SOFTMAX.scores(logits).T, room)
    chosen = np.zeros((experts, tokens), bool)
    np.put_along_axis(chosen, taken, True, -1)
    ids = listed(chosen.T)
    return assigned(ids, weighing.gates(logits, ids), experts, causal=False)


def soft_moe(logits: np.ndarray) -> Assignment:
    """No choice at all: experts compute mixtures of tokens, tokens get mixtures of experts.

    Puigcerver et al. 2023 (arXiv:2308.00951) eq. 1 to 3, with one slot an expert, since the router
    has one column an expert: dispatch is the softmax over tokens, combine the softmax over slots.
    Both sums are 1. E rows are computed, however many tokens. Not causal.
    """
    tokens, experts = logits.shape
    logits = np.asarray(logits, np.float64)
    ids = np.broadcast_to(np.arange(experts), (tokens, experts))
    combine, dispatch = softmax(logits, axis=1), softmax(logits, axis=0)
    return assigned(ids, combine, experts, causal=False, runs=experts, dispatch=dispatch)


def dense(logits: np.ndarray, weighing: Weighing = SOFTMAX) -> Assignment:
    """Every expert takes every token, weighed by the softmax: the upper end of K.

    Jacobs et al. 1991 (Neural Computation 3:79), the mixture before it became sparse.
    """
    return token_choice(logits, logits.shape[1], weighing)


def hashed(
    logits: np.ndarray,
    token_ids: np.ndarray,
    chosen: int,
    seed: int = 0,
    weighing: Weighing = SOFTMAX,
) -> Assignment:
    """K experts that depend on the token's vocabulary id [T] only, the same wherever it stands.

    Roller et al. 2021 (arXiv:2106.04426), random hash; weight 1 there, the model's recipe here.
    Raises RuleError unless K is 1 to E.
    """
    experts = logits.shape[1]
    check_chosen(chosen, experts)
    ids = top(_shuffled(token_ids, experts, seed), chosen)
    return assigned(ids, weighing.gates(logits, ids), experts)


def uniform(
    logits: np.ndarray, chosen: int, seed: int = 0, weighing: Weighing = SOFTMAX
) -> Assignment:
    """K experts drawn at random for each token: what balance and overlap are by chance.

    Raises RuleError unless K is 1 to E.
    """
    experts = logits.shape[1]
    check_chosen(chosen, experts)
    ids = top(np.random.default_rng(seed).random(logits.shape), chosen)
    return assigned(ids, weighing.gates(logits, ids), experts)


def _limited(wanted: Assignment, rule: CapacityRule, causal: bool = True) -> Assignment:
    """`wanted` less what `rule` drops."""
    dropped = dropped_slots(wanted.ids, wanted.gates, wanted.experts, rule)
    ids = np.where(dropped, EMPTY, wanted.ids)
    gates = np.where(dropped, 0, wanted.gates)
    return assigned(ids, gates, wanted.experts, causal, dropped=int(dropped.sum()))


def _shuffled(token_ids: np.ndarray, experts: int, seed: int) -> np.ndarray:
    """[T, E] int64 that look random and follow from id, expert and seed alone.

    The finaliser of SplitMix64 (Steele, Lea and Flood 2014, OOPSLA 2014, p. 453).
    """
    mixed = token_ids.astype(np.uint64)[:, None] * np.uint64(experts) + np.arange(
        experts, dtype=np.uint64
    )
    mixed = (mixed + np.uint64(seed + 1)) * np.uint64(0x9E3779B97F4A7C15)
    for shift, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB)):
        mixed = (mixed ^ (mixed >> np.uint64(shift))) * np.uint64(factor)
    return ((mixed ^ (mixed >> np.uint64(31))) >> np.uint64(1)).astype(np.int64)


def _check_groups(experts: int, chosen: int, groups: int, groups_chosen: int, score: str) -> None:
    if groups < 1 or experts % groups:
        raise RuleError(
            f"{experts} experts cannot be parted into {groups} equal groups. "
            f"Choose a number of groups that divides {experts}."
        )
    if not 1 <= groups_chosen <= groups:
        raise RuleError(
            f"A token cannot keep {groups_chosen} of {groups} groups. Choose from 1 to {groups}."
        )
    if groups_chosen * (experts // groups) < chosen:
        raise RuleError(
            f"{groups_chosen} of {groups} groups {'holds' if groups_chosen == 1 else 'hold'} "
            f"{groups_chosen * experts // groups} of {experts} experts, fewer than {chosen}. "
            "Keep more groups, or choose a smaller K."
        )
    if score not in GROUP_SCORES:
        raise RuleError(f"score {score!r} is not one of {', '.join(GROUP_SCORES)}.")
    if score == "top2" and experts // groups < 2:
        raise RuleError("Groups of one expert have no two best. Choose fewer groups, or max.")
