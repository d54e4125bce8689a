"""How the demo model's routing came about: fixed passages, routed at moments of its training.

The file is written by moeviz/training/emergence.py, which says how it is laid out; here it is read
without torch.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
from safetensors import safe_open

FILE = Path(__file__).parent.parent / "demo_model" / "emergence.safetensors"


@dataclass(frozen=True, eq=False)
class Emergence:
    """Routing at C moments of training, first to last.

    experts: [C, L, P, T, K] uint8 chosen ids, best first. size: E, experts of each layer.
    seen: [C] tokens trained on until then. loss: [C] mean next-token loss on the passages, nats.
    labels: "language" and "domain", [P] each. Token 0 of every passage is <|endoftext|>.
    """

    experts: np.ndarray
    size: int
    seen: np.ndarray
    loss: np.ndarray
    labels: dict[str, np.ndarray]


@cache
def load_emergence() -> Emergence:
    """The demo model's own, from the file that ships with it."""
    config = json.loads((FILE.parent / "config.json").read_text())
    with safe_open(FILE, "numpy") as file:
        words = {name: json.loads(text) for name, text in file.metadata().items()}
        return Emergence(
            experts=file.get_tensor("experts"),
            size=config["num_local_experts"],
            seen=file.get_tensor("seen"),
            loss=file.get_tensor("loss"),
            labels={
                "language": np.array(words["languages"]),
                "domain": np.array(words["domains"]),
            },
        )
