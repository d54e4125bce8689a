"""What can be changed about a model's routing while it runs, as small values.

A rule is a few parts, each with a short readable form that `moeviz.rules.reading.parse_rule` reads
back; a part holds in every routed layer and for every token unless it says otherwise:

    mute 3:17             expert 17 of layer 3 is never chosen; its tokens go to the next best
    mute 3:17,20 drop     their outputs count nothing; nobody steps in
    force 3:17            always among the chosen; the least of the others makes room
    swap 3:17>4 token 5   token 5 goes to expert 4 where it went to expert 17
    route 3:4,9 token 5   token 5 goes to these experts and no others
    mask 3:1 of 4         group 1 of 4 equal groups of neighbouring experts, as if muted
    k=1 @2,4              tokens take one expert in layers 2 and 4
    temperature 0.5       router logits divided by 0.5
    noise 1 seed 0        N(0, 1) added to the router logits
    steer 3:+17,-4        expert 17 above the highest logit of each token, expert 4 below the lowest
    random seed 0         experts drawn at random, the control

Whatever the order written, logits are changed first, then the choice, then weights; parts that do
the same kind of thing follow one another, and a later one overrules an earlier one. The weights of
newly chosen experts are what the model's own router gives them.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np

from moeviz.rules.capacity import CapacityRule, RuleError

Layers = int | str | Iterable[int | str] | None
Tokens = int | Iterable[int] | None

MARGIN = 0.01
"""How far, in logits, a steered expert is pushed beyond the highest or lowest of the others."""


@dataclass(frozen=True)
class Part:
    """One change. layers: numbers of routed layers ("3a", "3b" where one routes twice), None for
    all. tokens: places in the text from 0, None for all.

    Raises RuleError for values that mean nothing.
    """

    layers: Layers = field(default=None, kw_only=True)
    tokens: Tokens = field(default=None, kw_only=True)

    def __post_init__(self) -> None:
        if self.layers is not None:
            given = [self.layers] if isinstance(self.layers, int | str) else self.layers
            object.__setattr__(self, "layers", tuple(dict.fromkeys(str(x) for x in given)))
        if self.tokens is not None:
            object.__setattr__(self, "tokens", _whole_numbers("token", self.tokens))

    def covers(self, layer: str) -> bool:
        """Whether the part holds in the layer of this name."""
        return (
            self.layers is None or layer in self.layers or layer.rstrip("abcdefgh") in self.layers
        )

    def here(self, positions: np.ndarray) -> np.ndarray:
        """[T, 1] bool: for which of the tokens at these places in the text the part holds."""
        if self.tokens is None:
            return np.ones((len(positions), 1), bool)
        return np.isin(positions, self.tokens)[:, None]

    def check(self, layer: str, experts: int, chosen: int) -> None:
        """Raises RuleError when the part asks this layer for what it does not have."""

    def _at(self) -> str:
        where = "" if self.layers is None else f" @{','.join(self.layers)}"
        return where + self._of_tokens()

    def _of_tokens(self) -> str:
        if self.tokens is None:
            return ""
        return f" token{'s' if len(self.tokens) > 1 else ''} {runs(self.tokens)}"

    def _experts(self, listed: str) -> str:
        return f"{'*' if self.layers is None else ','.join(self.layers)}:{listed}"


class Choosing(Part):
    """A part that says which experts may or must be chosen."""

    def wishes(self, positions: np.ndarray, experts: int) -> np.ndarray:
        """[T, E] int8: -1 never, 1 always, 0 as the router likes."""
        found = np.zeros((len(positions), experts), np.int8)
        for sign, ids in self._signs(experts):
            found[:, list(ids)] = sign
        return found * self.here(positions).astype(np.int8)

    def _signs(self, experts: int) -> list[tuple[int, Sequence[int]]]:
        raise NotImplementedError


@dataclass(frozen=True)
class Mute(Choosing):
    """The experts are never chosen; drop: they are chosen, but their outputs count nothing."""

    experts: int | Iterable[int]
    drop: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        object.__setattr__(self, "experts", _whole_numbers("expert", self.experts))

    def __str__(self) -> str:
        way = " drop" if self.drop else ""
        return f"mute {self._experts(runs(self.experts))}{way}{self._of_tokens()}"

    def check(self, layer: str, experts: int, chosen: int) -> None:
        _check_experts(self.experts, layer, experts)

    def _signs(self, experts: int) -> list[tuple[int, Sequence[int]]]:
        return [(-1, self.experts)]


@dataclass(frozen=True)
class MaskGroups(Choosing):
    """Whole groups are never chosen (or dropped): the E experts in `of` equal groups of
    neighbours, as on `of` devices."""

    groups: int | Iterable[int]
    of: int
    drop: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        object.__setattr__(self, "groups", _whole_numbers("group", self.groups))
        if not _whole(self.of) or self.of < 2:
            raise RuleError(f"Experts are cut into at least 2 groups, not {self.of!r}.")
        if max(self.groups) >= self.of:
            raise RuleError(
                f"Of {self.of} groups, counted from 0, there is no group {max(self.groups)}."
            )

    def __str__(self) -> str:
        way = " drop" if self.drop else ""
        listed = self._experts(runs(self.groups))
        return f"mask {listed} of {self.of}{way}{self._of_tokens()}"

    def check(self, layer: str, experts: int, chosen: int) -> None:
        if experts % self.of:
            raise RuleError(
                f"The {experts} experts of layer {layer} cannot be cut into {self.of} equal groups."
            )

    def _signs(self, experts: int) -> list[tuple[int, Sequence[int]]]:
        size = experts // self.of
        return [(-1, [g * size + i for g in self.groups for i in range(size)])]


@dataclass(frozen=True)
class Force(Choosing):
    """The experts are always among the chosen."""

    experts: int | Iterable[int]

    def __post_init__(self) -> None:
        super().__post_init__()
        object.__setattr__(self, "experts", _whole_numbers("expert", self.experts))

    def __str__(self) -> str:
        return f"force {self._experts(runs(self.experts))}{self._of_tokens()}"

    def check(self, layer: str, experts: int, chosen: int) -> None:
        _check_experts(self.experts, layer, experts)

    def _signs(self, experts: int) -> list[tuple[int, Sequence[int]]]:
        return [(1, self.experts)]


@dataclass(frozen=True)
class Route(Force):
    """The tokens go to these experts, as many as they take, and to no others."""

    def __str__(self) -> str:
        return f"route {self._experts(runs(self.experts))}{self._of_tokens()}"

    def check(self, layer: str, experts: int, chosen: int) -> None:
        super().check(layer, experts, chosen)
        if len(self.experts) != chosen:
            raise RuleError(
                f"A token takes {chosen} experts in layer {layer}, so a route names {chosen}, "
                f"not {len(self.experts)}."
            )

    def _signs(self, experts: int) -> list[tuple[int, Sequence[int]]]:
        return [(-1, range(experts)), (1, self.experts)]


@dataclass(frozen=True)
class Swap(Choosing):
    """One token goes to expert `new` where its router chose `old`; the rest of its route stays."""

    old: int
    new: int

    def __post_init__(self) -> None:
        super().__post_init__()
        _whole_numbers("expert", (self.old, self.new))
        if self.layers is None or len(self.layers) != 1 or not self.tokens or len(self.tokens) > 1:
            raise RuleError("A swap is of one token in one layer, as in swap 3:17>4 token 5.")
        if self.old == self.new:
            raise RuleError(f"A swap needs two different experts, not {self.old} twice.")

    def __str__(self) -> str:
        return f"swap {self._experts(f'{self.old}>{self.new}')}{self._of_tokens()}"

    def check(self, layer: str, experts: int, chosen: int) -> None:
        _check_experts((self.old, self.new), layer, experts)

    def check_route(self, route: Iterable[int]) -> None:
        """Raises RuleError unless the token's own route has the old expert and not the new one."""
        route, layer, token = sorted(route), self.layers[0], self.tokens[0]
        if self.old in route and self.new not in route:
            return
        has = f"goes to expert {self.new} already" if self.old in route else (
            f"does not go to expert {self.old}"
        )  # fmt: skip
        raise RuleError(
            f"Token {token} {has} in layer {layer}: its experts there are "
            f"{' and '.join(map(str, route))}."
        )

    def _signs(self, experts: int) -> list[tuple[int, Sequence[int]]]:
        return [(-1, (self.old,)), (1, (self.new,))]


