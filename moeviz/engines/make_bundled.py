"""Counts again what the demo model does with the atlas, lays it out, and writes the file to ship.

python -m moeviz.engines.make_bundled
"""

from __future__ import annotations

from moeviz.corpora.atlas import load_atlas
from moeviz.corpora.bundled import write_bundled
from moeviz.engines.local import KINDS, route_corpus, route_written
from moeviz.models.load import load_model


def main() -> None:
    """Minutes on two cores; the result differs at most where choices nearly tie."""
    from moeviz.metrics.layout import SEED, umap_layout
    from moeviz.metrics.map import expert_features, pca_map, routing_features
    from moeviz.metrics.phases import to_continue

    corpus = load_atlas()
    model = load_model("demo", device="cpu", dtype="float32")
    routing = route_corpus(model, corpus, vocabulary=KINDS, progress=_told)
    rows = to_continue(len(corpus))
    written = route_written(model, corpus.where(rows), progress=_told)
    features = routing_features(routing.counts)
    passages = umap_layout(pca_map(features).reduced, SEED, print)
    experts = umap_layout(pca_map(expert_features(features)[0]).reduced, SEED, print)
    layouts = (passages, experts)
    print(f"Wrote {write_bundled(routing, written, rows, corpus, layouts, SEED)}")


def _told(done: int, of: int) -> None:
    print(f"{done}/{of}", end="\r")


if __name__ == "__main__":
    main()
