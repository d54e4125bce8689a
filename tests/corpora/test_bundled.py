"""The shipped routing is what the demo model does with the atlas, and bound to both."""

import numpy as np
import pytest

import moeviz
from moeviz.corpora import bundled as shipped_files
from moeviz.corpora.atlas import load_atlas
from moeviz.corpora.bundled import bundled
from moeviz.engines.local import route_corpus
from moeviz.models.digest import weights_digest


@pytest.fixture(scope="module")
def model():
    return moeviz.load_model("demo", device="cpu")


def test_a_fresh_run_counts_the_same(model):
    shipped = bundled(load_atlas()).routing
    rows = np.random.default_rng(3).choice(len(shipped.tokens), 12, replace=False)
    fresh = route_corpus(model, load_atlas().where(rows))
    assert np.array_equal(fresh.tokens, shipped.tokens[rows])
    moved = np.abs(fresh.counts - shipped.counts[rows]).sum() / (2 * fresh.counts.sum())
    assert moved < 0.001  # choices that nearly tie
    assert shipped.weights == weights_digest(model.network)


def test_the_totals_fit_the_passages():
    routing = bundled(load_atlas()).routing
    assert (routing.counts.sum(axis=-1) == 2 * routing.tokens[:, None]).all()
    assert np.array_equal(routing.first.sum(axis=-1)[:, 0], routing.tokens)
    for kind in ("input", "predicted"):
        assert routing.vocabulary[kind].counts.sum() == routing.counts.sum()
    assert routing.positions.sum() == routing.counts.sum()
    assert routing.together.sum() == routing.counts.sum()  # top-2: one partner a choice


def test_what_was_written_is_of_the_passages_named():
    shipped = bundled(load_atlas())
    assert np.array_equal(shipped.written.documents, shipped.routing.documents[shipped.rows])
    assert (shipped.written.tokens <= 32).all()
    assert (shipped.written.counts.sum(axis=-1) == 2 * shipped.written.tokens[:, None]).all()


def test_another_corpus_or_other_weights_have_nothing_here(monkeypatch, tmp_path):
    atlas = load_atlas()
    assert bundled(atlas.where(np.arange(10))) is None
    (tmp_path / "model.safetensors").write_bytes(b"other weights")
    monkeypatch.setattr(shipped_files, "MODEL", tmp_path / "model.safetensors")
    assert bundled(atlas) is None
