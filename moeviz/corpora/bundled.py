"""What the demo model does with the atlas, counted once and shipped, with a layout of its map.

Bound to both by their digests: with other weights or another atlas there is nothing here.
`python -m moeviz.engines.make_bundled` makes the file again. Sums of gates are left out, which
take as much room as all the rest and nothing on screen needs.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import lzma
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from safetensors.numpy import load, save

from moeviz.corpora.corpus import Corpus
from moeviz.corpora.packing import header, small
from moeviz.corpora.routing import CorpusRouting, TokenCounts
from moeviz.store.whole import write_whole

FILE = Path(__file__).parent / "atlas_demo.safetensors.xz"
MODEL = Path(__file__).parent.parent / "demo_model" / "model.safetensors"

_PLAIN = ("tokens", "counts", "first", "same_first", "shared", "neighbours", "together", "ranked",
          "positions")  # fmt: skip


@dataclass(frozen=True)
class Bundled:
    """The routing, and layouts of its passages [P, 2] and experts [X, 2] by UMAP from `seed`.

    written: the counts of what the model wrote after the passages `rows`.
    """

    routing: CorpusRouting
    written: CorpusRouting
    rows: np.ndarray
    passages: np.ndarray
    experts: np.ndarray
    seed: int


def bundled(corpus: Corpus) -> Bundled | None:
    """What the demo model does with `corpus`, if both are those that were counted; else None.

    Reads the model's file only for its digest: nothing is loaded.
    """
    arrays, words = _read()
    if (words["file"], words["corpus"]) != (_model_digest(), corpus.key):
        return None
    facts = json.loads(words["facts"])
    routing = CorpusRouting(
        model="demo",
        weights=words["weights"],
        corpus=corpus.name,
        layers=tuple(facts["layers"]),
        experts=np.array(facts["experts"]),
        chosen=np.array(facts["chosen"]),
        labels=corpus.labels,
        documents=corpus.documents,
        families=corpus.families,
        parallel=corpus.parallel,
        pieces={int(token): piece for token, piece in facts["pieces"].items()},
        sources=corpus.sources,
        vocabulary={kind: _words(arrays, kind) for kind in facts["kinds"]},
        **{name: arrays[name].astype(_kind(name)) for name in _PLAIN},
    )
    rows = arrays["written_rows"].astype(np.int64)
    written = dataclasses.replace(
        routing.where(rows), phase="decode", pieces={},
        tokens=arrays["written_tokens"].astype(np.int32),
        counts=arrays["written_counts"].astype(np.int32),
        **dict.fromkeys(("first", "same_first", "shared", "neighbours")),
    )  # fmt: skip
    maps = arrays["map_passages"], arrays["map_experts"]
    return Bundled(routing, written, rows, *maps, facts["seed"])


def write_bundled(
    routing: CorpusRouting, written: CorpusRouting, rows: np.ndarray, corpus: Corpus,
    layouts: tuple[np.ndarray, np.ndarray], seed: int,
) -> Path:  # fmt: skip
    """Writes the file that `bundled` reads; written: after the passages `rows`."""
    arrays = {name: small(getattr(routing, name)) for name in _PLAIN}
    for kind, counted in routing.vocabulary.items():
        arrays[f"{kind}_steps"] = np.diff(counted.keys, prepend=0).astype(np.uint32)
        arrays[f"{kind}_counts"] = small(counted.counts)
        arrays[f"{kind}_tokens"] = small(counted.tokens)
    arrays |= {"map_passages": layouts[0], "map_experts": layouts[1]}
    arrays |= {"written_rows": small(rows), "written_tokens": small(written.tokens)}
    arrays["written_counts"] = small(written.counts)
    facts = {
        "layers": routing.layers,
        "experts": routing.experts.tolist(),
        "chosen": routing.chosen.tolist(),
        "kinds": list(routing.vocabulary),
        "pieces": {str(token): piece for token, piece in routing.pieces.items()},
        "seed": seed,
    }
    words = {
        "weights": routing.weights,
        "file": _model_digest(),
        "corpus": corpus.key,
        "facts": json.dumps(facts),
    }
    data = save({name: np.ascontiguousarray(a) for name, a in arrays.items()}, metadata=words)
    return write_whole(FILE, lzma.compress(data, preset=9 | lzma.PRESET_EXTREME))


def _model_digest() -> str:
    return hashlib.sha256(MODEL.read_bytes()).hexdigest()


def _read() -> tuple[dict[str, np.ndarray], dict[str, str]]:
    """(arrays, words of the header) of the shipped file."""
    data = lzma.decompress(FILE.read_bytes())
    return load(data), header(data)


def _words(arrays: dict[str, np.ndarray], kind: str) -> TokenCounts:
    tokens = arrays[f"{kind}_tokens"].astype(np.int64)
    keys = np.cumsum(arrays[f"{kind}_steps"], dtype=np.int64)
    return TokenCounts(len(tokens), keys, arrays[f"{kind}_counts"].astype(np.int64), tokens)


def _kind(name: str) -> type:
    return np.int64 if name in ("together", "ranked", "positions") else np.int32
