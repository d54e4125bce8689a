"""Files of recorded routing: read as they are meant, and refused in a whole sentence."""

import io
import json
import pickle
import zipfile

import numpy as np
import pandas as pd
import pytest
from handmade import make_tokens
from hypothesis import assume, given, settings
from hypothesis import strategies as st

import moeviz
from moeviz.metrics.table import routing_csv, routing_parquet
from moeviz.store import npy, table
from moeviz.store.arrays import routing_from
from moeviz.store.npy import npy_array
from moeviz.store.readers import SUFFIXES, read_routing, recorded_trace
from moeviz.store.record import Told, Untold
from moeviz.trace import TraceError


def drawn(tokens: int, layers: int, experts: int, chosen: int, seed: int = 0) -> np.ndarray:
    """Choices [T, L, K] of a router that has no preferences."""
    ranking = np.random.default_rng(seed).random((tokens, layers, experts)).argsort(axis=-1)
    return ranking[..., :chosen]


CHOICES = drawn(12, 4, 8, 2)


def saved(array: np.ndarray) -> bytes:
    file = io.BytesIO()
    np.save(file, array)
    return file.getvalue()


def zipped(**arrays) -> bytes:
    file = io.BytesIO()
    np.savez_compressed(file, **arrays)
    return file.getvalue()


def rows(experts: np.ndarray, head: str = "token,layer,slot,expert", first: int = 0) -> bytes:
    """A CSV with a row for each choice of [T, L, K]."""
    lines = [f"{t + first},{layer},{k},{e}" for (t, layer, k), e in np.ndenumerate(experts)]
    return "\n".join([head, *lines]).encode()


def executed(experts: np.ndarray, batches: list[int], last: bool = True) -> bytes:
    """What moe-trace prints: batch by batch, layer by layer; last: the last layer runs for all."""
    lines, start = [], 0
    for size in batches:
        for layer in range(experts.shape[1]):
            whole = last or layer < experts.shape[1] - 1
            for token in range(start if whole else start + size - 1, start + size):
                lines += [f"{layer},{expert}" for expert in experts[token, layer]]
        start += size
    return ("\n".join(lines) + "\n").encode()


def read(data: bytes, name: str, **told):
    return recorded_trace(data, name, Told(**told))


def refusal(data: bytes, name: str, **told) -> str:
    with pytest.raises(TraceError) as caught:
        read(data, name, **{"num_experts": 8, **told})
    return str(caught.value)


@pytest.mark.parametrize("kind", [np.uint8, np.int16, np.int32, np.uint16, ">i4"])
def test_npy_of_any_whole_numbers(kind, tmp_path):
    np.save(tmp_path / "a.npy", CHOICES.astype(kind))
    trace = moeviz.read_routing(tmp_path / "a.npy", num_experts=8, model="a/b")
    np.testing.assert_array_equal(trace.experts, CHOICES.transpose(1, 0, 2))
    assert trace.source.model == "a/b"
    np.save(tmp_path / "f.npy", np.asfortranarray(CHOICES))
    assert (read_routing(tmp_path / "f.npy", num_experts=8).experts == trace.experts).all()


def test_npz_tells_what_it_holds():
    gates = np.linspace(1, 2, CHOICES.size, dtype=np.float32).reshape(CHOICES.shape)
    data = zipped(
        routed_experts=CHOICES, gates=gates, token_ids=np.arange(13), num_experts=8, prompt=5,
        texts=np.array([f" w{n}" for n in range(13)]), layers=np.array([1, 2, 4, 5]),
    )  # fmt: skip
    trace = read(data, "a.npz")
    assert trace.layers == (1, 2, 4, 5)
    assert trace.tokens.texts == [f" w{n}" for n in range(12)]
    assert trace.tokens.generated.tolist() == [False] * 5 + [True] * 7
    np.testing.assert_array_equal(trace.experts, CHOICES.transpose(1, 0, 2)[..., ::-1])
    np.testing.assert_array_equal(trace.gates, gates.transpose(1, 0, 2)[..., ::-1])


