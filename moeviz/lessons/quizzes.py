"""Questions to answer before the reveal; every right answer is computed, none is typed in."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from moeviz.lessons.committee import Contest
from moeviz.lessons.toy import ToyRun
from moeviz.metrics.overflow import overflow
from moeviz.metrics.router import router_probabilities
from moeviz.rules.capacity import CapacityRule
from moeviz.rules.facts import ModelFacts
from moeviz.rules.routing import RoutingRule
from moeviz.rules.words import short_count
from moeviz.trace import RoutingTrace


@dataclass(frozen=True)
class Quiz:
    """question with its choices; answer: place of the right one; why: what to say afterwards."""

    question: str
    choices: tuple[str, ...]
    answer: int
    why: str


def active_quiz(facts: ModelFacts) -> Quiz:
    """How many parameters does one token use?"""
    wrong = [facts.total / facts.experts, facts.total, facts.total * facts.chosen / facts.experts]
    return _numbers(
        f"{facts.name} has {short_count(facts.total)} parameters, {facts.experts} experts a layer "
        f"and top-{facts.chosen} routing. How many parameters does one token use?",
        facts.active,
        wrong,
        short_count,
        f"{short_count(facts.active)}: {facts.chosen} of {facts.experts} of the experts, and all "
        "the rest (attention, embeddings), which is never split.",
    )


def chosen_quiz(trace: RoutingTrace, row: int, token: int) -> Quiz:
    """To which experts does this token go, given their logits?"""
    logits = trace.logits[row, token]
    order = np.argsort(-logits, kind="stable")
    k = trace.shape[3]
    right = sorted(order[:k].tolist())
    others = [order[1 : k + 1], order[-k:], np.argsort(-np.abs(logits), kind="stable")[:k]]
    sets = [right]
    for other in (sorted(o.tolist()) for o in others):
        if other not in sets:
            sets.append(other)
    choices = sorted(sets)
    return Quiz(
        f"These are the router's logits. It is a top-{k} router: where does the token go?",
        tuple("experts " + " and ".join(map(str, ids)) for ids in choices),
        choices.index(right),
        f"To experts {' and '.join(map(str, right))}: the {k} largest logits, "
        f"{', '.join(f'{logits[e]:.2f}' for e in order[:k])}. The sign does not matter, the order "
        "does.",
    )


def mass_quiz(trace: RoutingTrace, row: int) -> Quiz:
    """How much of the router's probability do the chosen experts hold?"""
    k = trace.shape[3]
    shares = np.sort(router_probabilities(trace, row), axis=1)[:, -k:].sum(axis=1).mean()
    even = k / trace.shape[2]
    return _numbers(
        f"Each token goes to {k} of {trace.shape[2]} experts. How much of the router's probability "
        "do those hold, on average?",
        float(shares),
        [even, 0.95, 0.7 if shares < 0.55 else 0.3],
        lambda x: f"about {100 * x:.0f} %",
        f"{100 * shares:.0f} %, where a router without any preference would give "
        f"{100 * even:.0f} %.",
    )


def collapse_quiz(runs: Sequence[ToyRun]) -> Quiz:
    """What happens to the toy that nothing keeps in balance?"""
    starved = [run.starved for run in runs]
    collapsed = all(run.late_violation > 1 for run in runs)
    choices = (
        "The experts share the work evenly by themselves",
        "A few experts take most tokens, others starve",
        "One expert takes every single token",
    )
    every = all(run.late().max() > 0.99 for run in runs)
    answer = 2 if every else 1 if collapsed else 0
    return Quiz(
        "Eight experts are trained with nothing that keeps them balanced. What happens?",
        choices,
        answer,
        f"In {len(runs)} runs the busiest expert took "
        f"{', '.join(f'{100 * run.late().max():.0f} %' for run in runs)} of the tokens where 12.5 "
        f"% is even, and {', '.join(map(str, starved))} of 8 experts starved. Who gets tokens "
        "learns, and who learns gets more tokens.",
    )


