"""Which tokens come next? Windows drawn from the groups in fixed proportions, resumable."""

from __future__ import annotations

import numpy as np

from moeviz.training.data import Shards, group_weights

END = 0  # id of <|endoftext|>


class Windows:
    """Draws training windows; its whole state is two small values (see `state`).

    A group is read front to back (its documents were shuffled when tokenised) and begun again
    when it is used up. Every window starts with <|endoftext|>, as every prompt will.
    """

    def __init__(self, shards: Shards, flatness: float, seed: int):
        self.groups = [shards.of(group) for group in shards.groups]
        self.weights = group_weights([len(tokens) for tokens in self.groups], flatness)
        self.random = np.random.default_rng(seed)
        self.read = [0] * len(self.groups)

    def draw(self, windows: int, length: int) -> np.ndarray:
        """A batch of windows [windows, length + 1] int64: inputs and, one further, targets."""
        picks = self.random.choice(len(self.groups), size=windows, p=self.weights)
        return np.stack([self._next(group, length) for group in picks])

    def _next(self, group: int, length: int) -> np.ndarray:
        tokens, start = self.groups[group], self.read[group]
        places = np.arange(start, start + length) % len(tokens)
        self.read[group] = int((start + length) % len(tokens))
        return np.concatenate([[END], tokens[places].astype(np.int64)])

    @property
    def state(self) -> dict:
        """Everything a later `restore` needs, as plain JSON values."""
        return {"read": list(self.read), "random": self.random.bit_generator.state}

    def restore(self, state: dict) -> None:
        self.read = list(state["read"])
        self.random.bit_generator.state = state["random"]