def test_our_own_tables_come_back(tiny_trace):
    for data, name in (
        (routing_csv(tiny_trace), "a.csv"),
        (routing_parquet(tiny_trace), "a.parquet"),
    ):
        trace = read(data, name, num_experts=4)
        np.testing.assert_array_equal(trace.experts, tiny_trace.experts)
        np.testing.assert_allclose(trace.gates, tiny_trace.gates, rtol=1e-6)
        np.testing.assert_allclose(trace.loss, tiny_trace.loss, rtol=1e-6)
        assert trace.tokens.source == "abcd"
        assert trace.tokens.ids.tolist() == [0, 1, 2, 3]
        assert trace.source.model == "by hand"
        assert trace.source.notes == ()


def test_words_that_look_like_nothing_stay_words():
    lines = [
        f'{t},0,{t % 8},"{word}"' for t, word in enumerate(["NA", "null", "", "nan", '""', "1"])
    ]
    trace = read("\n".join(["token,layer,expert,text", *lines]).encode(), "a.csv", num_experts=8)
    assert trace.tokens.source == 'NAnullnan"1'


def test_pieces_of_one_character_are_put_down_once():
    trace = routing_from(CHOICES[:4], 8, tokens=[5, 6, 6, 8], texts=["a", "é", "é", "b"])
    assert trace.tokens.source == "aééb"
    trace = routing_from(CHOICES[:4], 8, tokens=[5, 6, 7, 8], texts=["a", "é", "é", "b"])
    assert trace.tokens.source == "aéb"
    assert trace.tokens.texts == ["a", "é", "é", "b"]


@pytest.mark.parametrize("head", ["token,layer,slot,expert", "step,layer,rank,expert"])
def test_a_table_of_choices_under_either_name(head):
    trace = read(rows(CHOICES, head, first=7), "a.csv", num_experts=8)
    np.testing.assert_array_equal(trace.experts, CHOICES.transpose(1, 0, 2))
    assert trace.gates is None


def test_without_a_slot_the_order_of_rows_tells_it():
    lines = [f"{t},{layer},{e}" for (t, layer, _), e in np.ndenumerate(CHOICES)]
    trace = read("\n".join(["token,layer,expert", *lines]).encode(), "a.csv", num_experts=8)
    np.testing.assert_array_equal(trace.experts, CHOICES.transpose(1, 0, 2))


def test_a_route_trace_tells_its_experts_and_keeps_unknown_weights_unknown():
    """As github.com/Helldez/BigMoeOnEdge writes it, docs of --route-trace."""
    head = (
        "# route_trace v1\n# model=/models/qwen.gguf arch=qwen3moe n_layer=4 n_expert=8 "
        "n_expert_used=2\n# layer=0 expert_bytes=1802240 dense_bytes=46448640\n"
        "turn,phase,step,layer,slot,expert,weight,residency,expert_bytes\n"
    )
    lines = [
        f"0,{int(t > 8)},{t},{layer},{k},{e},nan,1,1802240"
        for (t, layer, k), e in np.ndenumerate(CHOICES)
    ]
    trace = read((head + "\n".join(lines)).encode(), "route.csv")
    assert trace.shape == (4, 12, 8, 2)
    assert trace.gates is None
    assert trace.source.model == "qwen.gguf"
    assert trace.tokens.generated.tolist() == [False] * 9 + [True] * 3
    known = (head + "\n".join(lines)).replace("nan", "0.5").encode()
    assert (read(known, "route.csv").gates == 0.5).all()
    assert refusal((head + "\n".join(lines)).encode(), "route.csv", num_experts=9) == (
        "route.csv: The file says num_experts is 8, but 9 was given."
    )


@pytest.mark.parametrize("batches", [[12], [8, 4], [9, 1, 1, 1], [1] * 12])
def test_bare_rows_are_put_together_from_their_batches(batches):
    trace = read(executed(CHOICES, batches), "moe_trace.csv", num_experts=8, chosen=2)
    np.testing.assert_array_equal(trace.experts, CHOICES.transpose(1, 0, 2))
    assert trace.source.versions == (("recorded by", "llama.cpp's moe-trace"),)


