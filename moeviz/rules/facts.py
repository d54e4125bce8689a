"""What a model is made of, and what that means for memory: arithmetic on parameter counts."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field

from moeviz.rules.words import short_bytes, short_count

BITS = {"bfloat16": 16, "fp8": 8, "int4": 4}
"""Number formats that weights are served in, and the bits each takes (scales left out)."""

PARTS = ("embeddings", "output head", "attention", "dense feed-forward", "shared experts",
         "routed experts", "router", "other")  # fmt: skip
"""What parameters are counted under, in this order."""


@dataclass(frozen=True)
class ModelFacts:
    """A model's size from its configuration alone; no weights are needed.

    parts: parameters by part, see PARTS. active_experts: parameters of the routed experts that
    one token uses: over the routed layers the sum of weights · K / E.
    layers: of all stacks together; routed_layers: those with a router.
    experts, chosen: E and K of the widest routed layer; even: all routed layers are alike.
    shared: parameters of experts that every token uses, in `parts`. groups: experts are first
    chosen by group (0: not). scoring: how gates follow from router logits, as in `RouterSpec`, ""
    where it could not be tried. kv_values: keys and values cached for one token that is written,
    over all layers; None where the configuration does not show it. lookups: parameters of which a
    token reads only one row (the input embedding).
    """

    name: str
    model_type: str
    parts: Mapping[str, int]
    active_experts: int
    layers: int
    routed_layers: int
    experts: int
    chosen: int
    even: bool = True
    groups: int = 0
    scoring: str = ""
    kv_values: int | None = None
    lookups: int = 0
    notes: tuple[str, ...] = field(default=())

    @property
    def total(self) -> int:
        """All parameters."""
        return sum(self.parts.values())

    @property
    def active(self) -> int:
        """Parameters that one token uses, the whole input embedding counted."""
        return self.total - self.parts["routed experts"] + self.active_experts

    @property
    def active_without_lookup(self) -> int:
        """The same without the input embedding, of which a token reads one row."""
        return self.active - self.lookups

    @property
    def sparsity(self) -> float:
        """Share of the parameters that one token leaves alone."""
        return 1 - self.active / self.total

    def memory(self, bits: int) -> float:
        """Bytes that all weights take at `bits` a parameter."""
        return self.total * bits / 8

    def touched(self, bits: int) -> float:
        """Bytes of weights read to decode one token alone at `bits` a parameter.

        Of the input embedding one row is read, which is left out.
        """
        return self.active_without_lookup * bits / 8

    def cache(self, tokens: int, bits: int = 16) -> float | None:
        """Bytes of keys and values for `tokens` tokens of one text, every layer keeping all."""
        return None if self.kv_values is None else self.kv_values * tokens * bits / 8

    def as_json(self) -> dict:
        """Plain values; `from_json` reads them."""
        return dataclasses.asdict(self)


def as_table(found: list[ModelFacts]) -> str:
    """The facts as lines of text, a column a model would be too wide: one block each."""
    return "\n\n".join(_block(facts) for facts in found)


def _block(facts: ModelFacts) -> str:
    lines = [
        f"{facts.name} ({facts.model_type})",
        f"  parameters          {short_count(facts.total)}",
        f"  used by a token     {short_count(facts.active)}, without the input embedding "
        f"{short_count(facts.active_without_lookup)}",
        f"  experts             top-{facts.chosen} of {facts.experts} in {facts.routed_layers} of "
        f"{facts.layers} layers",
    ]
    lines += [f"  gates follow by     {facts.scoring}"] if facts.scoring else []
    lines += [f"  {part:<19} {short_count(count)}" for part, count in facts.parts.items() if count]
    lines += [
        f"  weights in {name:<9}{short_bytes(facts.memory(bits))}, read for one token "
        f"{short_bytes(facts.touched(bits))}"
        for name, bits in BITS.items()
    ]
    cache = facts.cache(1000)
    if cache is not None:
        lines.append(f"  keys and values     {short_bytes(cache)} for 1,000 tokens in 16 bits")
    else:
        lines.append("  keys and values     not told by the configuration")
    return "\n".join(lines)


def from_json(values: Mapping) -> ModelFacts:
    """The facts that `as_json` gave."""
    return ModelFacts(**{**values, "notes": tuple(values.get("notes", ()))})
