"""The bytes for the browser, taken apart as the browser does."""

import json
import struct

import numpy as np

from moeviz.charts.picture import Picture
from moeviz.ui.components.packet import packed


def unpacked(data: bytes) -> tuple[dict, dict]:
    size = struct.unpack_from("<I", data)[0]
    meta = json.loads(data[4 : 4 + size])
    kinds = {"Uint8Array": "u1", "Uint16Array": "<u2", "Int16Array": "<i2", "Float32Array": "<f4",
             "Int32Array": "<i4"}  # fmt: skip
    arrays = {
        name: np.frombuffer(data, kinds[kind], count, 4 + size + at)
        for name, kind, at, count in meta.pop("arrays")
    }
    return meta, arrays


def test_arrays_and_words_arrive_as_sent():
    sent = {
        "a": np.arange(3, dtype=np.uint8),
        "b": np.array([[1, -2], [3, 4]], np.int16),
        "c": np.array([0.5, -1e9], np.float32),
        "d": np.array([], np.int32),
        "e": np.arange(6, dtype=np.uint16)[::2],  # not contiguous
    }
    meta, arrays = unpacked(packed(Picture({"title": "中文 <b>"}, sent)))
    assert meta == {"title": "中文 <b>"}
    for name, array in sent.items():
        assert arrays[name].tolist() == array.ravel().tolist()
    assert len(arrays) == len(sent)