def test_the_last_layer_that_llama_runs_for_few_tokens_is_left_out():
    trace = read(executed(CHOICES, [9, 1, 1, 1], last=False), "a.csv", num_experts=8, chosen=2)
    np.testing.assert_array_equal(trace.experts, CHOICES[:, :3].transpose(1, 0, 2))
    assert trace.layers == (0, 1, 2)
    assert trace.source.notes[0] == (
        "Layer 3 is left out: llama.cpp runs its last layer only where it predicts, so 8 tokens "
        "have no routing there."
    )
    lines = [
        f"{t},{layer},{k},{e}"
        for (t, layer, k), e in np.ndenumerate(CHOICES)
        if layer < 3 or t >= 8
    ]
    table = "\n".join(["token,layer,rank,expert", *lines]).encode()
    trace = read(table, "a.csv", num_experts=8)
    assert trace.layers == (0, 1, 2)
    assert trace.source.notes[0] == (
        "Layer 3 is left out: 8 of 12 tokens have no routing there (llama.cpp runs its last layer "
        "only where it predicts)."
    )


def test_moe_trace_without_the_stride_is_refused():
    ranking = drawn(1, 8, 16, 16)[0]
    cut = ranking.reshape(8, 8, 2).transpose(1, 0, 2)
    assert refusal(executed(cut, [8]), "a.csv", num_experts=16, chosen=2) == (
        "a.csv: In every layer the first 8 tokens share no expert. That is one token's ranking of "
        "all experts, cut into pieces, and not what the tokens chose: early versions of "
        "llama.cpp's moe-trace (pull request 28544) read it so. Record it again with a version "
        "that minds the stride."
    )


@pytest.mark.parametrize(
    ("data", "name", "wanted", "question"),
    [
        (saved(CHOICES), "a.npy", "num_experts", "How many experts does a layer have? The file "
         "does not say; the highest number in it is 7."),
        (executed(CHOICES, [9, 3]), "a.csv", "chosen", "How many experts does a token take? The "
         "rows do not say; they come in multiples of 6."),
    ],
)  # fmt: skip
def test_what_the_file_does_not_say_is_asked(data, name, wanted, question):
    with pytest.raises(Untold) as caught:
        read(data, name)
    assert str(caught.value) == f"{name}: {question}"
    assert caught.value.wanted == wanted


def broken_archive() -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as held:
        held.writestr("experts.npy", b"no array")
    return file.getvalue()


ZEROS = (
    "The array holds nothing but zeros. Some engines hand out a buffer that their kernels never "
    "wrote to (vLLM issue 54730): try another version, or another MoE backend."
)