@dataclass(frozen=True)
class ChangeK(Part):
    """Tokens take `k` experts. Fewer for some tokens only keep their best by weight."""

    k: int

    def __post_init__(self) -> None:
        super().__post_init__()
        if not _whole(self.k) or self.k < 1:
            raise RuleError(f"K must be a whole number of at least 1, not {self.k!r}.")

    def __str__(self) -> str:
        return f"k={self.k}{self._at()}"

    def check(self, layer: str, experts: int, chosen: int) -> None:
        if self.k > experts:
            raise RuleError(
                f"K = {self.k} is more than the {experts} experts of layer {layer}. "
                f"Choose 1 to {experts}."
            )
        if self.tokens is not None and self.k > chosen:
            raise RuleError(
                f"K can be raised from {chosen} to {self.k} only for all tokens of a layer."
            )


@dataclass(frozen=True)
class Temperature(Part):
    """Router logits are divided by `value`: below 1 sharper, above 1 flatter."""

    value: float

    def __post_init__(self) -> None:
        super().__post_init__()
        if not _number(self.value) or not 0.01 <= self.value <= 100:
            raise RuleError(
                f"The router's temperature must lie between 0.01 and 100, not {self.value!r}."
            )

    def __str__(self) -> str:
        return f"temperature {self.value:g}{self._at()}"


