"""What routing recorded elsewhere cannot be, and how we know.

Each refusal rests on something that no true record can show: an expert that does not exist, one
expert twice in a token's choice, or a coincidence less likely than `REMOTE`. Experts of a trained
layer are numbered at random, so how likely a pattern of numbers is follows from counting alone;
a text of a few tokens, or one layer that sends everything to the same experts, is never refused.
"""

from __future__ import annotations

from math import comb, log

import numpy as np

from moeviz.trace import EMPTY, MOST_EXPERTS, TraceError, spoken

REMOTE = 1e-9
"""A pattern of expert numbers less likely than this is taken for a fault of the record."""

REMOTE_WHEN_LONG = 1e-3
"""The same for one route repeated over `LONG` tokens or more, which is remote by itself."""

LONG = 16
"""Tokens from which on a route that never changes, in any layer, is strange by itself."""

FILLERS = (255, 65535, 2**31 - 1)
"""Numbers that buffers are filled with before a router writes to them."""

KNOWN_ZEROS = (
    "Some engines hand out a buffer that their kernels never wrote to (vLLM issue 54730): try "
    "another version, or another MoE backend."
)


def check_axes(experts: np.ndarray, num_experts: int, chosen: int = 0) -> np.ndarray:
    """The array if it can be choices [T, A, K] of `chosen` experts (0: any), else TraceError."""
    experts = np.asarray(experts)
    if experts.ndim == 4:
        raise TraceError(
            f"The array has 4 axes, {experts.shape}. If the first counts ranks, they are not "
            "merged: give the tokens of all ranks one after the other, as [tokens, layers, top-k]."
        )
    if experts.ndim != 3 or not experts.size:
        raise TraceError(
            f"The array has shape {experts.shape}; [tokens, layers, top-k] is needed, each at "
            "least 1."
        )
    if experts.dtype.kind not in "iu":
        raise TraceError(f"The array holds {experts.dtype} numbers; expert ids are whole numbers.")
    if not 1 <= num_experts <= MOST_EXPERTS:
        raise TraceError(f"A layer has 1 to {MOST_EXPERTS:,} experts, not {num_experts:,}.")
    slots = experts.shape[2]
    if slots > num_experts:
        raise TraceError(
            f"The array has {slots:,} choices a token, but a layer only {num_experts:,} experts. "
            "Its axes must be [tokens, layers, top-k]."
        )
    if chosen and slots != chosen:
        raise TraceError(
            f"The array has {slots:,} choices a token, but the model makes {chosen:,}. Shared "
            "experts are no choices: leave their slots out."
        )
    return experts


def _check_range(experts: np.ndarray, num_experts: int) -> None:
    high, low = int(experts.max()), int(experts.min())
    if high >= num_experts:
        wrong = experts >= num_experts
        token, layer, slot = np.argwhere(wrong)[0].tolist()
        raise TraceError(
            f"Slot {slot} of token {token} in routed layer {layer} (all counted from 0) holds "
            f"{experts[token, layer, slot]}, but the experts are 0 to {num_experts - 1}; "
            f"{wrong.mean():.1%} of all slots are so. "
            + (_FILLED if set(np.unique(experts[wrong]).tolist()) <= set(FILLERS) else _OTHER)
        )
    if low < EMPTY:
        raise TraceError(
            f"The array holds {low}; expert ids run from 0 to {num_experts - 1}, and -1 stands for "
            "what was not recorded."
        )


_FILLED = (
    "That number fills slots that no router wrote to, such as those of shared experts (SGLang "
    "pull request 9499): leave these slots out."
)
_OTHER = "Check the number of experts, and that the array is of this model."


def dense_layers(experts: np.ndarray) -> set[int]:
    """Layers of [T, A, K] that can be no routing: all -1, or all 0 with two choices or more.

    With one choice a layer of zeros may be dense or may send all to expert 0, and only the user
    can know; raises TraceError then, and where every layer is blank.
    """
    empty = (experts == EMPTY).all(axis=(0, 2))
    zero = ~experts.any(axis=(0, 2))
    if (empty | zero).all():
        check_not_blank(experts)
        return set()
    if zero.any() and experts.shape[2] == 1:
        raise TraceError(
            f"Layers {spoken(tuple(np.flatnonzero(zero).tolist()))} name only expert 0. They may "
            "be dense, or send every token there: say which layers are routed."
        )
    return set(np.flatnonzero(empty | zero).tolist())


def check_not_blank(experts: np.ndarray) -> None:
    """Raises TraceError for an array of zeros with two choices or more."""
    if experts.shape[2] > 1 and not experts.any():
        raise TraceError(f"The array holds nothing but zeros. {KNOWN_ZEROS}")


def check_known_dense(experts: np.ndarray, routed: tuple[int, ...]) -> None:
    """Raises TraceError where a layer of [T, A, K] that is not in `routed` holds routing."""
    for layer in range(experts.shape[1]):
        if layer not in routed and (experts[:, layer] != experts[0, layer, 0]).any():
            raise TraceError(
                f"Layer {layer} is not among the routed layers, {spoken(routed)}, but the array "
                "holds choices for it. Check the layers, and that the array is of this model."
            )


def check_choices(experts: np.ndarray, num_experts: int, empty_slots: bool = False) -> None:
    """Raises TraceError where routed layers [T, L, K] cannot be what a router chose."""
    check_not_blank(experts)
    _check_range(experts, num_experts)
    _check_empty(experts, empty_slots)
    _check_twice(experts)
    _check_one_route(experts, num_experts)
    _check_one_shard(experts, num_experts)
    _check_rankings(experts, num_experts)