@pytest.mark.parametrize(
    ("name", "data", "sentence"),
    [
        ("a.npy", b"", "The file is empty."),
        ("a.npy", b"hello", "The file is not a .npy file, or it is damaged."),
        ("a.npy", saved(CHOICES)[:-8], "The file should hold 768 bytes of numbers, by its header, "
         "but holds 760. It was cut off or changed."),
        ("a.npy", saved(np.array([[1], [2, 3]], object)), "The file holds pickled objects, which "
         "are never opened."),
        ("a.npy", saved(CHOICES * 0), ZEROS),
        ("a.npy", saved(CHOICES[..., 0]), "The array has shape (12, 4); [tokens, layers, top-k] is "
         "needed, each at least 1."),
        ("a.npz", b"PK\3\4 and no more", "The file is not a .npz file, or it is damaged."),
        ("a.npz", broken_archive(), "experts.npy is not a .npy file, or it is damaged."),
        ("a.npz", zipped(logits=CHOICES, other=CHOICES), "There is no array called experts or "
         "routed_experts, but logits, other."),
        ("a.npz", zipped(experts=CHOICES, num_experts=np.array([8, 8])), "num_experts must be one "
         "whole number, not 2 of int64."),
        ("a.npz", zipped(experts=CHOICES, token_ids=np.arange(20)), "The array has 12 rows, but "
         "the text has 20 tokens, which need 20 rows, or 19 without the last. Give all tokens, "
         "prompt and continuation, and the place where the rows start."),
        ("a.csv", b"a,b\n1,2\n", "A table of routing has the columns token, layer and expert; this "
         "one lacks token and layer and expert, and has a, b."),
        ("a.csv", b"token,layer,expert\n", "The table has no rows."),
        ("a.csv", b"token,layer,expert\n0,0,1.5\n", "Column expert must hold whole numbers from 0 "
         "on, and holds 1.5 in row 1."),
        ("a.csv", b"token,layer,expert\n0,0,-1\n", "Column expert must hold whole numbers from 0 "
         "on, and holds -1 in row 1."),
        ("a.csv", b"token,layer,expert\n0,0,one\n", "Column expert must hold whole numbers from 0 "
         "on, and holds one in row 1."),
        ("a.csv", b"token,layer,expert\n\xff\xff,0,1\n", "It is not a table in UTF-8, or it is "
         "damaged."),
        ("a.csv", b"token,layer,expert\n0,0,1\n5,0,1\n", "Tokens 1 to 4 have no rows, but tokens "
         "before and after them have. Rows are missing, or token does not count the tokens of one "
         "text."),
        ("a.csv", b"token,layer,slot,expert\n0,3,0,1\n0,3,0,2\n", "Token 0 has two rows for slot 0 "
         "of layer 3. Two runs, or the ranks of one, are in this table: keep one, or merge them."),
        ("a.csv", b"token,layer,slot,expert\n0,0,9999999,1\n", "The table has 1 rows, which leave "
         "most of 1 tokens, 1 layers and 10,000,000 choices empty. Rows are missing."),
        ("a.csv", b"turn,step,layer,expert\n0,0,0,1\n1,0,0,1\n", "The table holds 2 turns, but a "
         "trace is of one text read once. Keep the rows of one."),
        ("a.csv", b"model,token,layer,expert\na,0,0,1\nb,1,0,1\n", "The table holds 2 models, but "
         "a trace is of one text read once. Keep the rows of one."),
        ("a.csv", b"phase,token,layer,expert\ndecode,0,0,1\nprefill,1,0,1\n", "Tokens of the "
         "prompt stand behind generated ones in this table."),
        ("a.csv", b"token,layer,expert,gate\n0,0,1,0.5\n1,0,1,\n", "1 of 2 gates are no numbers. "
         "Leave the column out, or fill it."),
        ("a.csv", rows(CHOICES)[:-4], "Column expert must hold whole numbers from 0 on, and holds "
         "nothing in row 96."),
        ("a.csv", rows(CHOICES)[:-8], "Token 11 in routed layer 3 (both counted from 0) has 1 of 2 "
         "slots that were not recorded (-1), as have 1 of 12 tokens in some layer. Where each rank "
         "records its own experts or tokens, merge the ranks first."),
        ("a.csv", b"0,1\n0\n", "Its rows are not all a layer and an expert, two whole numbers; the "
         "file may be cut off."),
        ("a.csv", b"-1,1\n-1,2\n", "Rows of 2 numbers from -1 on are no layers and experts; two, "
         "from 0 on, are needed."),
        ("a.csv", executed(CHOICES, [12])[:-8], "Row 73 begins 22 rows of layer 3, which are not "
         "whole tokens of 4 choices. Check how many experts a token takes."),
        ("a.csv", b"0,1\n" * 8 + b"1,1\n" * 4 + b"2,1\n" * 8, "The layers of a batch do not all "
         "have the same number of tokens: layer 0 2, layer 1 1, layer 2 2. Check how many experts "
         "a token takes, and that the file is whole."),
        ("a.parquet", b"PAR1 no", "It is not a Parquet file, or it is damaged."),
        ("a.txt", b"x", "is not a record that can be read: give .npy, .npz, .csv or .parquet."),
        ("a.pkl", pickle.dumps([1]), "is a pickle, and opening one may run code that it brings. "
         "Save the array with numpy.save, or with numpy.savez under the name experts."),
    ],
)  # fmt: skip
def test_what_is_no_record_is_refused_in_a_sentence(name, data, sentence):
    told = {"chosen": 4} if data.startswith((b"0,", b"-1,")) else {}
    between = " " if sentence.startswith("is ") else ": "
    assert refusal(data, name, **told) == f"{name}{between}{sentence}"


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(TraceError) as caught:
        read_routing(tmp_path / "b.npy")
    assert str(caught.value) == f"Cannot read {tmp_path / 'b.npy'}: No such file or directory."


