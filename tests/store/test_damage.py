"""Files that were damaged or made to mislead: a sentence or a valid trace, within little memory."""

import dataclasses
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from handmade import make_trace

import moeviz
from moeviz.lazy import BLOCK
from moeviz.metrics.tokens import token_path
from moeviz.store.files import open_trace, read_trace, trace_bytes
from moeviz.trace import TraceError

DAMAGE = Path(__file__).parent / "damage.py"


@pytest.mark.parametrize(
    ("count", "seed"), [(300, 0), pytest.param(10_000, 1, marks=pytest.mark.slow)]
)
def test_damaged_files_open_as_valid_traces_or_are_refused_in_a_sentence(tmp_path, count, seed):
    command = [sys.executable, DAMAGE, tmp_path, str(count), str(seed)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=1800)
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert sum(told.values()) == count
    assert told["opened"] < 0.2 * count, "damage that is not noticed must be rare"


WRONG = {
    "experts": ([9, 1], "Expert ids run from 0 to 9, but the router has experts 0 to 3 (and -1 for "
                "an empty slot)."),
    "gates": ([np.inf, 0], "Some gates are not finite numbers."),
    "logits": ([1, np.nan, 1, 1], "some logits are not numbers."),
    "scores": ([np.nan] * 4, "some scores are not numbers."),
}  # fmt: skip


@pytest.mark.parametrize("name", WRONG)
@pytest.mark.parametrize("whole", [True, False])
def test_checksums_that_agree_do_not_make_wrong_numbers_right(tmp_path, tiny_trace, name, whole):
    """Whoever writes a file can make its checksums agree; what is shown is checked all the same."""
    row, sentence = WRONG[name]
    trace = dataclasses.replace(tiny_trace, scores=tiny_trace.logits)
    wrong = getattr(trace, name).copy()
    wrong[1, 2] = row
    vars(trace)[name] = wrong
    path = tmp_path / "a.moetrace"
    path.write_bytes(trace_bytes(trace))
    with pytest.raises(TraceError) as caught:
        _ = getattr(open_trace(path, whole), name)[1, 2]
    assert str(caught.value) == f"a.moetrace is damaged: {sentence}"


def test_a_gate_in_an_empty_slot_is_refused_when_it_is_looked_at(tmp_path):
    trace = make_trace([[[0, 1], [2, -1]]], text="ab")
    vars(trace)["gates"] = np.full((1, 2, 2), 0.5, np.float32)
    path = tmp_path / "a.moetrace"
    path.write_bytes(trace_bytes(trace))
    opened = open_trace(path, whole=False)
    assert opened.experts[0, 1].tolist() == [2, -1]
    with pytest.raises(TraceError) as caught:
        _ = opened.gates[0]
    assert str(caught.value) == "a.moetrace is damaged: An empty slot has a gate other than 0."


def test_a_changed_number_is_noticed_where_it_is_looked_at_and_nowhere_else(tmp_path):
    text = "ab" * BLOCK
    ids = np.stack([np.arange(2 * BLOCK) % 4, (np.arange(2 * BLOCK) + 1) % 4], axis=-1)
    trace = make_trace([ids, ids[:, ::-1]], text=text)
    path = trace.save(tmp_path / "a.moetrace")
    data = bytearray(path.read_bytes())
    at = data.index(trace.experts[1].astype(np.uint8).tobytes())
    data[at + 2 * BLOCK + 2] ^= 2  # an id of layer 1, in its second block
    path.write_bytes(data)
    opened = open_trace(path, whole=False)
    np.testing.assert_array_equal(opened.experts[0], ids)
    np.testing.assert_array_equal(opened.experts[1, :BLOCK], ids[:BLOCK, ::-1])
    for whole in (False, True):
        with pytest.raises(TraceError) as caught:
            _ = open_trace(path, whole).experts[1, BLOCK]
        assert str(caught.value) == (
            "a.moetrace is damaged: its experts are not those that were saved."
        )


