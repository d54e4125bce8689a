"""A picture as one run of bytes for the browser: no JSON numbers, no base64.

Layout, little endian: uint32 length of the header; the header, JSON in UTF-8; then each array's
bytes, at the offsets the header gives. `common.js` reads it. The header also holds `told`: how to
read the picture, in pieces, with the meaning of each term of the field.
"""

from __future__ import annotations

import json
import struct

import numpy as np

from moeviz.charts.picture import Picture
from moeviz.ui.terms import told_parts

_KINDS = {"u1": "Uint8Array", "u2": "Uint16Array", "i2": "Int16Array", "i4": "Int32Array",
          "f4": "Float32Array"}  # fmt: skip


def packed(picture: Picture) -> bytes:
    """The picture's bytes; arrays must be of 8 to 32 bit kinds that JavaScript has."""
    parts, described, at = [], [], 0
    for name, array in picture.arrays.items():
        data = np.ascontiguousarray(array, dtype=array.dtype.newbyteorder("<")).tobytes()
        described.append([name, _KINDS[array.dtype.str[1:]], at, array.size])
        parts.append(data)
        at += len(data)
    told = {"told": told_parts(picture.meta["read"])} if "read" in picture.meta else {}
    header = json.dumps({**picture.meta, **told, "arrays": described}, ensure_ascii=False)
    head = header.encode("utf-8", "replace")
    return b"".join([struct.pack("<I", len(head)), head, *parts])
