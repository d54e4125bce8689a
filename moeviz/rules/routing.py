"""A routing algorithm with its settings, as one small value that can be named, applied and read."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import TYPE_CHECKING

import numpy as np

from moeviz.rules import algorithms, balancing
from moeviz.rules.assignment import Assignment, Weighing
from moeviz.rules.capacity import RuleError

if TYPE_CHECKING:
    from moeviz.rules.interventions import LayerRun

ALGORITHMS: dict[str, tuple[str, ...]] = {
    "token-choice": ("chosen",),
    "switch": ("factor",),
    "noisy": ("chosen", "noise", "seed"),
    "gshard": ("seed",),
    "group-limited": ("chosen", "groups", "kept"),
    "loss-free": ("chosen", "speed", "steps"),
    "expert-choice": ("factor",),
    "sinkhorn": ("chosen", "temperature"),
    "base": (),
    "soft": (),
    "dense": (),
    "hash": ("chosen", "seed"),
    "random": ("chosen", "seed"),
}
"""Name of each algorithm, and the settings that have a say in it."""

NOT_SOFT = (
    "Soft MoE mixes tokens before the experts read them, which no choice of experts can do, so it "
    "cannot be enforced."
)

LAYER_STRIDE = 100_003
"""Seeds of neighbouring layers are this far apart."""


@dataclass(frozen=True)
class RoutingRule:
    """One of ALGORITHMS with its settings; those that it does not use are passed over.

    chosen: K, experts a token takes. factor: capacity factor CF. noise: size in logits.
    groups, kept: experts in so many groups, of which a token keeps so many. speed, steps: of the
    bias of loss-free balancing. temperature: of Sinkhorn's plan. seed: of whatever is drawn.

    Raises RuleError for an unknown name; settings are checked when the rule meets a layer.
    """

    name: str = "token-choice"
    chosen: int = 2
    factor: float = 1.25
    noise: float = 1.0
    groups: int = 4
    kept: int = 2
    speed: float = 0.001
    steps: int = 300
    temperature: float = 1.0
    seed: int = 0

    def __post_init__(self) -> None:
        if self.name not in ALGORITHMS:
            raise RuleError(f"Algorithm {self.name!r} is not one of {', '.join(ALGORITHMS)}.")

    @property
    def settings(self) -> dict[str, float]:
        """The settings that have a say, by name."""
        return {field: getattr(self, field) for field in ALGORITHMS[self.name]}

    def __str__(self) -> str:
        """The rule in short: "noisy chosen=2 noise=1 seed=0"."""
        return " ".join([self.name, *(f"{name}={x:g}" for name, x in self.settings.items())])

    def applied(
        self,
        logits: np.ndarray,
        token_ids: np.ndarray,
        weighing: Weighing | None = None,
        layer: int = 0,
    ) -> Assignment:
        """What the algorithm does with one layer's logits [T, E] and vocabulary ids [T].

        weighing: how the model weighs experts; softmax without more if None. layer: its number,
        so that what is drawn differs from layer to layer. Raises RuleError for settings that do
        not fit the layer.
        """
        settings, weigh = self.settings, {"weighing": weighing or Weighing()}
        if "seed" in settings:
            settings["seed"] = self.seed + LAYER_STRIDE * layer
        if self.name == "soft":
            return algorithms.soft_moe(logits)
        if self.name == "hash":
            return algorithms.hashed(logits, token_ids, **settings, **weigh)
        if self.name == "group-limited":
            settings["groups_chosen"] = settings.pop("kept")
        return _APPLY[self.name](logits, **settings, **weigh)

    def assign(self, run: LayerRun) -> tuple[np.ndarray, np.ndarray]:
        """(ids [T, M], gates [T, M]) in the place of a running model's own choice.

        This makes the rule an `Algorithm` of moeviz.rules.interventions: Assign(rule) enforces it.
        Weights follow the recipe seen in the model's own. Raises RuleError where the layer does not
        suit the algorithm.
        """
        if self.name == "soft":
            raise RuleError(NOT_SOFT)
        if run.logits is None or len(run.token_ids) != len(run.ids):
            raise RuleError(f"Layer {run.layer} shows no logits of the text's tokens to choose by.")
        weighing = Weighing.seen_in(run.logits, run.ids, run.gates)
        if weighing is None:
            raise RuleError(
                f"Layer {run.layer} weighs its experts in a way that does not follow from its "
                "logits alone, so other experts could not be weighed alike."
            )
        number = int("".join(c for c in run.layer if c.isdigit()))
        made = self.applied(run.logits[:, : run.experts], run.token_ids, weighing, number)
        return made.ids.copy(), made.gates.copy()


_APPLY = {
    "token-choice": algorithms.token_choice,
    "switch": algorithms.switch,
    "noisy": algorithms.noisy_top_k,
    "gshard": algorithms.gshard,
    "group-limited": algorithms.group_limited,
    "loss-free": balancing.loss_free,
    "expert-choice": algorithms.expert_choice,
    "sinkhorn": balancing.sinkhorn,
    "base": balancing.base,
    "dense": algorithms.dense,
    "random": algorithms.uniform,
}


def rule_from_words(words: str) -> RoutingRule:
    """The rule whose short form is `words`; raises RuleError for words that are none."""
    kinds = {field.name: type(field.default) for field in fields(RoutingRule)}
    try:
        name, *rest = words.split()
        settings = {key: kinds[key](value) for key, value in (pair.split("=") for pair in rest)}
        return RoutingRule(name, **settings)
    except (KeyError, ValueError, TypeError) as error:  # no pair, no number, no such setting
        example = RoutingRule("expert-choice")
        raise RuleError(f'{words!r} is no routing rule; write for example "{example}".') from error
