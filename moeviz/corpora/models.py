"""Known MoE models: configurations of open ones with what was published of them, and what was
reported of closed ones.

Their facts follow from the configurations (moeviz/models/facts.py)."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

_HERE = Path(__file__).parent
FACTS = _HERE / "known_model_facts.json"
DEMO = "MoEViz demo model"


@dataclass(frozen=True)
class KnownModel:
    """An open model. config: what its size follows from. total, active: parameters as published,
    None where the source names none; source: who published them; note: how they count."""

    name: str
    id: str
    config: Mapping
    total: float | None
    active: float | None
    source: str
    note: str


@dataclass(frozen=True)
class ReportedModel:
    """A model whose configuration cannot be read here: only what was said of it, and by whom.

    verifiable: "weights" are public, only a "paper" tells, or "no" way to check.
    """

    name: str
    total: float | None
    active: float | None
    experts: int | None
    chosen: int | None
    by: str
    verifiable: str
    note: str


@cache
def known_models() -> tuple[KnownModel, ...]:
    """Open models, oldest family first, and MoEViz's own."""
    listed = (
        KnownModel(m["name"], m["id"], m["config"], **m["published"], note=m["note"])
        for m in _read()["computed"]
    )
    return (*listed, _demo())


def _demo() -> KnownModel:
    config = json.loads((_HERE.parent / "demo_model" / "config.json").read_text("utf-8"))
    return KnownModel(DEMO, "demo", config, None, None, "its model card", "")


@cache
def reported_models() -> tuple[ReportedModel, ...]:
    """Models of which only reports exist here."""
    return tuple(ReportedModel(**model) for model in _read()["reported"])


@cache
def known_facts() -> dict[str, dict]:
    """By name of a known model, its facts as `rules.facts.from_json` reads them, so that the
    table opens without torch; a test computes them again."""
    return json.loads(FACTS.read_text("utf-8"))


def always_on() -> tuple[float, float]:
    """The smallest and the largest share of parameters that every token uses, among them."""
    shares = []
    for name, facts in known_facts().items():
        if name == DEMO:
            continue  # tiny: half of it is embeddings
        total = sum(facts["parts"].values())
        shares.append(1 - facts["parts"]["routed experts"] / total)
    return min(shares), max(shares)


def _read() -> dict:
    return json.loads((_HERE / "known_models.json").read_text("utf-8"))
