"""The toy of the balance lesson: it collapses and balances for real; its gradients are right."""

import time

import numpy as np
import pytest

from moeviz.lessons.toy import BATCH, EXPERTS, WAYS, WIDTH, _Toy, train
from moeviz.trace import MoevizError

SEEDS = (0, 1, 2)


@pytest.fixture(scope="module")
def runs():
    """Every way, from three seeds."""
    return {way: [train(way, seed) for seed in SEEDS] for way in WAYS}


def test_a_run_ends_while_a_class_waits():
    """At most 20 seconds; it is about a third of one."""
    for way in WAYS:
        start = time.perf_counter()
        train(way, 3)
        assert time.perf_counter() - start < 20


def test_nothing_to_balance_it_means_collapse(runs):
    for run in runs["none"]:
        assert run.late_violation > 1.5
        assert run.starved >= 1


@pytest.mark.parametrize(("way", "most"), [("loss", 0.5), ("bias", 0.2)])
def test_what_balances_does(runs, way, most):
    for run in runs[way]:
        assert run.late_violation < most
        assert run.starved == 0


def test_balance_costs_nothing_in_the_task_here(runs):
    """Idle experts are wasted capacity: balanced toys fit better than collapsed ones."""
    for seed in SEEDS:
        error = {way: runs[way][seed].error[-50:].mean() for way in ("none", "loss", "bias")}
        assert error["loss"] < error["none"]
        assert error["bias"] < error["none"]


def test_every_way_learns_and_every_token_goes_somewhere(runs):
    for way in WAYS:
        for run in runs[way]:
            assert run.error[-50:].mean() < 0.8 * run.error[:10].mean()
            assert run.load.sum(axis=1) == pytest.approx(np.ones(len(run.load)))


def test_the_same_seed_gives_the_same_run(runs):
    assert np.array_equal(train("bias", 1).load, runs["bias"][1].load)


def test_an_unknown_way_is_refused():
    with pytest.raises(MoevizError) as error:
        train("prayer")
    assert str(error.value) == (
        "'prayer' is not a way to balance the toy; choose none, loss, bias, noise."
    )


def test_the_gradients_are_those_of_finite_differences():
    """Of task loss plus auxiliary loss, in one weight of each kind; choices held fixed."""
    rng = np.random.default_rng(5)
    toy = _Toy(rng, "none")
    x, target = rng.normal(size=(BATCH, WIDTH)), rng.normal(size=(BATCH, WIDTH))

    def forward() -> tuple:
        logits = x @ toy.weights["router"]
        p = np.exp(logits - logits.max(axis=1, keepdims=True))
        return p / p.sum(axis=1, keepdims=True)

    chosen = forward().argmax(axis=1)
    grads = {name: np.zeros_like(w) for name, w in toy.weights.items()}
    p = forward()
    d_p, _ = toy._experts(x, target, p, chosen, grads)
    grads["router"] = x.T @ (p * (d_p - (d_p * p).sum(axis=1, keepdims=True)))
    for name, at in (("router", (3, 2)), ("into", (1, 4, 7)), ("out", (2, 5, 9))):
        slope = []
        for step in (1e-5, -1e-5):
            toy.weights[name][at] += step
            empty = {n: np.zeros_like(w) for n, w in toy.weights.items()}
            slope.append(toy._experts(x, target, forward(), chosen, empty)[1])
            toy.weights[name][at] -= step
        assert (slope[0] - slope[1]) / 2e-5 == pytest.approx(grads[name][at], rel=1e-4, abs=1e-9)


def test_shares_of_the_busiest_expert():
    run = train("none", 0, steps=60)
    assert run.violation[0] == pytest.approx(run.load[0].max() * EXPERTS - 1)