def test_no_room_is_made_on_a_headers_word(monkeypatch):
    head = saved(CHOICES).replace(b"(12, 4, 2)", b"(9**9**9,)")
    with pytest.raises(TraceError, match=r"is not a \.npy file"):
        npy_array(head)
    large = saved(CHOICES).replace(b"(12, 4, 2), ", b"(10**12, 4, 2), ")
    with pytest.raises(TraceError, match=r"^The file (is not|should hold)"):
        npy_array(large)
    monkeypatch.setattr(npy, "MOST_UNPACKED", 1000)
    assert refusal(zipped(experts=np.zeros((99, 9, 9), int)), "a.npz") == (
        "a.npz: The file unpacks to 0 MB, but at most 0 MB are read. Save a part of the tokens."
    )
    monkeypatch.setattr(table, "MOST_ROWS", 10)
    few = "The table has more than 10 rows. Save a part of the tokens."
    assert refusal(rows(CHOICES), "a.csv") == f"a.csv: {few}"
    parquet = io.BytesIO()
    pd.DataFrame({"token": range(11), "layer": 0, "expert": 1}).to_parquet(parquet)
    assert refusal(parquet.getvalue(), "a.parquet") == f"a.parquet: {few}"


@st.composite
def routed(draw):
    """Choices [T, L, K] of E experts, E, and texts of the tokens."""
    experts = draw(st.integers(2, 40))
    tokens, layers = draw(st.integers(1, 12)), draw(st.integers(1, 4))
    chosen = draw(st.integers(1, min(experts - 1, 4)))
    array = drawn(tokens, layers, experts, chosen, draw(st.integers(0, 2**20)))
    assume(chosen > 1 or array.any(axis=(0, 2)).all())  # else which layers are dense is asked
    letters = st.text(
        st.characters(exclude_categories=["Cs"], exclude_characters="\0\r"), max_size=4
    )
    return array, experts, draw(st.lists(letters, min_size=tokens, max_size=tokens))


@settings(max_examples=30, deadline=None)
@given(routed())
def test_every_format_brings_the_same_choices_back(made):
    array, experts, texts = made
    expected = routing_from(array, experts, tokens=make_tokens("x" * len(array)))
    own = routing_from(array, experts, tokens=range(len(array)), texts=texts)
    files = {
        "a.npy": saved(array),
        "a.npz": zipped(experts=array, texts=np.array(texts, dtype=str)),
        "a.csv": rows(array),
        "b.csv": routing_csv(own),
        "a.parquet": routing_parquet(own),
        "c.csv": executed(array, [len(array)]),
    }
    for name, data in files.items():
        trace = read(data, name, num_experts=experts, chosen=array.shape[2])
        np.testing.assert_array_equal(trace.experts, expected.experts, err_msg=name)
        assert trace.gates is None
        if name in ("b.csv", "a.parquet"):
            assert trace.tokens.source == own.tokens.source


@settings(max_examples=60, deadline=None)
@given(st.binary(max_size=200), st.sampled_from(SUFFIXES))
def test_any_bytes_are_read_or_refused_in_a_sentence(data, suffix):
    try:
        read(data, f"a{suffix}", num_experts=8, chosen=1)
    except TraceError as error:
        assert str(error).startswith(f"a{suffix}")
        assert str(error).endswith(".")


def test_changed_files_are_read_or_refused_in_a_sentence(tiny_trace):
    rng = np.random.default_rng(3)
    whole = {
        "a.npy": saved(CHOICES.astype(np.uint8)),
        "a.npz": zipped(experts=CHOICES.astype(np.uint8)),
        "a.csv": routing_csv(tiny_trace),
        "b.csv": executed(CHOICES, [9, 3]),
        "a.parquet": routing_parquet(tiny_trace),
    }
    for name, data in whole.items():
        for _ in range(80):
            broken = bytearray(data)
            for at in rng.integers(0, len(data), rng.integers(1, 4)):
                broken[at] = rng.integers(0, 256)
            try:
                read(bytes(broken), name, num_experts=8, chosen=2)
            except TraceError as error:
                assert str(error).endswith("."), json.dumps(str(error))
