"""A trace file gives back the very same trace, and any other file a plain sentence."""

import dataclasses
import hashlib
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from handmade import make_tokens, make_trace, version_1
from safetensors.numpy import load, save_file

import moeviz
from moeviz.lazy import LazyArray
from moeviz.store.files import open_trace, read_trace, trace_bytes
from moeviz.trace import Provenance, RouterSpec, RoutingTrace, Tokens, TraceError


def test_save_then_open_gives_an_equal_trace(tiny_trace, tmp_path):
    path = tiny_trace.save(tmp_path / "a.moetrace")
    again = moeviz.open_trace(path)
    assert again.key == tiny_trace.key
    assert again.facts() == tiny_trace.facts()
    assert again.tokens.vocabulary == tiny_trace.tokens.vocabulary
    for name, array in tiny_trace.arrays().items():
        np.testing.assert_array_equal(again.arrays()[name], array)
        assert again.arrays()[name].dtype == array.dtype


def test_every_script_and_missing_arrays_survive(tiny_trace, tmp_path):
    tokens = make_tokens("ع路e\u0301")
    trace = dataclasses.replace(tiny_trace, tokens=tokens, gates=None, logits=None, loss=None)
    again = open_trace(trace.save(tmp_path / "a.moetrace"))
    assert again.key == trace.key
    assert again.tokens.texts == list("ع路e\u0301")
    assert again.gates is again.logits is again.loss is None
    assert open_trace(tmp_path / "a.moetrace", whole=False).experts[1].tolist()[3] == [2, 0]


def test_the_file_is_readable_without_moeviz(tiny_trace):
    data = trace_bytes(tiny_trace)
    size = int.from_bytes(data[:8], "little")
    metadata = json.loads(data[8 : 8 + size])["__metadata__"]
    assert (metadata["format"], metadata["version"]) == ("moetrace", "2")
    assert metadata["key"] == tiny_trace.key
    assert json.loads(metadata["facts"])["layers"] == [0, 1]
    arrays = load(data)
    np.testing.assert_array_equal(arrays["experts"], tiny_trace.experts)
    np.testing.assert_array_equal(arrays["gates"], tiny_trace.gates)
    assert bytes(arrays["text"]).decode() == "abcd"
    by_hand = hashlib.sha256(tiny_trace.gates[1].astype("<f4").tobytes()).digest()
    assert bytes(arrays["checksums.gates"][1]) == by_hand


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
    metadata = {"format": "moetrace", "version": "3", "header": "{}"}
    save_file({"a": np.zeros(1)}, path, metadata=metadata)
    with pytest.raises(TraceError) as caught:
        open_trace(path)
    assert str(caught.value) == (
        "new.moetrace has trace version '3'; this MoEViz reads versions 1 to 2. Update MoEViz to "
        "open it."
    )


@pytest.mark.parametrize("missing", ["layers", "router", "source", "text", "vocabulary"])
def test_a_header_with_a_part_missing_is_refused(tiny_trace, missing):
    with pytest.raises(TraceError) as caught:
        read_trace(version_1(tiny_trace, without=[missing]), "a.moetrace")
    assert str(caught.value) == "a.moetrace is damaged: part of its header is missing."


def test_an_array_of_the_wrong_shape_is_refused(tiny_trace):
    data = version_1(tiny_trace, {"gates": np.zeros((2, 3, 2), np.float32)})
    with pytest.raises(TraceError, match=r"^a\.moetrace is damaged: gates has shape \(2, 3, 2\)"):
        read_trace(data, "a.moetrace")


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


def test_an_array_of_another_kind_is_refused(tiny_trace):
    data = version_1(tiny_trace, {"experts": tiny_trace.experts.astype(np.float32)})
    with pytest.raises(TraceError) as caught:
        read_trace(data, "a.moetrace")
    assert str(caught.value) == "a.moetrace is damaged: experts is in F32 instead of I16."


def full_trace():
    """Every part that a trace can have, as it was when version_1.safetensors was saved."""
    text = "é路 a<b>\n"
    pieces = {7: "<s>", 300: "Ã©", 301: '▁"\\路', 9: " a<b>", 2**31 - 1: ""}
    tokens = Tokens(
        text, [7, 300, 301, 9, 2**31 - 1], [[-1, -1], [0, 1], [1, 2], [2, 7], [7, 8]],
        [True, False, False, False, False], [False, False, False, False, True], pieces,
    )  # fmt: skip
    ids = [[[5, 0], [0, 3], [1, -1], [2, 4], [0, 1]], [[1, 0], [0, 1], [1, 0], [-1, -1], [0, 1]]]
    logits = np.linspace(-3, 3, 60).reshape(2, 5, 6)
    logits[1, :, 2:] = -np.inf
    return RoutingTrace(
        experts=ids,
        gates=np.where(np.array(ids) < 0, 0, [0.7, 0.1]),
        tokens=tokens,
        router=RouterSpec(
            6, 2, "sigmoid", True, 2.5, True, 3, 2, 1, sites=("a.mlp", "b.mlp"),
            experts_per_layer=(6, 2), chosen_per_layer=(2, 2),
        ),
        source=Provenance(
            "m", "r", "t", "cpu", "float32", (("torch", "2"),), "mute 1", "00", ("Note.",)
        ),
        layers=(0, 3),
        logits=logits,
        scores=np.flip(logits, 1),
        loss=[0.5, 1, 2, 3, np.nan],
    )  # fmt: skip


