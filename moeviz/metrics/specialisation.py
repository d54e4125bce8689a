"""What is each expert for? Its share of every label's tokens, beside labels dealt at random.

Every label weighs the same, however much text it has. An expert is the pair (layer, expert);
layers are never pooled.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from moeviz.corpora.routing import CorpusRouting
from moeviz.metrics.divergence import divergence_bits
from moeviz.metrics.shuffle import DRAWS, Band, bands, deal_labels


@dataclass(frozen=True, eq=False)
class Specialisation:
    """How G labels (languages, domains, ...) use L layers of E experts.

    names: [G]. tokens: [G] counted tokens of each.
    share: [L, G, E] N_i,D / N_D, the part of the label's tokens that chose the expert; nan beyond a
        layer's experts. chance: [L] K / E, what an even router gives.
    base: [L, E] mean share over labels. lift: [L, G, E] share / base, nan for unused experts.
    share_band: of dealt labels. `share_band.above`: specialists.
    selectivity: [L, E] bits that one look at whether a token chose the expert tells on its label,
        labels equally likely. selectivity_band. corrected: less the mean of dealt labels, not
        below 0, since few texts make any expert look selective.
    divergence: [L] bits, generalised Jensen-Shannon divergence between the labels: what one of
        a token's choices tells on its label. divergence_band.
    draws, unit, within: of the deals; draws is 0, bands nan and `above` None for published counts,
        where whole documents are not known.

    Muennighoff et al. 2024 (arXiv:2409.02060), section 5, for the share; Lin 1991 (IEEE Trans.
    Inf. Theory 37:145), eq. 5.1, for the divergence.
    """

    label: str
    layers: tuple[int, ...]
    names: np.ndarray
    tokens: np.ndarray
    share: np.ndarray
    chance: np.ndarray
    base: np.ndarray
    lift: np.ndarray
    share_band: Band
    selectivity: np.ndarray
    selectivity_band: Band
    divergence: np.ndarray
    divergence_band: Band
    draws: int
    unit: str
    within: str

    @property
    def corrected(self) -> np.ndarray:
        """[L, E] selectivity above what dealt labels show, in bits; nan without deals."""
        return np.maximum(self.selectivity - self.selectivity_band.mean, 0)


def specialisation(
    routing: CorpusRouting, label: str, draws: int = DRAWS, seed: int = 0, within: str = ""
) -> Specialisation:
    """How the values of `label` use the experts, with `draws` deals of the labels as chance.

    within: deal labels only among passages of one value of that column (domain within language).
    Raises CorpusError for an unknown label, or one with fewer than two values.
    """
    deal = deal_labels(routing, label, draws, seed, within)
    passages, layers, experts = routing.shape
    tokens = deal.sums(routing.tokens[:, None])  # [1 + D, G, 1]
    sums = deal.sums(routing.counts.reshape(passages, layers * experts))
    sums = sums.reshape(*sums.shape[:2], layers, experts)
    shares, selectivities, divergences = [], [], []
    for row, size in enumerate(routing.experts):
        counts = sums[:, :, row, :size].astype(np.float64)
        share = counts / np.maximum(tokens, 1).astype(np.float64)
        shares.append(share)
        selectivities.append(_binary_bits(share.mean(axis=1)) - _binary_bits(share).mean(axis=1))
        divergences.append(divergence_bits(counts))
    share = _stacked([layer[0] for layer in shares])
    base = share.mean(axis=1)
    with np.errstate(invalid="ignore", divide="ignore"):
        lift = np.where(base[:, None] > 0, share / base[:, None], np.nan)
    return Specialisation(
        label=label,
        layers=routing.layers,
        names=deal.names,
        tokens=tokens[0, :, 0].astype(np.int64),
        share=share,
        chance=routing.chosen / routing.experts,
        base=base,
        lift=lift,
        share_band=_joined(bands(shares)),
        selectivity=_stacked([layer[0] for layer in selectivities]),
        selectivity_band=_joined(bands(selectivities)),
        divergence=np.array([layer[0] for layer in divergences]),
        divergence_band=_joined(bands(divergences)),
        draws=deal.draws,
        unit=deal.kind,
        within=within,
    )


def _binary_bits(share: np.ndarray) -> np.ndarray:
    """Entropy in bits of yes or no at these shares."""
    share = np.clip(share, 0, 1)
    parts = [-part * np.log2(np.where(part > 0, part, 1)) for part in (share, 1 - share)]
    return parts[0] + parts[1]


def _stacked(layers: list[np.ndarray]) -> np.ndarray:
    """The layers in one array, nan beyond the experts that a layer has."""
    if not np.ndim(layers[0]):
        return np.array(layers)
    widest = max(layer.shape[-1] for layer in layers)
    return np.stack(
        [
            np.pad(
                layer.astype(float),
                [(0, 0)] * (layer.ndim - 1) + [(0, widest - layer.shape[-1])],
                constant_values=np.nan,
            )
            for layer in layers
        ]
    )


def _joined(parts: list[Band]) -> Band:
    above = None
    if parts[0].above is not None:
        above = _stacked([np.asarray(part.above, float) for part in parts]) == 1
    low, high, mean = (
        _stacked([getattr(part, n) for part in parts]) for n in ("low", "high", "mean")
    )
    return Band(low, high, mean, above)