def test_a_file_that_shrinks_while_it_is_open_is_a_sentence(tmp_path, tiny_trace):
    path = tiny_trace.save(tmp_path / "a.moetrace")
    opened = open_trace(path, whole=False)
    with path.open("r+b") as file:
        file.truncate(1000)
    with pytest.raises(TraceError) as caught:
        _ = opened.gates[0]
    assert str(caught.value) == (
        "a.moetrace can no longer be read: it became shorter while it was open."
    )


def test_a_file_that_is_saved_over_its_own_place_stays_readable(tmp_path, tiny_trace):
    path = tiny_trace.save(tmp_path / "a.moetrace")
    opened = open_trace(path, whole=False)
    assert open_trace(opened.save(path)).key == tiny_trace.key
    np.testing.assert_array_equal(opened.gates, tiny_trace.gates)


@pytest.mark.parametrize(
    ("header", "sentence"),
    [
        (2**62, "its header would be longer than the file, which has 16 bytes"),
        (b"[]", "its header is no object"),
        (b'{"a":1,"a":2}', "its header says something twice"),
        (b'{"a":{"dtype":"U8","shape":[4],"data_offsets":[0,4]},'
         b'"b":{"dtype":"U8","shape":[4],"data_offsets":[2,6]}}',
         "b does not lie where its shape and the other arrays put it"),
        (b'{"a":{"dtype":"F32","shape":[-1],"data_offsets":[0,8]}}', "a has the shape [-1]"),
        (b'{"a":{"dtype":"U8","shape":[8,8,8,8],"data_offsets":[0,8]}}',
         "a has the shape [8, 8, 8, 8]"),
        (b'{"a":{"dtype":"U8","shape":[NaN],"data_offsets":[0,8]}}',
         "its header has NaN in the place of a number"),
        (b'{"a":{"dtype":"U8","shape":[9],"data_offsets":[0,8]}}',
         "a does not lie where its shape and the other arrays put it"),
        (b"{}", "it has 18 bytes, and its header speaks of 10"),
    ],
)  # fmt: skip
def test_what_a_header_claims_is_held_against_the_file(header, sentence):
    if isinstance(header, bytes):
        data = len(header).to_bytes(8, "little") + header + bytes(8)
    else:
        data = header.to_bytes(8, "little") + bytes(8)
    with pytest.raises(TraceError) as caught:
        read_trace(data, "a")
    assert str(caught.value) == f"a is not a trace file: {sentence}."


def test_figures_of_a_trace_that_stays_in_its_file_are_those_of_the_trace(tmp_path, tiny_trace):
    opened = open_trace(tiny_trace.save(tmp_path / "a.moetrace"), whole=False)
    for options in ({"kind": "load"}, {"kind": "tokens", "layer": 1}, {"kind": "journey"}):
        assert opened.plot(**options).to_json() == tiny_trace.plot(**options).to_json()
    assert opened._repr_html_() == tiny_trace._repr_html_()
    np.testing.assert_array_equal(moeviz.balance(opened).cv, moeviz.balance(tiny_trace).cv)
    rule = moeviz.CapacityRule(factor=1.0)
    dropped = moeviz.overflow(tiny_trace, rule).dropped
    np.testing.assert_array_equal(moeviz.overflow(opened, rule).dropped, dropped)


def test_the_path_of_one_token_reads_one_block_of_each_layer(tmp_path):
    text = "ab" * BLOCK
    ids = np.stack([np.arange(2 * BLOCK) % 4, (np.arange(2 * BLOCK) + 1) % 4], axis=-1)
    path = make_trace([ids, ids], text=text).save(tmp_path / "a.moetrace")
    data = bytearray(path.read_bytes())
    at = data.index(ids[:BLOCK].astype(np.uint8).tobytes())
    data[at] ^= 2  # the first block of layer 0, which token 20,000 has no part in
    path.write_bytes(data)
    opened = open_trace(path, whole=False)
    assert token_path(opened, 20_000).experts.tolist() == [[0, 1], [0, 1]]
    with pytest.raises(TraceError):
        token_path(opened, 0)
