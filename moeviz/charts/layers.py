"""The routed layers beside each other: load, doubt and repetition, each against chance."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from moeviz.charts import palette
from moeviz.charts.picture import Picture
from moeviz.charts.words import model_name, percent, plural, range_words
from moeviz.metrics.balance import Balance, BalanceChance
from moeviz.metrics.repetition import SHUFFLES, Repetition
from moeviz.trace import RoutingTrace, TraceError

MEASURES = {
    "load": "Busiest expert",
    "evenness": "Evenness",
    "doubt": "Entropy",
    "repeat": "Repetition",
}
"""What layers can be compared by: the name in links, and the word on screen."""


@dataclass(frozen=True)
class LayerFacts:
    """What is known of every layer. doubt: [L] mean entropy of the router's distribution over
    ln E, nan without logits. chance: one for each layer. order: `shuffled_repetition`. ranked:
    whether a token's slot 0 is known to be its first choice.
    """

    balance: Balance
    chance: tuple[BalanceChance, ...]
    doubt: np.ndarray
    repeat: Repetition
    order: tuple[np.ndarray, np.ndarray]
    ranked: bool = True

    @property
    def first(self) -> str:
        """What slot 0 of a token holds."""
        return "first choice" if self.ranked else "expert named first"


@dataclass(frozen=True)
class _Measure:
    """[L] values on a scale in words, their [L] chance band (None for none), how to read them."""

    values: np.ndarray
    band: tuple[np.ndarray, np.ndarray] | None
    name: str
    read: str
    unit: str = ""
    digits: int = 2


def layer_bars(
    trace: RoutingTrace,
    facts: LayerFacts,
    row: int,
    measure: str,
    scope: tuple[int, int] | None = None,
) -> Picture:
    """One bar a routed layer, and what is known of layer `row`.

    facts: of the tokens first to last in `scope`, of all if None.
    Raises TraceError for the router's entropy when the trace has no logits.
    """
    shown = _MEASURES[measure](facts)
    meta = {
        "kind": "bars",
        "key": trace.key,
        "model": model_name(trace.source.model),
        "title": f"Layer {trace.layers[row]} among all layers",
        "place": range_words(scope),
        "facts": _facts(facts, row),
        "ledger": True,
        "x": {"name": "Layer", "labels": [str(x) for x in trace.layers], "pick": "row"},
        "y": {"name": shown.name, "unit": shown.unit, "digits": shown.digits},
        "parts": [{"name": "kept"}],
        "read": f"{shown.read} Click a bar to open its layer.",
        "inks": dict(zip(("light", "dark"), palette.inks(), strict=True)),
    }
    arrays = {"kept": shown.values}
    if shown.band is not None:
        meta["band"] = {"name": "chance"}
        arrays["low"], arrays["high"] = shown.band
    return Picture(meta, {name: a.astype(np.float32) for name, a in arrays.items()})


def _facts(facts: LayerFacts, row: int) -> list[list[str]]:
    balance, chance, repeat = facts.balance, facts.chance[row], facts.repeat
    if not np.isfinite(balance.max_violation[row]):
        return [["Assignments", "none: this layer sent these tokens nowhere"]]
    busiest = int(np.nanargmax(balance.share[row]))
    over = _times(balance.max_violation[row] + 1)
    by_chance = _band(*(v + 1 for v in chance.max_violation), _times)
    even = _band(*chance.entropy, "{:.3f}".format)
    idle = _band(*chance.dead, "{:.0f}".format)
    words = [
        ["Busiest", f"expert {busiest}, {over} ({by_chance})"],
        ["Evenness", f"{balance.entropy[row]:.3f} of 1 ({even})"],
        ["Idle", f"{plural(int(balance.dead[row]), 'expert')} ({idle})"],
    ]
    if np.isfinite(facts.doubt[row]):
        words.append(["Router entropy", f"{facts.doubt[row]:.2f} of 1"])
    if np.isfinite(repeat.first[row]):
        order = _band(facts.order[0][row], facts.order[1][row], percent)
        words += [
            [f"Same {facts.first} as the token before", f"{percent(repeat.first[row])} ({order})"],
            [
                "Any expert in common with it",
                f"{percent(repeat.shared[row])} (chance {percent(repeat.even_shared[row])})",
            ],
        ]
    return words


def _times(value: float) -> str:
    return f"{value:.2f} × even"


def _band(low: float, high: float, say: Callable[[float], str]) -> str:
    """ "chance 1.20 to 1.65 × even"; one number where both ends read alike."""
    first, last = say(low), say(high)
    if first == last:
        return f"chance {last}"
    unit = last.partition(" ")[2]
    return f"chance {first.removesuffix(f' {unit}') if unit else first} to {last}"


def _load(facts: LayerFacts) -> _Measure:
    low, high = (np.array([c.max_violation[end] for c in facts.chance]) + 1 for end in (0, 1))
    draws = facts.chance[0].draws
    read = (
        "How many times the even share the busiest expert of each layer took (MaxVio plus 1). "
        f"Grey: 95 % of {draws} routers that choose at random."
    )
    return _Measure(facts.balance.max_violation + 1, (low, high), "Busiest expert", read, "× even")


def _evenness(facts: LayerFacts) -> _Measure:
    low, high = (np.array([c.entropy[end] for c in facts.chance]) for end in (0, 1))
    read = (
        "Entropy of each layer's load: 1 when all experts took the same share, 0 when one took "
        f"all. Grey: 95 % of {facts.chance[0].draws} routers that choose at random."
    )
    return _Measure(facts.balance.entropy, (low, high), "Entropy of the load", read)


def _doubt(facts: LayerFacts) -> _Measure:
    if not np.isfinite(facts.doubt).any():
        raise TraceError(
            "This trace holds the chosen experts but not the router's logits, so the router's "
            "entropy is not known."
        )
    read = (
        "Mean entropy of the router's probabilities over all tokens: 0 when it is certain, 1 when "
        "all experts are alike to it."
    )
    return _Measure(facts.doubt, None, "Entropy of the router", read)


def _repeat(facts: LayerFacts) -> _Measure:
    read = (
        f"How often a token has the same {facts.first} as the token before it. Grey: the same "
        f"tokens in random order, 95 % of {SHUFFLES} orders."
    )
    return _Measure(facts.repeat.first, facts.order, f"Same {facts.first}", read, unit="%")


_MEASURES = {"load": _load, "evenness": _evenness, "doubt": _doubt, "repeat": _repeat}