@dataclass(frozen=True)
class Noise(Part):
    """Gaussian noise of this standard deviation on the router logits, drawn with `seed`."""

    std: float
    seed: int = 0

    def __post_init__(self) -> None:
        super().__post_init__()
        if not _number(self.std) or not 0 <= self.std <= 1000:
            raise RuleError(
                f"The noise on router logits must lie between 0 and 1,000, not {self.std!r}."
            )
        _whole_numbers("seed", (self.seed,))

    def __str__(self) -> str:
        return f"noise {self.std:g} seed {self.seed}{self._at()}"

    def drawn(self, layer: str, positions: np.ndarray, experts: int) -> np.ndarray:
        """[T, E] float32 noise; a token gets the same wherever the text is cut into passes."""
        return self.std * _table("normal", self.seed, layer, positions, experts)


@dataclass(frozen=True)
class Steer(Part):
    """Experts are pushed above the highest logit of each token (`up`) or below the lowest (`down`).

    Softly: bias, groups and scoring of the router still follow. SteerMoE (arXiv:2509.09660)
    sets log-softmax scores to max + eps and min - eps; softmax does not see the shift between
    logits and their log-softmax, so on softmax routers this is the same, and it carries over to
    routers that score otherwise.
    """

    up: int | Iterable[int] = ()
    down: int | Iterable[int] = ()

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("up", "down"):
            ids = getattr(self, name)
            object.__setattr__(self, name, _whole_numbers("expert", ids, least=0))
        if not self.up and not self.down:
            raise RuleError("Name the experts to steer, as in steer 3:+17,-4.")
        both = sorted(set(self.up) & set(self.down))
        if both:
            raise RuleError(f"Expert {both[0]} cannot be steered up and down at once.")

    def __str__(self) -> str:
        listed = ",".join([*(f"+{e}" for e in self.up), *(f"-{e}" for e in self.down)])
        return f"steer {self._experts(listed)}{self._of_tokens()}"

    def check(self, layer: str, experts: int, chosen: int) -> None:
        _check_experts((*self.up, *self.down), layer, experts)


@dataclass(frozen=True)
class RandomExperts(Part):
    """Experts drawn uniformly at random for each token: what a rule is worth beside chance."""

    seed: int = 0

    def __post_init__(self) -> None:
        super().__post_init__()
        _whole_numbers("seed", (self.seed,))

    def __str__(self) -> str:
        return f"random seed {self.seed}{self._at()}"

    def scores(self, layer: str, positions: np.ndarray, experts: int) -> np.ndarray:
        """[T, E] float32 of which each token takes the highest; the same however it is cut."""
        return _table("uniform", self.seed, layer, positions, experts)


@dataclass(frozen=True, eq=False)
class LayerRun:
    """What one layer's router said in a run, for an algorithm to decide otherwise.

    layer: its name. experts, chosen: E and K. logits [T, E], or None where the router shows none.
    ids, gates [T, K]: the model's own choice and weights. token_ids [T]: of the vocabulary.
    """

    layer: str
    experts: int
    chosen: int
    logits: np.ndarray | None
    ids: np.ndarray
    gates: np.ndarray
    token_ids: np.ndarray


class Algorithm(Protocol):
    """A routing algorithm that can be put in the place of a model's own choice."""

    def assign(self, run: LayerRun) -> tuple[np.ndarray, np.ndarray]:
        """(ids [T, M], gates [T, M]): any M, -1 and 0 for an empty slot, no expert twice a token.

        Raises RuleError where the layer does not suit the algorithm.
        """

    def __str__(self) -> str:
        """Its short form: lower-case words and numbers, without ";" and "@"."""


