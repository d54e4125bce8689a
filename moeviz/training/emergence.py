"""When did the experts find their languages? Routing of fixed passages at moments of the run.

emergence.safetensors holds, for C moments, L layers, P passages of T tokens and K chosen:

    experts  [C, L, P, T, K] uint8   chosen expert ids, best first
    tokens   [P, T] uint16           the passages, each starting with <|endoftext|>
    seen     [C] int64               tokens trained on until then
    loss     [C] float32             mean next-token loss on the passages, nats

Its metadata names the passages: `languages` and `domains` are JSON lists of length P.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from safetensors import safe_open
from safetensors.numpy import load_file, save_file
from tokenizers import Tokenizer

from moeviz.metrics.saturation import router_saturation
from moeviz.store.whole import whole_file
from moeviz.training.checkpoint import Run
from moeviz.training.data import Document
from moeviz.training.model import RouterWatch

MOMENTS = (0.0, 0.005, 0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 0.64, 1.0)  # share of the run
PASSAGE_TOKENS = 48


@dataclass(frozen=True)
class Passages:
    """Labelled passages of equal length."""

    tokens: np.ndarray  # [P, T] uint16
    languages: tuple[str, ...]
    domains: tuple[str, ...]


def choose_passages(documents: list[Document], tokenizer: Tokenizer, length: int) -> Passages:
    """The first long enough document of every (language, domain), cut to `length` tokens."""
    found: dict[tuple[str, str], list[int]] = {}
    for document in documents:
        key = (document.language, document.domain)
        if key not in found:
            ids = tokenizer.encode(document.text).ids
            if len(ids) >= length:
                found[key] = ids[:length]
    keys = sorted(found)
    tokens = np.array([found[key] for key in keys], dtype=np.uint16)
    return Passages(tokens, tuple(k[0] for k in keys), tuple(k[1] for k in keys))


class Recorder:
    """Records the routing of the passages whenever the run passes one of MOMENTS."""

    def __init__(self, passages: Passages, path: Path):
        self.passages, self.path = passages, path
        self.moments = load_file(path) if path.exists() else None

    def record_if_due(self, run: Run, watch: RouterWatch, progress: float) -> None:
        """Adds a moment if progress has reached the next one; keeps the file up to date."""
        recorded = len(self.moments["seen"]) if self.moments else 0
        if recorded < len(MOMENTS) and progress >= MOMENTS[recorded]:
            self._add(routing_of(run.model, watch, self.passages, run.load.device), run.tokens)

    def _add(self, routing: tuple[np.ndarray, float], seen: int) -> None:
        experts, loss = routing
        fresh = {
            "experts": experts[None],
            "seen": np.array([seen], dtype=np.int64),
            "loss": np.array([loss], dtype=np.float32),
        }
        before = self.moments or {name: value[:0] for name, value in fresh.items()}
        self.moments = {n: np.concatenate([before[n], value]) for n, value in fresh.items()}
        with whole_file(self.path) as draft:
            save_file(
                self.moments | {"tokens": self.passages.tokens}, draft, metadata=self._labels()
            )

    def _labels(self) -> dict[str, str]:
        return {
            "languages": json.dumps(self.passages.languages),
            "domains": json.dumps(self.passages.domains),
        }


@torch.no_grad()
@torch.compiler.set_stance("force_eager")
def routing_of(
    model: torch.nn.Module, watch: RouterWatch, passages: Passages, device: torch.device
) -> tuple[np.ndarray, float]:
    """(chosen experts [L, P, T, K] uint8, mean next-token loss in nats) in float32."""
    model.eval()
    watch.clear()
    ids = torch.from_numpy(passages.tokens.astype(np.int64)).to(device)
    logits = model(ids, use_cache=False).logits[:, :-1].flatten(0, 1)
    loss = torch.nn.functional.cross_entropy(logits.float(), ids[:, 1:].flatten())
    model.train()
    chosen = torch.stack(watch.chosen).view(len(watch.chosen), *ids.shape, -1)
    return chosen.to(torch.uint8).cpu().numpy(), loss.item()


def read_emergence(path: Path) -> tuple[dict[str, np.ndarray], Passages]:
    """(arrays experts, seen and loss as laid out above, the passages)."""
    arrays = load_file(path)
    with safe_open(path, "numpy") as file:
        labels = {name: tuple(json.loads(text)) for name, text in file.metadata().items()}
    return arrays, Passages(arrays.pop("tokens"), labels["languages"], labels["domains"])


def saturation(experts: np.ndarray) -> np.ndarray:
    """[C, L] share of the final choices already made, of experts [C, L, P, T, K]."""
    moments, layers, *_, chosen = experts.shape
    rows = experts.reshape(moments, layers, -1, chosen)
    return np.stack([router_saturation(moment, rows[-1]) for moment in rows])