def _check_empty(experts: np.ndarray, empty_slots: bool) -> None:
    empty = experts == EMPTY
    if empty_slots or not empty.any():
        return
    token, layer, _ = np.argwhere(empty)[0].tolist()
    count = int(empty[token, layer].sum())
    raise TraceError(
        f"Token {token} in routed layer {layer} (both counted from 0) has {count} of "
        f"{experts.shape[2]} slots that were not recorded (-1), as have "
        f"{empty.any(axis=(1, 2)).sum():,} of {len(experts):,} tokens in some layer. Where each "
        "rank records its own experts or tokens, merge the ranks first."
    )


def _check_twice(experts: np.ndarray) -> None:
    ordered = np.sort(experts, axis=2)
    twice = (ordered[..., 1:] == ordered[..., :-1]) & (ordered[..., 1:] != EMPTY)
    if not twice.any():
        return
    token, layer, slot = np.argwhere(twice)[0].tolist()
    tokens = int(twice.any(axis=(1, 2)).sum())
    raise TraceError(
        f"Token {token} names expert {ordered[token, layer, slot]} twice in routed layer {layer} "
        f"(both counted from 0), which no router does, and {tokens:,} of {len(experts):,} tokens "
        "have such a layer. The array was not filled, or its axes are not [tokens, layers, top-k]."
    )


def _check_one_route(experts: np.ndarray, num_experts: int) -> None:
    """Refuse one set of experts, or one expert in one slot, for every token in every layer."""
    tokens, layers, chosen = experts.shape
    bar = log(REMOTE_WHEN_LONG if tokens >= LONG else REMOTE)
    sets = np.sort(experts, axis=2)
    if (sets == sets[0, 0]).all() and -(layers - 1) * log(comb(num_experts, chosen)) < bar:
        raise TraceError(
            f"Every token has {_named(sets[0, 0])} in all {layers} layers. Experts of different "
            f"layers have nothing to do with each other, so this is no routing. {KNOWN_ZEROS}"
        )
    constant = (experts == experts[0, 0]).all(axis=(0, 1))
    if constant.any() and chosen < num_experts and -(layers - 1) * log(num_experts) < bar:
        slot = int(np.flatnonzero(constant)[0])
        raise TraceError(
            f"Slot {slot} holds expert {experts[0, 0, slot]} for every token in all {layers} "
            "layers. That is a filler, such as of a shared expert, and no choice: leave the slot "
            "out."
        )


def _named(ids: np.ndarray) -> str:
    words = ", ".join(str(each) for each in ids[:8].tolist())
    return f"expert {words}" if len(ids) == 1 else f"experts {words}{', ...' * (len(ids) > 8)}"


def _check_one_shard(experts: np.ndarray, num_experts: int) -> None:
    """Refuse ids that all lie in the first part of the experts, as one rank of several counts them.

    Only each token's first slot is counted: its distinct experts in a layer are u, and u experts
    numbered at random lie below S of E with probability C(S, u) / C(E, u).
    """
    high = int(experts.max()) + 1
    for parts in (2, 4, 8, 16, 32, 64):
        size, rest = divmod(num_experts, parts)
        if rest or high > size:
            break
        used = [len(np.unique(column[column != EMPTY])) for column in experts[:, :, 0].T]
        if sum(log(comb(size, u) / comb(num_experts, u)) for u in used) < log(REMOTE):
            raise TraceError(
                f"No token chose an expert above {high - 1} of 0 to {num_experts - 1}, in any of "
                f"{experts.shape[1]} layers. The ids may be one rank's own numbers: merge the "
                "ranks, and give ids that count over all of them; or check the number of experts."
            )


def _check_rankings(experts: np.ndarray, num_experts: int) -> None:
    """Refuse one token's ranking of all experts, read as the choices of several tokens.

    The view that a top-k takes of sorted rows has their stride. Read without it, the first
    m = E // K tokens name ranks 1 to K, K + 1 to 2K, ... of the first: m disjoint sets in every
    layer. Seen in moe-trace of llama.cpp pull request 28544 at 0a5bc4d. The first token is not
    counted: one that starts a text may well go where no other goes.
    """
    tokens, layers, chosen = experts.shape
    span = min(tokens, num_experts // chosen)
    first = np.sort(experts[:span].transpose(1, 0, 2).reshape(layers, -1), axis=1)
    if (first[:, 1:] == first[:, :-1]).any() or (first == EMPTY).any():
        return
    each = sum(
        log(comb(num_experts - n * chosen, chosen) / comb(num_experts, chosen))
        for n in range(1, span - 1)
    )
    if layers * each < log(REMOTE):
        raise TraceError(
            f"In every layer the first {span} tokens share no expert. That is one token's ranking "
            "of all experts, cut into pieces, and not what the tokens chose: early versions of "
            "llama.cpp's moe-trace (pull request 28544) read it so. Record it again with a version "
            "that minds the stride."
        )


def same_everywhere(experts: np.ndarray, num_experts: int) -> list[str]:
    """A note where every token takes one route through [T, L, K], which was not refused."""
    tokens, _, chosen = experts.shape
    if (
        tokens < 2
        or chosen == num_experts
        or (np.sort(experts, axis=2) != np.sort(experts[0])).any()
    ):
        return []
    return [
        "Every token takes the same experts, layer by layer. A router may collapse like that, but "
        "so may a record go wrong."
    ]