@dataclass(frozen=True)
class Assign(Part):
    """`algorithm` decides in the place of the model's own choice, from the same router logits."""

    algorithm: Algorithm

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.tokens is not None:
            raise RuleError("An algorithm assigns all tokens of a layer, not some of them.")

    def __str__(self) -> str:
        return f"assign {self.algorithm}{self._at()}"


@dataclass(frozen=True)
class Rule:
    """Several parts, applied together; a CapacityRule can be one of them.

    Its text is theirs, joined by "; ". Raises RuleError for more than one capacity or algorithm.
    """

    parts: tuple[Part | CapacityRule, ...] = ()

    def __post_init__(self) -> None:
        for kind, name in ((CapacityRule, "capacity"), (Assign, "algorithm")):
            if sum(isinstance(part, kind) for part in self.parts) > 1:
                raise RuleError(f"A rule can hold one {name} only.")

    def __str__(self) -> str:
        return "; ".join(map(str, self.parts))

    def __bool__(self) -> bool:
        return bool(self.parts)

    @property
    def drops(self) -> bool:
        """Whether an assignment can lose its expert without getting another."""
        return any(
            isinstance(p, CapacityRule | ChangeK | Assign) or getattr(p, "drop", False)
            for p in self.parts
        )

    @property
    def capacity(self) -> CapacityRule | None:
        """Its capacity, if it has one."""
        return next((p for p in self.parts if isinstance(p, CapacityRule)), None)

    def here(self, layer: str, *kinds: type) -> tuple[Part, ...]:
        """Its parts of these kinds that hold in one layer, in order."""
        return tuple(p for p in self.parts if isinstance(p, kinds) and p.covers(layer))

    def wishes(self, layer: str, positions: np.ndarray, experts: int) -> np.ndarray | None:
        """[T, E] int8: -1 never, 1 always, 0 as the router likes; None where no part says."""
        parts = self._choosing(layer, drop=False)
        return _overlaid(parts, positions, experts) if parts else None

    def same_for_all(self, layer: str, drop: bool) -> bool:
        """Whether `muted` (drop) or `wishes` (not) of a layer are the same for every token."""
        return all(part.tokens is None for part in self._choosing(layer, drop))

    def _choosing(self, layer: str, drop: bool) -> list[Choosing]:
        return [p for p in self.here(layer, Choosing) if getattr(p, "drop", False) == drop]

    def muted(self, layer: str, positions: np.ndarray, experts: int) -> np.ndarray | None:
        """[T, E] bool: experts whose output counts nothing; None where no part says."""
        parts = self._choosing(layer, drop=True)
        return _overlaid(parts, positions, experts) < 0 if parts else None


def as_rule(rule: Rule | Part | CapacityRule | None) -> Rule | None:
    """Any of these as a `Rule`; None for one that holds nothing."""
    if rule is None or isinstance(rule, Rule):
        return rule or None
    return Rule((rule,))


def combined(*rules: Rule | Part | CapacityRule | None) -> Rule:
    """Several rules as one, their parts in order."""
    return Rule(tuple(part for rule in map(as_rule, rules) if rule for part in rule.parts))


def check_rule(
    rule: Rule, sizes: Sequence[tuple[str, int, int]], tokens: int | None = None
) -> None:
    """Raises RuleError for what this model cannot do.

    sizes: (name, E, K) of each routed layer. tokens: length of the text, where it is known.
    """
    names = [name for name, *_ in sizes]
    for part in rule.parts:
        if isinstance(part, CapacityRule):
            continue
        lost = [x for x in part.layers or () if not any(x in (n, _number_of(n)) for n in names)]
        if lost:
            raise RuleError(
                f"Layer {lost[0]} is not one of the routed layers. Choose {_spoken(names)}."
            )
        if tokens is not None and part.tokens and part.tokens[-1] >= tokens:
            raise RuleError(
                f"The text has {tokens:,} tokens, 0 to {tokens - 1}; there is no token "
                f"{part.tokens[-1]:,}."
            )
        for name, experts, chosen in sizes:
            if part.covers(name):
                part.check(name, experts, _taken(rule, name, chosen))
    for name, experts, chosen in sizes:
        _check_room(rule, name, experts, _taken(rule, name, chosen))


def _taken(rule: Rule, layer: str, chosen: int) -> int:
    """How many experts a token of the layer takes under the rule."""
    changed = [part.k for part in rule.here(layer, ChangeK) if part.tokens is None]
    return changed[-1] if changed else chosen


