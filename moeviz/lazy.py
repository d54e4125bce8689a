"""Arrays that stay in their file until someone looks, and the checksums they are held against.

A trace of a million tokens holds hundreds of millions of choices, and a figure shows one layer or
one token of them. A `LazyArray` reads like a numpy array; what is indexed is read, checked and
handed out, and nothing else is.
"""

from __future__ import annotations

import hashlib
import operator
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from numpy.lib.mixins import NDArrayOperatorsMixin

BLOCK = 16_384
"""Tokens of one layer that are read and checked at once: 0.4 MB at top-8 in 3 bytes a slot."""

CHECKSUM = 32
"""Bytes of a SHA-256."""


class LazyArray(NDArrayOperatorsMixin):
    """[L, T, N] numbers in a file, with the manners of a read-only numpy array.

    Indexing layers and tokens reads only the blocks that hold them. Whatever numpy is asked to do
    with the array as a whole (`array.max()`, `array == 3`, `np.asarray(array)`) reads all of it.

    read: (layer, block) -> [up to BLOCK, N] numbers of `dtype`, checked; it raises for numbers
    that do not check. checksums: [L * blocks, CHECKSUM] uint8, those that `read` holds blocks to.
    """

    def __init__(
        self,
        shape: tuple[int, int, int],
        dtype: np.dtype,
        read: Callable[[int, int], np.ndarray],
        checksums: np.ndarray,
    ):
        self.shape, self.dtype, self.ndim = shape, np.dtype(dtype), len(shape)
        self.size = shape[0] * shape[1] * shape[2]
        self.nbytes = self.size * self.dtype.itemsize
        self.checksums = checksums
        self._read = read

    def __len__(self) -> int:
        return self.shape[0]

    def __iter__(self) -> Iterator[np.ndarray]:
        return (self[layer] for layer in range(len(self)))

    def __getitem__(self, key: Any) -> np.ndarray:
        axes = _per_axis(key, self.ndim)
        if axes is None:
            return np.asarray(self)[key]
        layers, layer_key = _needed(axes[0], self.shape[0])
        tokens, token_key = _needed(axes[1], self.shape[1])
        return self._box(layers, tokens)[(layer_key, token_key, *axes[2:])]

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        whole = self._box(np.arange(self.shape[0]), np.arange(self.shape[1]))
        return whole if dtype is None else whole.astype(dtype, copy=False)

    def __array_ufunc__(self, ufunc: np.ufunc, method: str, *inputs: Any, **options: Any) -> Any:
        read = [np.asarray(x) if isinstance(x, LazyArray) else x for x in inputs]
        return getattr(ufunc, method)(*read, **options)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(f"LazyArray has no {name}.")
        return getattr(np.asarray(self), name)

    def __repr__(self) -> str:
        return f"LazyArray(shape={self.shape}, dtype={self.dtype}, not read before it is indexed)"

    def _box(self, layers: np.ndarray, tokens: np.ndarray) -> np.ndarray:
        """[layers, tokens, N] as a read-only array; tokens ascend."""
        box = np.empty((len(layers), len(tokens), self.shape[2]), self.dtype)
        needed = np.unique(tokens // BLOCK)
        ends = np.searchsorted(tokens, (needed + 1) * BLOCK)
        for place, layer in enumerate(layers.tolist()):
            start = 0
            for block, end in zip(needed.tolist(), ends.tolist(), strict=True):
                box[place, start:end] = self._read(layer, block)[tokens[start:end] - block * BLOCK]
                start = end
        box.setflags(write=False)
        return box


def checksums(array: np.ndarray | LazyArray) -> np.ndarray:
    """[n, CHECKSUM] uint8, the SHA-256 of every block of the array.

    The blocks of [L, T, N] are BLOCK tokens of one layer, layer by layer; another array is one
    block. What is hashed are the numbers as they stand in memory, little-endian.
    """
    if isinstance(array, LazyArray):
        return array.checksums
    sums = b"".join(checksum(block) for block in blocks(array))
    return np.frombuffer(sums, np.uint8).reshape(-1, CHECKSUM)


def checksum(block: np.ndarray) -> bytes:
    """The SHA-256 of one block."""
    ordered = np.ascontiguousarray(block, block.dtype.newbyteorder("<"))
    return hashlib.sha256(ordered.view(np.uint8) if ordered.size else b"").digest()


def blocks(array: np.ndarray | LazyArray) -> Iterator[np.ndarray]:
    """The blocks of an array in the order of their checksums."""
    if array.ndim != 3:
        yield np.asarray(array)
        return
    for layer in range(array.shape[0]):
        for start in range(0, array.shape[1], BLOCK):
            yield array[layer, start : start + BLOCK]


def _per_axis(key: Any, axes: int) -> list | None:
    """One key for each axis; None where numpy had better see the whole array."""
    keys = list(key) if isinstance(key, tuple) else [key]
    if any(each is None or (np.ndim(each) > 1 and np.asarray(each).dtype == bool) for each in keys):
        return None
    gaps = [place for place, each in enumerate(keys) if each is Ellipsis]
    missing = axes - len(keys) + len(gaps)
    if missing < 0 or len(gaps) > 1:
        return None
    at = gaps[0] if gaps else len(keys)
    return [*keys[:at], *[slice(None)] * missing, *keys[at + len(gaps) :]]


def _needed(key: Any, size: int) -> tuple[np.ndarray, Any]:
    """(places along an axis that `key` asks for, ascending; the key that finds them there)."""
    if isinstance(key, slice):
        places = np.arange(size)[key]
        backwards = len(places) > 1 and places[0] > places[1]
        return (places[::-1], slice(None, None, -1)) if backwards else (places, slice(None))
    if np.ndim(key) == 0 and not isinstance(key, bool | np.bool_):
        return np.arange(size)[operator.index(key)].reshape(1), 0
    asked = np.arange(size)[np.asarray(key)]
    places, found = np.unique(asked, return_inverse=True)
    return places, found.reshape(asked.shape)
