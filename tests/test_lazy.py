"""An array that stays in its file reads like the array itself, and only where it is looked at."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from moeviz import lazy
from moeviz.lazy import LazyArray, checksums

WHOLE = np.arange(3 * 11 * 2, dtype=np.float32).reshape(3, 11, 2)


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch):
    monkeypatch.setattr(lazy, "BLOCK", 4)


def stored(seen=None) -> LazyArray:
    """WHOLE, and in `seen` which blocks of it were read."""

    def read(layer: int, block: int) -> np.ndarray:
        if seen is not None:
            seen.append((layer, block))
        return WHOLE[layer, 4 * block : 4 * block + 4]

    return LazyArray(WHOLE.shape, WHOLE.dtype, read, checksums(WHOLE))


@settings(max_examples=300, deadline=None)
@given(arrays.basic_indices(WHOLE.shape, allow_ellipsis=True, allow_newaxis=True))
def test_slices_and_numbers_read_what_numpy_reads(key):
    lazy.BLOCK = 4
    found = stored()[key]
    np.testing.assert_array_equal(found, WHOLE[key])
    assert np.shape(found) == WHOLE[key].shape


places = st.lists(st.integers(-3, 2), min_size=1, max_size=5).map(np.array)


@settings(max_examples=200, deadline=None)
@given(places, st.one_of(st.integers(-11, 10), st.slices(11), st.just(Ellipsis)))
def test_lists_of_layers_read_what_numpy_reads(layers, tokens):
    lazy.BLOCK = 4
    for key in ((layers, tokens), (layers > 0, tokens)):
        if key[0].dtype != bool or len(layers) == 3:
            np.testing.assert_array_equal(stored()[key], WHOLE[key])


@pytest.mark.parametrize(
    "key",
    [
        (1, [9, 0, 9]), (slice(None), [3, -1], 0), ([0, 2], [10, 1], [0, 1]), WHOLE > 20,
        (np.array([[0], [2]]), np.array([[1, 5]])), (WHOLE[:, 0, 0] > 5, slice(None), 1),
        (np.int64(2), np.arange(11) % 2 == 0), (0, np.array([], int)),
    ],
)  # fmt: skip
def test_lists_and_masks_read_what_numpy_reads(key):
    np.testing.assert_array_equal(stored()[key], WHOLE[key])


@pytest.mark.parametrize("key", [3, (0, 11), (0, 0, 2), (0, 0, 0, 0), (0, [11]), "a", 1.5])
def test_what_numpy_refuses_is_refused(key):
    with pytest.raises(IndexError):
        WHOLE[key]
    with pytest.raises((IndexError, TypeError)):
        stored()[key]


def test_only_the_blocks_that_are_asked_for_are_read():
    seen = []
    array = stored(seen)
    assert (array.shape, array.size, array.nbytes, len(array)) == (WHOLE.shape, 66, 264, 3)
    assert seen == []
    _ = array[:, 5]
    assert seen == [(0, 1), (1, 1), (2, 1)]
    seen.clear()
    _ = array[2, [0, 10]]
    assert seen == [(2, 0), (2, 2)]


def test_numpy_sees_the_whole_array():
    array = stored()
    np.testing.assert_array_equal(np.asarray(array), WHOLE)
    np.testing.assert_array_equal(array == 5, WHOLE == 5)
    np.testing.assert_array_equal(2 * array + array, 3 * WHOLE)
    np.testing.assert_array_equal(np.sort(array, axis=1), WHOLE)
    np.testing.assert_array_equal(np.concatenate([array, array], 1)[:, 11:], WHOLE)
    np.testing.assert_array_equal(array.astype(int).sum(axis=2), WHOLE.sum(axis=2))
    np.testing.assert_array_equal(np.stack(list(array)), WHOLE)
    assert (array.max(), np.mean(array)) == (65, WHOLE.mean())
    with pytest.raises(ValueError, match="read-only"):
        array[0][0, 0] = 1


def test_checksums_go_by_block_and_tell_numbers_apart():
    whole = checksums(WHOLE)
    assert whole.shape == (9, 32)
    other = WHOLE.copy()
    other[1, 10] += 1
    assert (checksums(other) != whole).any(axis=1).tolist() == [False] * 5 + [True] + [False] * 3
    assert checksums(WHOLE[0, 0]).shape == (1, 32)