def _check_room(rule: Rule, layer: str, experts: int, chosen: int) -> None:
    """At least K experts must be left to every token, and at most K forced on it."""
    named = {t for p in rule.here(layer, Choosing) for t in p.tokens or ()}
    other = next(t for t in range(len(named) + 1) if t not in named)
    wishes = rule.wishes(layer, np.array(sorted({*named, other})), experts)
    if wishes is None:
        return
    left, forced = int((wishes >= 0).sum(1).min()), int((wishes > 0).sum(1).max())
    if left < chosen:
        raise RuleError(
            f"In layer {layer} each token takes {chosen} of {experts} experts, but the rule "
            f"leaves it {left}. Mute at most {experts - chosen}, or drop them instead."
        )
    if forced > chosen:
        raise RuleError(
            f"In layer {layer} each token takes {chosen} experts, but the rule forces {forced} "
            f"on it. Force at most {chosen}."
        )


def random_mutes(rule: Rule, sizes: Sequence[tuple[str, int, int]], seed: int = 0) -> Rule:
    """The control for a rule that mutes: as many other experts of the same layers, at random.

    sizes: (name, E, K) of each routed layer. Experts that the rule names are not drawn where
    enough others are left. Raises RuleError for a rule that mutes nothing.
    """
    rng, parts = np.random.default_rng(seed), []
    for name, experts, _ in sizes:
        for part in rule.here(name, Mute, MaskGroups):
            named = (part.wishes(np.array([(part.tokens or (0,))[0]]), experts) < 0)[0]
            count = int(named.sum())
            others = np.flatnonzero(~named)
            drawn = rng.permutation(others if len(others) >= count else experts)[:count]
            parts.append(Mute(drawn.tolist(), part.drop, layers=name, tokens=part.tokens))
    if not parts:
        raise RuleError("Only a rule that mutes experts can be compared with random mutes.")
    return Rule(tuple(parts))


def runs(numbers: Sequence[int]) -> str:
    """Sorted whole numbers in short: "0-3,7"."""
    found: list[list[int]] = []
    for number in numbers:
        if found and number == found[-1][1] + 1:
            found[-1][1] = number
        else:
            found.append([number, number])
    return ",".join(str(a) if a == b else f"{a}-{b}" for a, b in found)


def _overlaid(parts: Sequence[Choosing], positions: np.ndarray, experts: int) -> np.ndarray:
    """[T, E] int8: the parts' wishes, a later one over an earlier one."""
    found = np.zeros((len(positions), experts), np.int8)
    for part in parts:
        wish = part.wishes(positions, experts)
        found = np.where(wish != 0, wish, found)
    return found


def _table(kind: str, seed: int, layer: str, positions: np.ndarray, experts: int) -> np.ndarray:
    """[T, E] float32 random numbers of tokens at these places: rows of one endless table."""
    rng = np.random.default_rng((seed, *layer.encode()))
    rows = int(positions.max()) + 1 if len(positions) else 0
    draw = rng.standard_normal if kind == "normal" else rng.random
    return draw((rows, experts), dtype=np.float32)[positions]


def _whole_numbers(name: str, given: int | Iterable[int], least: int = 1) -> tuple[int, ...]:
    """Sorted, each once; raises RuleError for anything but whole numbers from 0."""
    numbers = (given,) if isinstance(given, int | float | str) else tuple(given)
    wrong = [n for n in numbers if not _whole(n) or n < 0]
    if wrong:
        raise RuleError(f"A {name} is a whole number of at least 0, not {wrong[0]!r}.")
    if len(numbers) < least:
        raise RuleError(f"Name at least one {name}.")
    return tuple(sorted({int(n) for n in numbers}))


def _whole(value: object) -> bool:
    return isinstance(value, int | np.integer) and not isinstance(value, bool)


def _number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _check_experts(ids: Iterable[int], layer: str, experts: int) -> None:
    beyond = [e for e in ids if e >= experts]
    if beyond:
        raise RuleError(
            f"Layer {layer} has {experts} experts, 0 to {experts - 1}; there is no expert "
            f"{beyond[0]}."
        )


def _number_of(name: str) -> str:
    return name.rstrip("abcdefgh")


def _spoken(names: Sequence[str]) -> str:
    """The layers as a person would say them."""
    if all(name.isdigit() for name in names):
        return " or ".join(runs([int(n) for n in names]).replace("-", " to ").split(","))
    return ", ".join(names)
