"""Two runs with the same experts: which tokens were sent elsewhere, which experts gained?"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from moeviz.metrics.align import UNLINKED, Alignment, align
from moeviz.metrics.divergence import SHUFFLES, divergence_bits
from moeviz.metrics.load import expert_load, layer_sizes
from moeviz.metrics.runs import Run
from moeviz.trace import EMPTY, RoutingTrace, TraceError


@dataclass(frozen=True)
class Difference:
    """Run b against run a, layer by layer.

    twins: which of the tokens are the same piece of text. N of them.
    overlap: [L, N] share of a twin's choices that both runs made, |A & B| / K.
    kept: [L] its mean; nan without twins. even_kept: [L] what routers that choose at random keep,
    K / E. loaded_kept: [L] what remains when twins are paired at random: alike by load alone.
    share_a, share_b: [L, E] share of the layer's assignments, every token counted; nan beyond the
    experts of a layer.
    bits: [L] Jensen-Shannon divergence between the two shares, 0 alike, 1 nothing in common.
    low, high: [L] 95 % band of bits when tokens change sides at random.
    gap_low, gap_high: [L, E] the same for share_b - share_a. share_low, share_high: [L, E] the same
    for the share that either side has. shuffles: draws behind the bands.
    """

    twins: Alignment
    overlap: np.ndarray
    kept: np.ndarray
    even_kept: np.ndarray
    loaded_kept: np.ndarray
    share_a: np.ndarray
    share_b: np.ndarray
    bits: np.ndarray
    low: np.ndarray
    high: np.ndarray
    gap_low: np.ndarray
    gap_high: np.ndarray
    share_low: np.ndarray
    share_high: np.ndarray
    shuffles: int


def difference(
    a: RoutingTrace | Run,
    b: RoutingTrace | Run,
    shuffles: int = SHUFFLES,
    seed: int = 0,
    linked: bool = True,
) -> Difference:
    """What changed from run `a` to run `b` of one model, or of two checkpoints of one training run.

    The divergence is Lin's (1991, IEEE Trans. Inf. Theory 37:145) with equal weights, in bits. Its
    band shuffles sides: twins trade places or not by the toss of a coin, all other tokens are dealt
    anew to sides of the same sizes. It takes tokens for independent; neighbours in a text are not,
    so a value just above the band says little. linked: look for twins; False for two texts of which
    one goes on where the other ends.

    Expert 3 of one model and expert 3 of another are strangers: for two models use `likeness`.
    Raises TraceError where the layers or experts of the two runs differ.
    """
    check_comparable(a, b)
    twins = align(a.tokens, b.tokens) if linked else UNLINKED
    sizes, chosen = layer_sizes(a)
    share_a, share_b = expert_load(a).share, expert_load(b).share
    sides = shuffled_sides(len(a.tokens), len(b.tokens), twins.pairs, shuffles, seed)
    overlap = _overlap(a.experts[:, twins.pairs[:, 0]], b.experts[:, twins.pairs[:, 1]])
    return Difference(
        twins=twins,
        overlap=overlap,
        kept=overlap.mean(axis=1) if overlap.shape[1] else np.full(len(overlap), np.nan),
        even_kept=chosen / sizes,
        loaded_kept=_loaded_kept(a, b, twins.pairs, chosen),
        share_a=share_a,
        share_b=share_b,
        bits=divergence_bits(np.nan_to_num(np.stack([share_a, share_b], axis=1))),
        **_bands(a, b, sides, sizes),
        shuffles=shuffles,
    )


def check_comparable(a: RoutingTrace | Run, b: RoutingTrace | Run) -> None:
    """Raises TraceError unless both runs have the same routed layers with as many experts."""
    sizes = [tuple(int(n) for n in layer_sizes(run)[0]) for run in (a, b)]
    if a.layers != b.layers or sizes[0] != sizes[1]:
        one, other = (f"{len(run.layers)} of up to {run.shape[2]}" for run in (a, b))
        raise TraceError(
            f"The two runs have different experts (layers of experts: {one}, and {other}), so they "
            "cannot be compared expert by expert. Use likeness to compare two models."
        )


def shuffled_sides(
    first: int, second: int, pairs: np.ndarray, shuffles: int, seed: int
) -> np.ndarray:
    """[S, first + second] bool: which tokens, a's before b's, stand on side a in each shuffle.

    Twins trade places by the toss of a coin; the others are dealt to sides of unchanged sizes.
    """
    rng = np.random.default_rng(seed)
    sides = np.tile(np.arange(first + second) < first, (shuffles, 1))
    left, right = pairs[:, 0], first + pairs[:, 1]
    stays = rng.random((shuffles, len(pairs))) < 0.5
    sides[:, left], sides[:, right] = stays, ~stays
    alone = np.setdiff1d(np.arange(first + second), np.concatenate([left, right]))
    sides[:, alone] = rng.permuted(sides[:, alone], axis=1)
    return sides


def _overlap(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """[L, N] share of choices [L, N, K] that two runs have in common; 1 where both chose none."""
    met = ((a[..., :, None] == b[..., None, :]) & (a[..., :, None] != EMPTY)).sum(axis=(-1, -2))
    most = np.maximum((a != EMPTY).sum(axis=-1), (b != EMPTY).sum(axis=-1))
    return np.where(most > 0, met / np.maximum(most, 1), 1.0)


def _loaded_kept(
    a: RoutingTrace | Run, b: RoutingTrace | Run, pairs: np.ndarray, chosen: np.ndarray
) -> np.ndarray:
    """[L] exact mean overlap over all ways to pair a's twins with b's: sum of n_a n_b / (N^2 K)."""
    if not len(pairs):
        return np.full(len(chosen), np.nan)
    width, found = a.shape[2], []
    for row, most in enumerate(chosen):
        one, other = a.experts[row, pairs[:, 0]], b.experts[row, pairs[:, 1]]
        counts = [multi_hot(ids, width).sum(axis=0, dtype=float) for ids in (one, other)]
        found.append(float(counts[0] @ counts[1]) / len(pairs) ** 2 / int(most))
    return np.array(found)


def _bands(
    a: RoutingTrace | Run, b: RoutingTrace | Run, sides: np.ndarray, sizes: np.ndarray
) -> dict[str, np.ndarray]:
    """The 95 % bands of a Difference by name, over the shuffled sides."""
    weights, found = sides.astype(np.float32), []
    for row, size in enumerate(sizes):
        hot = multi_hot(np.concatenate([a.experts[row], b.experts[row]]), int(sizes.max()))
        one = (weights @ hot).astype(float)
        counts = np.stack([one, hot.sum(axis=0) - one], axis=1)  # [S, 2, E]
        share = counts / np.maximum(counts.sum(axis=-1, keepdims=True), 1)
        share[..., size:] = np.nan
        found.append(
            {
                "": _quantiles(divergence_bits(counts)),
                "gap_": _quantiles(share[:, 1] - share[:, 0]),
                "share_": _quantiles(share.reshape(-1, share.shape[-1])),
            }
        )
    ends = enumerate(("low", "high"))
    return {
        f"{name}{end}": np.array([bands[name][n] for bands in found])
        for n, end in ends
        for name in found[0]
    }


def _quantiles(draws: np.ndarray) -> np.ndarray:
    return np.quantile(draws, (0.025, 0.975), axis=0)


def multi_hot(ids: np.ndarray, width: int) -> np.ndarray:
    """[T, E] float32, 1 where a token [T, K] chose an expert."""
    hot = np.zeros((len(ids), width + 1), np.float32)
    np.put_along_axis(hot, np.where(ids == EMPTY, width, ids).astype(np.int64), 1, axis=1)
    return hot[:, :width]
