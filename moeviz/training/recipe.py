"""How long, how fast and on what is the model trained? Every number of a run, in one place."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path

from moeviz.store.whole import write_whole
from moeviz.training.model import SIZES, Size
from moeviz.training.optimizer import Rates


@dataclass(frozen=True)
class Recipe:
    """One run. Exactly one of `minutes` and `tokens` says when it ends."""

    size: str = "small"
    dense: bool = False
    minutes: float | None = None
    tokens: int | None = None
    seed: int = 0
    batch_tokens: int = 8192
    short_window: int = 512
    long_window: int = 2048
    long_share: float = 0.1  # the last part of the run reads long windows
    warmup_share: float = 0.03
    flatness: float = 0.6
    balance: float = 0.01
    z_loss: float = 0.001
    load_memory: float = 0.9
    clip: float = 1.0
    rates: Rates = field(default_factory=Rates)

    def __post_init__(self) -> None:
        if (self.minutes is None) == (self.tokens is None):
            raise ValueError(
                "Give either --minutes or --tokens: one of them says when training ends."
            )

    @property
    def shape(self) -> Size:
        return SIZES[self.size]

    def progress(self, tokens: int, seconds: float) -> float:
        """How much of the run is done, 0 to 1."""
        done = tokens / self.tokens if self.tokens else seconds / (60 * self.minutes)
        return min(1.0, done)

    def rate_scale(self, progress: float) -> float:
        """Learning rate over its peak: linear warmup, then linear to 0 at the end of the run."""
        return min(
            progress / self.warmup_share + 0.01, (1 - progress) / (1 - self.warmup_share), 1.0
        )

    def window(self, progress: float) -> int:
        """Tokens per window at this point of the run."""
        return self.long_window if progress >= 1 - self.long_share else self.short_window


def same_recipe(recipe: Recipe, kept: Path) -> None:
    """Keeps the recipe of a new run in `kept`; refuses to go on with a run by another recipe."""
    wanted = asdict(recipe)
    if kept.exists():
        begun = json.loads(kept.read_text())
        changed = [name for name in wanted if begun.get(name) != wanted[name]]
        if changed:
            raise SystemExit(
                f"{kept.parent} was begun with another recipe ({', '.join(changed)} differ). "
                "Give the same options, or another --out."
            )
    write_whole(kept, json.dumps(wanted, indent=1))
