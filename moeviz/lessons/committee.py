"""A mixture of experts beside classic ensembles, on one small problem. A toy, and labelled so.

The curve y(x) on [0, 1] has four pieces of different shape, plus noise. Each learner is a cubic
fitted by ridge regression. Averaging, bagging (Breiman 1996), boosting for squared error
(Friedman 2001), stacking (Wolpert 1992) and a mixture of experts (Jacobs et al. 1991, fitted by
expectation maximisation as Jordan and Jacobs 1994) get the same number of learners.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

LEARNERS = 8
TRAIN, TEST = 240, 400
NOISE = 0.12
DEGREE = 3
ROUNDS = 60
"""Of expectation maximisation."""

Model = Callable[[np.ndarray], np.ndarray]


@dataclass(frozen=True)
class Member:
    """One way to combine learners. fit [TEST]: its curve. error: mean squared error against the
    true curve. asked: learners run for one input."""

    name: str
    fit: np.ndarray
    error: float
    asked: int


@dataclass(frozen=True)
class Contest:
    """xs [TEST] and the true curve there; the noisy points; every way with its error."""

    xs: np.ndarray
    truth: np.ndarray
    points: tuple[np.ndarray, np.ndarray]
    members: tuple[Member, ...]


def contest(seed: int = 0) -> Contest:
    """Fit every way on the same noisy points; takes a fraction of a second."""
    rng = np.random.default_rng(seed)
    x = rng.uniform(size=TRAIN)
    y = curve(x) + NOISE * rng.normal(size=TRAIN)
    xs = np.linspace(0, 1, TEST)
    ways = (
        ("One learner", _ridge(x, y), 1),
        ("Averaging", _average(_parts(x, y, rng)), LEARNERS),
        ("Bagging", _average(_bags(x, y, rng)), LEARNERS),
        ("Boosting", _boosting(x, y), LEARNERS),
        ("Stacking", _stacking(x, y, rng), LEARNERS),
        ("Mixture of experts, top-1", _mixture(x, y, rng), 1),
    )
    truth = curve(xs)
    members = tuple(
        Member(name, fit(xs), float(np.square(fit(xs) - truth).mean()), asked)
        for name, fit, asked in ways
    )
    return Contest(xs, truth, (x, y), members)


def curve(x: np.ndarray) -> np.ndarray:
    """[N] the true curve: a wave, a slope, a parabola and a plateau, one after another."""
    pieces = [x < 0.25, (x >= 0.25) & (x < 0.5), (x >= 0.5) & (x < 0.75)]
    shapes = [np.sin(8 * np.pi * x), 1.5 - 4 * x, 20 * (x - 0.62) ** 2 - 0.8]
    return np.select(pieces, shapes, default=0.9)


def _basis(x: np.ndarray) -> np.ndarray:
    return (2 * x[:, None] - 1) ** np.arange(DEGREE + 1)


def _ridge(x: np.ndarray, y: np.ndarray, weight: np.ndarray | None = None) -> Model:
    basis = _basis(x)
    w = np.ones(len(x)) if weight is None else weight
    left = basis.T @ (w[:, None] * basis) + 1e-3 * np.eye(DEGREE + 1)
    found = np.linalg.solve(left, basis.T @ (w * y))
    return lambda at: _basis(at) @ found


def _average(models: list[Model]) -> Model:
    return lambda at: np.mean([model(at) for model in models], axis=0)


def _parts(x: np.ndarray, y: np.ndarray, rng: np.random.Generator) -> list[Model]:
    """A learner for each of LEARNERS random halves of the points."""
    halves = [rng.permutation(len(x))[: len(x) // 2] for _ in range(LEARNERS)]
    return [_ridge(x[half], y[half]) for half in halves]


def _bags(x: np.ndarray, y: np.ndarray, rng: np.random.Generator) -> list[Model]:
    bags = [rng.integers(len(x), size=len(x)) for _ in range(LEARNERS)]
    return [_ridge(x[bag], y[bag]) for bag in bags]


def _boosting(x: np.ndarray, y: np.ndarray) -> Model:
    """Each learner fits what is left, seen through one more window of x, so that it can add
    something that a single cubic cannot."""
    models, left = [], y.copy()
    for centre in np.linspace(0.0625, 0.9375, LEARNERS):
        near = np.exp(-(((x - centre) / 0.18) ** 2))
        model = _windowed(_ridge(x, left, near + 1e-3), centre)
        models.append(model)
        left = left - model(x)
    return lambda at: np.sum([model(at) for model in models], axis=0)


def _windowed(model: Model, centre: float) -> Model:
    return lambda at: np.exp(-(((at - centre) / 0.18) ** 2)) * model(at)


def _stacking(x: np.ndarray, y: np.ndarray, rng: np.random.Generator) -> Model:
    """Learners fitted on one half of the points, their weights on the other."""
    order = rng.permutation(len(x))
    one, other = order[: len(x) // 2], order[len(x) // 2 :]
    models = _bags(x[one], y[one], rng)
    said = np.stack([model(x[other]) for model in models], axis=1)
    weights = np.linalg.solve(said.T @ said + 1e-2 * np.eye(LEARNERS), said.T @ y[other])
    return lambda at: np.stack([model(at) for model in models], axis=1) @ weights


def _mixture(x: np.ndarray, y: np.ndarray, rng: np.random.Generator) -> Model:
    """Experts and a softmax gate by expectation maximisation; the gate's expert answers alone.

    The gate's logits are quadratics in x: as if every expert had a place and a reach.
    """
    centres = (np.arange(LEARNERS) + rng.uniform(size=LEARNERS)) / LEARNERS
    duty = _normal(-(((x[:, None] - centres) / 0.1) ** 2))
    for _ in range(ROUNDS):
        experts = [_ridge(x, y, duty[:, e] + 1e-6) for e in range(LEARNERS)]
        size = duty.sum(axis=0) + 1e-6
        place = (duty * x[:, None]).sum(axis=0) / size
        reach = np.sqrt((duty * (x[:, None] - place) ** 2).sum(axis=0) / size) + 0.02
        miss = np.stack([(y - expert(x)) ** 2 for expert in experts], axis=1)
        gate = _gate(x, place, reach, size)
        duty = _normal(gate - miss / (2 * NOISE**2))

    def answer(at: np.ndarray) -> np.ndarray:
        said = np.stack([expert(at) for expert in experts], axis=1)
        best = _gate(at, place, reach, size).argmax(axis=1)
        return said[np.arange(len(at)), best]

    return answer


def _gate(x: np.ndarray, place: np.ndarray, reach: np.ndarray, size: np.ndarray) -> np.ndarray:
    """[N, E] logits of the gate."""
    return np.log(size) - np.log(reach) - ((x[:, None] - place) / reach) ** 2 / 2


def _normal(logits: np.ndarray) -> np.ndarray:
    rising = np.exp(logits - logits.max(axis=1, keepdims=True))
    return rising / rising.sum(axis=1, keepdims=True)
