"""A trace file gives back the very same trace, and any other file a plain sentence."""

import dataclasses
import json

import numpy as np
import pytest
from handmade import make_tokens
from safetensors.numpy import save_file

import moeviz
from moeviz.store.files import open_trace, read_trace, trace_bytes
from moeviz.trace import TraceError


def test_save_then_open_gives_an_equal_trace(tiny_trace, tmp_path):
    path = tiny_trace.save(tmp_path / "a.moetrace")
    again = moeviz.open_trace(path)
    assert again.key == tiny_trace.key
    assert again.header() == tiny_trace.header()
    for name, array in tiny_trace.arrays().items():
        np.testing.assert_array_equal(again.arrays()[name], array)
        assert again.arrays()[name].dtype == array.dtype


def test_every_script_and_missing_arrays_survive(tiny_trace, tmp_path):
    tokens = make_tokens("ع路e\u0301")
    trace = dataclasses.replace(tiny_trace, tokens=tokens, logits=None, loss=None)
    again = open_trace(trace.save(tmp_path / "a.moetrace"))
    assert again.key == trace.key
    assert again.tokens.texts == list("ع路e\u0301")
    assert again.logits is None
    assert again.loss is None


def test_the_header_is_readable_without_moeviz(tiny_trace):
    data = trace_bytes(tiny_trace)
    size = int.from_bytes(data[:8], "little")
    metadata = json.loads(data[8 : 8 + size])["__metadata__"]
    assert (metadata["format"], metadata["version"]) == ("moetrace", "1")
    assert json.loads(metadata["header"])["layers"] == [0, 1]


def test_nothing_is_left_beside_the_file(tiny_trace, tmp_path):
    tiny_trace.save(tmp_path / "a.moetrace")
    assert [path.name for path in tmp_path.iterdir()] == ["a.moetrace"]


def test_a_folder_that_is_missing_is_named(tiny_trace, tmp_path):
    with pytest.raises(TraceError) as caught:
        tiny_trace.save(tmp_path / "no" / "a.moetrace")
    assert str(caught.value) == (
        f"Cannot write {tmp_path / 'no' / 'a.moetrace'}: No such file or directory."
    )


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(TraceError) as caught:
        open_trace(tmp_path / "b.moetrace")
    assert str(caught.value) == f"There is no file {tmp_path / 'b.moetrace'}."


@pytest.mark.parametrize("content", [b"", b"hello", b"\xff" * 64, b"\x08\0\0\0\0\0\0\0{}{}{}{}"])
def test_a_file_of_another_kind_is_refused(tmp_path, content):
    path = tmp_path / "a.moetrace"
    path.write_bytes(content)
    with pytest.raises(TraceError, match=r"^a\.moetrace is not a trace file: "):
        open_trace(path)


def test_weights_are_not_a_trace(tmp_path):
    path = tmp_path / "model.safetensors"
    save_file({"weight": np.zeros(3)}, path)
    with pytest.raises(TraceError) as caught:
        open_trace(path)
    assert str(caught.value) == ("model.safetensors is a safetensors file, but not a MoEViz trace.")


def test_a_newer_version_is_refused_by_number(tiny_trace, tmp_path):
    path = tmp_path / "new.moetrace"
    metadata = {"format": "moetrace", "version": "2", "header": "{}"}
    save_file({"a": np.zeros(1)}, path, metadata=metadata)
    with pytest.raises(TraceError) as caught:
        open_trace(path)
    assert str(caught.value) == (
        "new.moetrace has trace version '2'; this MoEViz reads version 1. Update MoEViz to open it."
    )


@pytest.mark.parametrize("missing", ["layers", "router", "source", "text", "vocabulary"])
def test_a_header_with_a_part_missing_is_refused(tiny_trace, tmp_path, missing):
    path = tmp_path / "a.moetrace"
    header = {name: value for name, value in tiny_trace.header().items() if name != missing}
    metadata = {"format": "moetrace", "version": "1", "header": json.dumps(header)}
    save_file(tiny_trace.arrays(), path, metadata=metadata)
    with pytest.raises(TraceError) as caught:
        open_trace(path)
    assert str(caught.value) == "a.moetrace is damaged: part of its header is missing."


def test_an_array_of_the_wrong_shape_is_refused(tiny_trace, tmp_path):
    path = tmp_path / "a.moetrace"
    arrays = {**tiny_trace.arrays(), "gates": np.zeros((2, 3, 2), np.float32)}
    metadata = {"format": "moetrace", "version": "1", "header": json.dumps(tiny_trace.header())}
    save_file(arrays, path, metadata=metadata)
    with pytest.raises(TraceError, match=r"^a\.moetrace is damaged: gates has shape \(2, 3, 2\)"):
        open_trace(path)


def test_logits_of_a_layer_may_be_unknown_but_not_of_a_single_expert(tiny_trace, tmp_path):
    logits = tiny_trace.logits.copy()
    logits[1] = np.nan
    known = dataclasses.replace(tiny_trace, logits=logits)
    assert open_trace(known.save(tmp_path / "a.moetrace")).key == known.key
    logits[0, 2, 1] = np.nan
    odd = dataclasses.replace(tiny_trace, logits=logits)
    with pytest.raises(TraceError) as caught:
        open_trace(odd.save(tmp_path / "a.moetrace"))
    assert str(caught.value) == "a.moetrace is damaged: some logits are not numbers."


def test_an_array_of_another_kind_is_refused(tiny_trace, tmp_path):
    path = tmp_path / "a.moetrace"
    arrays = {**tiny_trace.arrays(), "experts": tiny_trace.experts.astype(np.float32)}
    metadata = {"format": "moetrace", "version": "1", "header": json.dumps(tiny_trace.header())}
    save_file(arrays, path, metadata=metadata)
    with pytest.raises(TraceError) as caught:
        open_trace(path)
    assert (
        str(caught.value)
        == "a.moetrace is damaged: experts holds float32 numbers instead of int16."
    )


def test_a_file_with_bytes_changed_opens_or_is_refused_in_a_sentence(tiny_trace):
    """Whatever happened to it on its way: no other error, and no trace that does not check."""
    whole, rng, refused = trace_bytes(tiny_trace), np.random.default_rng(0), 0
    for _ in range(400):
        data = bytearray(whole)
        for at in rng.integers(0, len(data), rng.integers(1, 4)):
            data[at] = rng.integers(0, 256)
        try:
            read_trace(bytes(data[: rng.integers(len(data) - 20, len(data) + 1)]), "a.moetrace")
        except TraceError as error:
            assert str(error).startswith("a.moetrace ")
            assert str(error).endswith(".")
            refused += 1
    assert refused > 200