def lost_quiz(trace: RoutingTrace, row: int) -> Quiz:
    """With room for exactly the even share, is anything lost?"""
    rate = float(overflow(trace, CapacityRule(1.0, "vmoe")).rate[row])
    return _numbers(
        "Every expert gets room for exactly its even share, so there is one place for every "
        "assignment. What share of them finds no room?",
        rate,
        [0.0, rate / 3, min(1.0, rate * 3)],
        lambda x: f"about {100 * x:.0f} %",
        f"{100 * rate:.0f} %. There are as many places as assignments, but some experts are asked "
        "for more than others: what overflows here is empty room there.",
    )


def causal_quiz(trace: RoutingTrace, row: int) -> Quiz:
    """Which algorithms could write a text word by word?"""
    names = {"token-choice": "Token choice", "expert-choice": "Expert choice", "soft": "Soft MoE",
             "hash": "Hash of the token"}  # fmt: skip
    logits, ids = trace.logits[row], trace.tokens.ids
    causal = {n: RoutingRule(n).applied(logits, ids).causal for n in names}
    good = [names[n] for n in names if causal[n]]
    bad = [names[n] for n in names if not causal[n]]
    choices = (
        "All four",
        f"Only {good[0].lower()}",
        " and ".join(good),
        " and ".join(bad),
    )
    return Quiz(
        "Token choice, expert choice, Soft MoE, or a fixed hash of the token: which can write a "
        "text word by word, when later words do not exist yet?",
        choices,
        2,
        f"{' and '.join(good)}: they look at one token at a time. {' and '.join(bad)} look at all "
        "tokens of the text before they decide about any.",
    )


def read_quiz(share: float, tokens: int, one: float) -> Quiz:
    """Which part of the experts does a batch read?"""
    return _numbers(
        f"One token reads {100 * one:.0f} % of a layer's experts. What do {tokens} tokens at once "
        "read?",
        share,
        [one, (one + share) / 3, min(1.0, one * tokens / 8) if one * tokens / 8 < 0.9 else 0.5],
        lambda x: f"about {100 * x:.0f} %",
        f"{100 * share:.0f} %: the tokens want different experts. So a busy server reads nearly "
        "all weights in every step, and the gain of an MoE is in arithmetic, not in memory.",
    )


def contest_quiz(found: Contest) -> Quiz:
    """Which way has the lowest error when only one learner runs for an input?"""
    names = tuple(member.name for member in found.members)
    alone = [m for m in found.members if m.asked == 1]
    best = min(alone, key=lambda m: m.error)
    rest = min((m for m in found.members if m.asked > 1), key=lambda m: m.error)
    return Quiz(
        "A curve of four different pieces, eight small learners. If only one learner may run for "
        "an input, which way has the smallest error?",
        names,
        names.index(best.name),
        f"{best.name}, with {best.error:.3f}. The best that runs all eight is {rest.name.lower()} "
        f"with {rest.error:.3f}. A gate that knows who is good where saves work; an average pays "
        "for everyone.",
    )


def labels_quiz(language: float, domain: float) -> Quiz:
    """Does the language or the domain of a text say more about its experts?"""
    choices = ("Its language", "Its domain", "Neither, routing is the same for all texts")
    answer = 0 if language > domain else 1
    return Quiz(
        "What tells you more about which experts a text will use in the demo model?",
        choices,
        answer if max(language, domain) > 0 else 2,
        f"Knowing the language saves {language:.3f} bits about the expert of a token, knowing the "
        f"domain {domain:.3f} bits: the mean over layers, less what chance gives.",
    )


def _numbers(question: str, right: float, wrong: Sequence[float], word, why: str) -> Quiz:
    """A quiz over numbers, smallest first; what reads like the right answer is left out."""
    choices = {word(right): right}
    for value in wrong:
        choices.setdefault(word(value), value)
    words = sorted(choices, key=choices.get)
    return Quiz(question, tuple(words), words.index(word(right)), why)
