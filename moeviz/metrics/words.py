"""Which tokens does an expert answer for, and is that more than its load explains?"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from moeviz.corpora.corpus import CorpusError
from moeviz.corpora.routing import CorpusRouting, TokenCounts
from moeviz.metrics.beyond import beyond

LEAST = 8
"""Occurrences a token needs before its share is looked at."""


@dataclass(frozen=True, eq=False)
class ExpertWords:
    """N tokens that one expert is chosen for more than for others, by lift.

    ids, pieces: the tokens and their spelling. times: [N] occurrences N_x. share: [N] N_x,i / N_x,
    the part of them for which the expert was chosen. base: the expert's share of all tokens; an
    even router gives K / E. lift: [N] share / base.
    above: [N] whether so many would be chosen by chance in at most 5 % of all (expert, token) pairs
        taken together, if each occurrence were sent there at the base rate (`beyond`).
    Muennighoff et al. 2024 (arXiv:2409.02060), section 5, vocabulary specialisation.
    """

    ids: np.ndarray
    pieces: tuple[str, ...]
    times: np.ndarray
    share: np.ndarray
    base: float
    lift: np.ndarray
    above: np.ndarray


def expert_words(
    routing: CorpusRouting, row: int, expert: int, kind: str = "input", least: int = LEAST
) -> ExpertWords:
    """The tokens of one expert in routed layer `row`, highest lift first, ties by frequency.

    kind: the "input" token, the true "next" one or the one the model "predicted". Tokens with
    fewer than `least` occurrences are left out. Raises CorpusError where words were not counted.
    """
    words = _counted(routing, kind)
    width = routing.shape[2]
    ids, counts = words.of(row * width + expert)
    often = words.tokens[ids] >= least
    ids, counts = ids[often], counts[often]
    times = words.tokens[ids]
    base = words.of(row * width + expert)[1].sum() / max(1, words.tokens.sum())
    share = counts / times
    pairs = int((words.tokens >= least).sum()) * int(routing.experts.sum())
    lift = share / base if base else share
    order = np.lexsort((ids, -times, -lift))
    above = beyond(share, base, times, pairs)
    return ExpertWords(
        ids=ids[order],
        pieces=tuple(routing.pieces.get(int(i), "") for i in ids[order]),
        times=times[order],
        share=share[order],
        base=float(base),
        lift=lift[order],
        above=above[order],
    )


def layer_words(
    routing: CorpusRouting, row: int, kind: str = "input", most: int = 40
) -> list[tuple[int, str, int, float, float]]:
    """(expert, piece, times, share, lift) of the tokens that most belong to one expert of a layer.

    Only what is above chance in `expert_words`; the highest share first, ties by frequency.
    """
    found = []
    for expert in range(int(routing.experts[row])):
        words = expert_words(routing, row, expert, kind)
        columns = (words.pieces, words.times, words.share, words.lift, words.above)
        found += [
            (expert, piece, int(times), float(share), float(lift))
            for piece, times, share, lift, above in zip(*columns, strict=True)
            if above
        ]
    return sorted(found, key=lambda one: (-one[3], -one[2]))[:most]


@dataclass(frozen=True, eq=False)
class VocabularySpecialisation:
    """How far one token means one expert, layer by layer.

    favourite: [L] share of a token's occurrences that went to its favourite expert, mean over
    tokens. low, high: [L] the range of `draws` draws in which every occurrence is sent by the
    experts' loads alone; the favourite of a rare token is above average even so.
    even: [L] K / E. words: tokens looked at.
    """

    favourite: np.ndarray
    low: np.ndarray
    high: np.ndarray
    even: np.ndarray
    words: int
    draws: int


def vocabulary_specialisation(
    routing: CorpusRouting, kind: str = "input", least: int = 20, draws: int = 20, seed: int = 0
) -> VocabularySpecialisation:
    """Of tokens with at least `least` occurrences; see `expert_words` for `kind`."""
    words = _counted(routing, kind)
    often = np.flatnonzero(words.tokens >= least)
    if not len(often):
        raise CorpusError(f"No token stands {least} times in {routing.corpus}; read more text.")
    rng = np.random.default_rng(seed)
    found = [_favourites(routing, words, often, row, rng, draws) for row in range(routing.shape[1])]
    return VocabularySpecialisation(
        favourite=np.array([real for real, _ in found]),
        low=np.array([chance.min() for _, chance in found]),
        high=np.array([chance.max() for _, chance in found]),
        even=routing.chosen / routing.experts,
        words=len(often),
        draws=draws,
    )


def words_explain(routing: CorpusRouting, words: np.ndarray) -> np.ndarray:
    """[L, G, E] the share of each label's tokens that an expert would get by vocabulary alone.

    words: [G, V] counts of input tokens by label. Every token goes to the experts as often as it
    does in the whole run, wherever it stands: sum over x of N_x,D / N_D * N_x,i / N_x. A label's
    share over this is its lift beyond vocabulary: near 1 where an expert's taste for a topic is
    its taste for the topic's words. Tokens that only one label has explain all of theirs.
    """
    counted = _counted(routing, "input")
    layers, width = routing.shape[1:]
    part = words / np.maximum(words.sum(axis=1, keepdims=True), 1)
    rate = part / np.maximum(counted.tokens, 1)
    explained = np.full((layers, len(words), width), np.nan)
    for row, size in enumerate(routing.experts):
        for expert in range(size):
            ids, chosen = counted.of(row * width + expert)
            explained[row, :, expert] = rate[:, ids] @ chosen
    return explained


def _favourites(routing, words: TokenCounts, often: np.ndarray, row: int, rng, draws: int):
    width, size = routing.shape[2], int(routing.experts[row])
    times = words.tokens[often]
    counts = np.zeros((size, len(often)), np.int64)
    for expert in range(size):
        ids, chosen = words.of(row * width + expert)
        at = np.minimum(np.searchsorted(often, ids), len(often) - 1)
        known = often[at] == ids
        counts[expert, at[known]] = chosen[known]
    base = counts.sum(axis=1, keepdims=True) / times.sum()
    chance = [
        (rng.binomial(times, np.minimum(base, 1), size=counts.shape).max(axis=0) / times).mean()
        for _ in range(draws)
    ]
    return (counts.max(axis=0) / times).mean(), np.array(chance)


def _counted(routing: CorpusRouting, kind: str) -> TokenCounts:
    if kind not in routing.vocabulary:
        known = ", ".join(routing.vocabulary) or "none"
        raise CorpusError(
            f"This run did not count experts by {kind} token; it has {known}. Run the corpus again "
            "with that kind."
        )
    return routing.vocabulary[kind]