def test_a_file_of_version_1_gives_the_trace_that_was_saved():
    again = open_trace(Path(__file__).parent / "version_1.safetensors")
    assert again.key == full_trace().key
    assert again.tokens[2].piece == '▁"\\路'
    np.testing.assert_array_equal(again.arrays()["scores"], full_trace().scores)


@pytest.mark.parametrize("whole", [True, False])
def test_every_part_comes_back_whole_or_in_pieces(tmp_path, whole):
    trace = full_trace()
    again = open_trace(trace.save(tmp_path / "a.moetrace"), whole)
    assert isinstance(again.gates, LazyArray) is not whole
    assert (again.key, again.facts()) == (trace.key, trace.facts())
    assert again.tokens.vocabulary == trace.tokens.vocabulary
    for name, array in trace.arrays().items():
        np.testing.assert_array_equal(again.arrays()[name], array)
        assert again.arrays()[name].dtype == array.dtype
    assert open_trace(again.save(tmp_path / "b.moetrace")).key == trace.key


def halves(trace, kind):
    """The trace with gates and logits as a model in float16 or in bfloat16 would make them."""

    def cut(x):
        if kind == "F16":
            return x.astype(np.float16)
        return (x.view(np.uint32) & 0xFFFF0000).view(np.float32) * np.float32(2**-40)

    return dataclasses.replace(trace, gates=cut(trace.gates), logits=cut(trace.logits))


@pytest.mark.parametrize(("kind", "bytes_a_gate"), [("F16", 2), ("BF16", 2), ("F32", 4)])
def test_numbers_take_the_bytes_that_they_need_and_come_back_bit_by_bit(kind, bytes_a_gate):
    trace = full_trace() if kind == "F32" else halves(full_trace(), kind)
    data = trace_bytes(trace)
    size = int.from_bytes(data[:8], "little")
    header = json.loads(data[8 : 8 + size])
    assert (header["gates"]["dtype"], header["logits"]["dtype"]) == (kind, kind)
    assert (header["experts"]["dtype"], header["loss"]["dtype"]) == ("U8", "F32")
    start, end = header["gates"]["data_offsets"]
    assert (end - start) / trace.gates.size == bytes_a_gate
    assert read_trace(data, "a").key == trace.key


def test_ids_up_to_254_take_a_byte_and_larger_ones_two():
    for experts, kind in ((255, "U8"), (256, "I16")):
        trace = make_trace([[[experts - 1, 0], [-1, -1]]], number=experts, text="ab")
        data = trace_bytes(trace)
        assert f'"experts":{{"dtype":"{kind}"'.encode() in data
        np.testing.assert_array_equal(read_trace(data, "a").experts, trace.experts)


def test_a_compact_file_is_that_of_the_rounded_trace_and_says_so(tmp_path):
    trace = full_trace()
    again = open_trace(trace.save(tmp_path / "a.moetrace", compact=True))
    np.testing.assert_array_equal(again.gates, trace.gates.astype(np.float16))
    np.testing.assert_array_equal(again.experts, trace.experts)
    assert again.key != trace.key
    assert again.source.notes == (
        "Note.", "Gates and logits were rounded to float16 when this trace was saved: at most "
        "0.05 % off.",
    )  # fmt: skip
    assert open_trace(again.save(tmp_path / "b.moetrace", compact=True)).key == again.key


def test_a_compact_file_refuses_numbers_beyond_float16(tiny_trace, tmp_path):
    large = dataclasses.replace(tiny_trace, logits=tiny_trace.logits + 1e5)
    with pytest.raises(TraceError) as caught:
        large.save(tmp_path / "a.moetrace", compact=True)
    assert str(caught.value) == (
        "Numbers up to 100,002 do not fit a compact file, which goes up to 65,504. Save the trace "
        "without compact."
    )


FULL = """
import resource, signal, sys
from moeviz.store.files import open_trace
trace = open_trace(sys.argv[1])
resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
try:
    trace.save(sys.argv[1])
except ValueError as error:
    print(error)
"""


def test_where_there_is_no_room_the_old_file_stays_as_it_was(tmp_path):
    path = full_trace().save(tmp_path / "a.moetrace")
    before = path.read_bytes()
    done = subprocess.run(
        [sys.executable, "-c", FULL, path], capture_output=True, text=True, check=True
    )
    assert done.stdout == (
        f"Cannot write {path}: File too large. Nothing was changed there; free some space or "
        "choose another folder.\n"
    )
    assert path.read_bytes() == before
    assert [file.name for file in tmp_path.iterdir()] == ["a.moetrace"]
