"""A mixture of experts small enough to train while somebody watches. A toy, and labelled so.

Inputs come from 32 clusters in 16 dimensions that share a large common direction, as hidden
states do; each cluster has its own linear map to learn. Eight experts of one hidden layer, top-1:
y = p_e(x) E_e(x) with p the softmax of x W (Fedus et al. 2021, arXiv:2101.03961, eq. 1 and 2).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from moeviz.trace import MoevizError

EXPERTS, WIDTH, HIDDEN, CLUSTERS, BATCH = 8, 16, 32, 32, 256
STEPS = 300
RATE = 0.01
"""Step size of Adam."""

STARVED = 0.1
"""An expert below this part of the even share counts as starved."""

WAYS = {
    "none": "Nothing",
    "loss": "Auxiliary loss",
    "bias": "Loss-free bias",
    "noise": "Noise",
}
"""How the router is kept balanced: the name in links, and the word on screen."""

WEIGHT, SPEED, NOISE = 1.0, 0.02, 2.0
"""Of the auxiliary loss; of the bias, a step; of the noise, in logits."""


@dataclass(frozen=True)
class ToyRun:
    """One training run. load: [S, E] share of the batch that each expert got, by step.
    error: [S] mean squared error of the batch."""

    way: str
    seed: int
    load: np.ndarray
    error: np.ndarray

    @property
    def violation(self) -> np.ndarray:
        """[S] MaxVio: busiest expert over the mean, minus one (arXiv:2408.15664)."""
        return self.load.max(axis=1) * self.load.shape[1] - 1

    def late(self, steps: int = 50) -> np.ndarray:
        """[E] share of each expert over the last `steps` steps."""
        return self.load[-steps:].mean(axis=0)

    @property
    def starved(self) -> int:
        """Experts that got less than STARVED of the even share in the end."""
        return int((self.late() < STARVED / self.load.shape[1]).sum())

    @property
    def late_violation(self) -> float:
        """MaxVio of the last steps together."""
        return float(self.late().max() * self.load.shape[1] - 1)


def train(way: str, seed: int = 0, steps: int = STEPS) -> ToyRun:
    """Train the toy from scratch; takes about a second.

    way: one of WAYS. Raises MoevizError for another.
    """
    if way not in WAYS:
        raise MoevizError(f"{way!r} is not a way to balance the toy; choose {', '.join(WAYS)}.")
    rng = np.random.default_rng(seed)
    task, toy = _Task(rng), _Toy(rng, way)
    load, error = np.zeros((steps, EXPERTS)), np.zeros(steps)
    for step in range(steps):
        load[step], error[step] = toy.learn(*task.batch(rng), rng)
    return ToyRun(way, seed, load, error)


class _Task:
    def __init__(self, rng: np.random.Generator):
        common = 2.0 * rng.normal(size=WIDTH)
        self.centres = common + rng.normal(size=(CLUSTERS, WIDTH))
        self.maps = rng.normal(size=(CLUSTERS, WIDTH, WIDTH)) / np.sqrt(WIDTH)

    def batch(self, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        which = rng.integers(CLUSTERS, size=BATCH)
        x = self.centres[which] + 0.7 * rng.normal(size=(BATCH, WIDTH))
        return x, np.einsum("bd,bdk->bk", x, self.maps[which])


class _Toy:
    """Router and experts with their gradients written out by hand, and Adam."""

    def __init__(self, rng: np.random.Generator, way: str):
        self.way, self.bias, self.count = way, np.zeros(EXPERTS), 0
        self.weights = {
            "router": 0.3 * rng.normal(size=(WIDTH, EXPERTS)),
            "into": rng.normal(size=(EXPERTS, WIDTH, HIDDEN)) * np.sqrt(2 / WIDTH),
            "out": rng.normal(size=(EXPERTS, HIDDEN, WIDTH)) * np.sqrt(1 / HIDDEN),
        }
        self.first = {name: np.zeros_like(w) for name, w in self.weights.items()}
        self.second = {name: np.zeros_like(w) for name, w in self.weights.items()}

    def learn(
        self, x: np.ndarray, target: np.ndarray, rng: np.random.Generator
    ) -> tuple[np.ndarray, float]:
        """One step; gives (share of the batch by expert, error before the step)."""
        p = _softmax(x @ self.weights["router"])
        chosen = self._selection(x, p, rng).argmax(axis=1)
        share = np.bincount(chosen, minlength=EXPERTS) / len(x)
        grads = {name: np.zeros_like(w) for name, w in self.weights.items()}
        d_p, error = self._experts(x, target, p, chosen, grads)
        if self.way == "loss":  # E * sum f P: its gradient in P of each token is E f / T
            d_p += WEIGHT * EXPERTS * share / len(x)
        grads["router"] = x.T @ (p * (d_p - (d_p * p).sum(axis=1, keepdims=True)))
        self._adam(grads)
        if self.way == "bias":
            self.bias += SPEED * np.sign(1 / EXPERTS - share)
        return share, error

    def _selection(self, x: np.ndarray, p: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        if self.way == "bias":
            return p + self.bias
        if self.way == "noise":
            return x @ self.weights["router"] + NOISE * rng.normal(size=p.shape)
        return p

    def _experts(self, x, target, p, chosen, grads) -> tuple[np.ndarray, float]:
        """Fill in the experts' gradients; gives (gradient in p [T, E], error)."""
        d_p, error = np.zeros_like(p), 0.0
        for e in range(EXPERTS):
            mine = chosen == e
            gate = p[mine, e][:, None]
            hidden = np.maximum(x[mine] @ self.weights["into"][e], 0)
            said = hidden @ self.weights["out"][e]
            miss = gate * said - target[mine]
            error += float(np.square(miss).sum())
            d_y = 2 * miss / target.size
            d_said = gate * d_y
            d_p[mine, e] = (d_y * said).sum(axis=1)
            grads["out"][e] = hidden.T @ d_said
            grads["into"][e] = x[mine].T @ ((d_said @ self.weights["out"][e].T) * (hidden > 0))
        return d_p, error / target.size

    def _adam(self, grads: dict[str, np.ndarray]) -> None:
        self.count += 1
        for name, grad in grads.items():
            self.first[name] = 0.9 * self.first[name] + 0.1 * grad
            self.second[name] = 0.99 * self.second[name] + 0.01 * grad**2
            mean = self.first[name] / (1 - 0.9**self.count)
            spread = np.sqrt(self.second[name] / (1 - 0.99**self.count))
            self.weights[name] = self.weights[name] - RATE * mean / (spread + 1e-8)


def _softmax(values: np.ndarray) -> np.ndarray:
    rising = np.exp(values - values.max(axis=1, keepdims=True))
    return rising / rising.sum(axis=1, keepdims=True)
