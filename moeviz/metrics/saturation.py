"""How many of a later checkpoint's choices did an earlier one already make?"""

from __future__ import annotations

import numpy as np

from moeviz.trace import EMPTY, TraceError


def router_saturation(earlier: np.ndarray, later: np.ndarray) -> np.ndarray:
    """[L] mean over tokens of |E_t and E_T| / K, of choices [L, T, K] for the same tokens.

    Chance, for even routers that know nothing of each other, is K / E. Muennighoff et al. 2024
    (arXiv:2409.02060), section 5, router saturation. Raises TraceError for unlike shapes.
    """
    if earlier.shape != later.shape or earlier.ndim != 3:
        raise TraceError(
            f"Saturation compares two checkpoints on the same tokens: choices of one shape "
            f"[L, T, K], not {earlier.shape} and {later.shape}."
        )
    same = (earlier[..., :, None] == later[..., None, :]) & (later[..., None, :] != EMPTY)
    return same.any(axis=-1).mean(axis=(1, 2))
