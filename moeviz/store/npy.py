"""numpy's own files, read without ever unpickling and without making room on a header's word."""

from __future__ import annotations

import io
import zipfile
from tokenize import TokenError

import numpy as np

from moeviz.trace import TraceError

MOST_UNPACKED = 2**30
"""Bytes that the arrays of one .npz may unpack to."""

_HEADERS = {
    (1, 0): np.lib.format.read_array_header_1_0,
    (2, 0): np.lib.format.read_array_header_2_0,
}


def npy_array(data: bytes, name: str = "The file") -> np.ndarray:
    """The array of a .npy file; raises TraceError for another file and for pickled objects.

    name: of the array, for errors. np.load would first make room for whatever the header says.
    """
    file = io.BytesIO(data)
    try:
        shape, fortran, kind = _HEADERS[np.lib.format.read_magic(file)](file)
    except (ValueError, KeyError, SyntaxError, TypeError, RecursionError, TokenError) as error:
        raise TraceError(f"{name} is not a .npy file, or it is damaged.") from error
    if kind.hasobject:
        raise TraceError(f"{name} holds pickled objects, which are never opened.")
    rest = memoryview(data)[file.tell() :]
    size = int(np.prod(shape, dtype=object))
    if size * kind.itemsize != len(rest):
        raise TraceError(
            f"{name} should hold {size * kind.itemsize:,} bytes of numbers, by its header, but "
            f"holds {len(rest):,}. It was cut off or changed."
        )
    return np.frombuffer(rest, kind).reshape(shape, order="F" if fortran else "C")


def npz_arrays(data: bytes) -> dict[str, np.ndarray]:
    """The arrays of a .npz file by name; raises TraceError where one cannot be read."""
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as held:
            parts = [part for part in held.infolist() if part.filename.endswith(".npy")]
            unpacked = sum(part.file_size for part in parts)
            if unpacked > MOST_UNPACKED:
                raise TraceError(
                    f"The file unpacks to {unpacked / 1e6:,.0f} MB, but at most "
                    f"{MOST_UNPACKED / 1e6:,.0f} MB are read. Save a part of the tokens."
                )
            return {
                part.filename.removesuffix(".npy"): npy_array(held.read(part), part.filename)
                for part in parts
            }
    except TraceError:
        raise
    except Exception as error:  # zipfile and what unpacks for it raise whatever they meet
        raise TraceError("The file is not a .npz file, or it is damaged.") from error
