"""Corpus to shards to windows: nothing lost, proportions as asked, resumable."""

import numpy as np
import pytest

from moeviz.training.batches import END, Windows
from moeviz.training.data import build_shards, group_weights, load_shards


def test_shards_hold_every_document(shards, corpus):
    groups = {(g.language, g.domain): g for g in shards.groups}
    assert set(groups) == {("code", "python"), ("de", "tales"), ("en", "tales")}
    for group in shards.groups:
        tokens = shards.of(group)
        assert (tokens == END).sum() == group.documents == 20
        assert tokens[0] == END
        text = shards.tokenizer.decode(tokens.tolist(), skip_special_tokens=True)
        assert len(text.encode()) == group.bytes


def test_shards_come_back_from_disk(shards, corpus, tmp_path):
    build_shards(corpus, tmp_path, vocab_size=300)
    again = load_shards(tmp_path)
    assert again.groups == shards.groups
    np.testing.assert_array_equal(again.tokens, shards.tokens)


def test_a_shard_that_does_not_fit_its_index_is_refused(corpus, tmp_path):
    build_shards(corpus, tmp_path, vocab_size=300)
    index = tmp_path / "shards.json"
    index.write_text(index.read_text().replace('"tokens": ', '"tokens": 1'))
    with pytest.raises(ValueError, match=r"promises \d+ tokens, tokens\.bin\.xz has \d+"):
        load_shards(tmp_path)


def test_a_folder_without_corpus_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"has no train-\*\.jsonl\.xz\. Give --corpus"):
        build_shards(tmp_path, tmp_path, vocab_size=300)


def test_group_weights_by_hand():
    np.testing.assert_allclose(group_weights([1, 9], 0.5), [0.25, 0.75])
    np.testing.assert_allclose(group_weights([1, 9], 0.0), [0.5, 0.5])
    np.testing.assert_allclose(group_weights([1, 9], 1.0), [0.1, 0.9])


def test_windows_start_with_end_and_read_on(shards):
    windows = Windows(shards, flatness=0.6, seed=0)
    first, second = windows._next(0, 10), windows._next(0, 10)
    assert first[0] == second[0] == END
    tokens = shards.of(shards.groups[0])
    np.testing.assert_array_equal(np.concatenate([first[1:], second[1:]]), tokens[:20])


def test_windows_begin_a_used_up_group_again(shards):
    windows = Windows(shards, flatness=0.6, seed=0)
    tokens = shards.of(shards.groups[0])
    windows.read[0] = len(tokens) - 1
    np.testing.assert_array_equal(windows._next(0, 3)[1:], [tokens[-1], tokens[0], tokens[1]])


def test_windows_go_on_after_restore(shards):
    windows = Windows(shards, flatness=0.6, seed=1)
    windows.draw(5, 16)
    kept = windows.state
    expected = windows.draw(7, 16)
    fresh = Windows(shards, flatness=0.6, seed=99)
    fresh.restore(kept)
    np.testing.assert_array_equal(fresh.draw(7, 16), expected)
