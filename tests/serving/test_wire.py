"""Servers that are not there, slow, endless, or answer nonsense: one sentence, and soon."""

import base64
import io
import json
import socket
import threading

import numpy as np
import pytest
from served import models, send, serving

from moeviz.serving.ask import ask_server
from moeviz.serving.sizes import HOW
from moeviz.serving.wire import KEY, Server, ServerError, server_at
from moeviz.trace import MoevizError

CONFIG = {"num_hidden_layers": 2, "num_experts": 8, "num_experts_per_tok": 2}
EXPERTS = np.array([[[0, 1], [2, 3]], [[4, 5], [6, 7]], [[1, 4], [0, 6]]])


def npy(array) -> str:
    file = io.BytesIO()
    np.save(file, np.asarray(array))
    return base64.b64encode(file.getvalue()).decode()


def completion(routed_experts, **changes) -> dict:
    choice = {
        "text": "d",
        "logprobs": {"tokens": list("abcd"), "token_logprobs": [None, -1.0, -2.0, -3.0]},
        "prompt_token_ids": [1, 2, 3],
        "token_ids": [4],
        "routed_experts": routed_experts,
    }
    return {"choices": [{**choice, **changes}]}


def generated(routed_experts, **meta) -> dict:
    tokens = [[None, 1, "a"], [-1.0, 2, "b"], [-2.0, 3, "c"], [-3.0, 4, "d"]]
    told = {"input_token_logprobs": tokens[:3], "output_token_logprobs": tokens[3:]}
    return {"text": "d", "meta_info": {**told, "routed_experts": routed_experts, **meta}}


def trouble(answer, kind: str = "vllm", **options) -> str:
    """What is said of a server that answers the question itself so; HERE stands for its address."""

    def respond(handler, _):
        if handler.path == "/v1/models":
            return models(kind, "org/small")
        return answer(handler) if callable(answer) else answer

    with serving(respond) as (address, _):
        with pytest.raises(MoevizError) as error:
            ask_server(address, "abc", config=CONFIG, **options)
        return str(error.value).replace(address, "HERE")


CUT = "The answer was cut off, or is not of this kind of server."


@pytest.mark.parametrize(
    ("answer", "sentence"),
    [
        (
            completion(None),
            "HERE answers without routed experts. Start it with: vllm serve MODEL "
            "--enable-return-routed-experts (vLLM 0.22 or newer).",
        ),
        (
            completion("§§"),
            "The experts that the server sent are not base64: 'ascii' codec can't encode "
            f"characters in position 0-1: ordinal not in range(128). {CUT}",
        ),
        (completion("AAAA"), f"The experts that the server sent are no .npy file. {CUT}"),
        (
            completion(npy(EXPERTS.astype(np.int32))[:-4]),
            "The server announced experts of shape (3, 2, 2), which take 48 bytes, but sent 46. "
            f"{CUT}",
        ),
        (
            completion(npy(np.zeros((3, 2, 2)))),
            "The server sent an array of float64 numbers and shape (3, 2, 2); whole numbers "
            "[tokens, layers, top-k] are needed.",
        ),
        (
            completion(npy(EXPERTS[:, :, :1])),
            "The array has 1 choices a token, but the model makes 2. Shared experts are no "
            "choices: leave their slots out.",
        ),
        (
            completion(npy(EXPERTS[:, :1])),
            "The server sent 1 layers, but by its configuration the model has 2. " + HOW,
        ),
        (
            completion(npy(EXPERTS[:2])),
            "The server sent the routing of 2 tokens, but the text has 3 and 1 were written. It "
            "may keep the beginning in a cache: try again, or start it without prefix caching.",
        ),
        (
            completion([[[0, 1]], [[2]]]),
            f"The server sent lists of experts of unequal length. {CUT}",
        ),
        (
            completion([["a"]]),
            f"The server sent experts that are no whole numbers [tokens, layers, top-k]. {CUT}",
        ),
        (
            completion(npy(EXPERTS), token_ids=["4"]),
            f"The answer's token_ids are not token ids. {CUT}",
        ),
        (
            completion(npy(EXPERTS), logprobs=None),
            f"The answer should have a dict at logprobs, but has nothing. {CUT}",
        ),
        (
            completion(npy(EXPERTS), token_ids=[4, 5]),
            "The answer has 5 token ids, but the texts of 4 and the probabilities of 4. " + CUT,
        ),
        ({"choices": 3}, f"The answer should have a list at choices, but has int. {CUT}"),
    ],
)
def test_a_wrong_answer_of_vllm(answer, sentence):
    assert trouble(answer) == sentence


def test_routing_that_cannot_be_true_is_refused():
    assert trouble(completion(npy(0 * EXPERTS))).startswith("The array holds nothing but zeros.")
    beyond = np.where(EXPERTS == 7, 8, EXPERTS)
    assert "holds 8, but the experts are 0 to 7" in trouble(completion(npy(beyond)))
    twice = np.where(EXPERTS == 7, 6, EXPERTS)
    assert "names expert 6 twice" in trouble(completion(npy(twice)))


def test_a_huge_shape_is_not_believed():
    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(
        header, {"descr": "<i4", "fortran_order": False, "shape": (10**9, 10**6, 8)}
    )
    sent = base64.b64encode(header.getvalue() + b"\0" * 64).decode()
    assert trouble(completion(sent)) == (
        "The server announced experts of shape (1000000000, 1000000, 8), which take "
        f"32,000,000,000,000,000 bytes, but sent 64. {CUT}"
    )


@pytest.mark.parametrize(
    ("answer", "sentence"),
    [
        (
            generated(None),
            "HERE answers without routed experts. Start it with: python -m sglang.launch_server "
            "--model-path MODEL --enable-return-routed-experts.",
        ),
        (
            generated(base64.b64encode(EXPERTS.astype("<i4").tobytes()[:-4]).decode()),
            "The server sent 44 bytes of experts, but 3 tokens, 2 layers and top 2 need 48. The "
            "answer was cut off, or the configuration is not that of this model.",
        ),
        (
            generated("AAAA", routed_experts_dtype="float8"),
            "The server sent experts as float8, which is unknown.",
        ),
        (
            generated("AAAA", input_token_logprobs=[[1, 2]]),
            f"A token of the answer is not its probability, id and text. {CUT}",
        ),
        ({"text": "d"}, f"The answer should have a dict at meta_info, but has nothing. {CUT}"),
    ],
)
def test_a_wrong_answer_of_sglang(answer, sentence):
    assert trouble(answer, "sglang") == sentence


def test_narrow_numbers_of_sglang_are_read_as_it_names_them():
    sent = base64.b64encode(EXPERTS.astype("u1").tobytes()).decode()
    answers = {"/v1/models": models("sglang", "m"),
               "/generate": generated(sent, routed_experts_dtype="uint8")}  # fmt: skip
    with serving(lambda handler, _: answers[handler.path]) as (address, _):
        found = ask_server(address, "abc", config=CONFIG)
    np.testing.assert_array_equal(found.experts, EXPERTS.transpose(1, 0, 2))


def refuse(status: int, data: bytes = b"", kind: str = "application/json", **headers):
    return lambda handler: send(handler, status, data, kind, **headers)


@pytest.mark.parametrize(
    ("answer", "sentence"),
    [
        (
            refuse(200, b"<html>", "text/html"),
            "HERE answered with text/html instead of JSON. Is this the address of a vLLM or "
            "SGLang server?",
        ),
        (
            refuse(200, b'{"choices": ['),
            "What HERE sent is not JSON: Expecting value: line 1 column 14 (char 13). It may have "
            "been cut off.",
        ),
        (
            refuse(200, b'{"a": ' + b"[" * 1500),
            "What HERE sent has more parts than an answer to this text can have.",
        ),
        (refuse(200, b"[]"), "What HERE sent is JSON, but not an answer."),
        (
            refuse(200, b"x", content_encoding="gzip"),
            "HERE packed its answer, although it was asked not to.",
        ),
        (
            refuse(302, location="http://elsewhere/v1"),
            "HERE sends us on to http://elsewhere/v1, which MoEViz does not follow. Give the "
            "server's own address.",
        ),
        (
            refuse(404),
            "HERE has nothing at /v1/completions (404). Is this the address of a vLLM or SGLang "
            "server?",
        ),
        (
            refuse(400, json.dumps({"error": {"message": "too\x1b[2J\n long."}}).encode()),
            "HERE refused (400): too [2J long.",
        ),
        (refuse(500, b"<html>", "text/html"), "HERE refused (500): it does not say why."),
    ],
)
def test_an_answer_that_is_none(answer, sentence):
    assert trouble(answer) == sentence


TOO_LARGE = (
    "HERE sent more than 264,640 bytes, which is more than an answer to this text can have. Ask "
    "for a shorter text, and check that the address is right."
)


def test_an_endless_answer_is_cut_off():
    def endless(handler):
        send(handler, 200, b'{"choices": "')
        while True:
            handler.wfile.write(b"x" * 65536)

    assert trouble(endless) == TOO_LARGE


def test_an_answer_announced_too_large_is_not_read():
    assert trouble(refuse(200, b"{", content_length="999999999")) == TOO_LARGE


@pytest.mark.parametrize("begun", ["", "HTTP/1.0 200 OK\r\nX-", "HTTP/1.0 200 OK\r\n"
                                   "Content-Type: application/json\r\n\r\n"])  # fmt: skip
def test_a_server_that_trickles_does_not_hold_us(begun):
    over = threading.Event()

    def trickle(handler):
        handler.wfile.write(begun.encode())
        while begun and not over.wait(0.02):
            handler.wfile.write(b"x")
        over.wait(60)

    try:
        assert trouble(trickle, timeout=0.4) == (
            "HERE did not answer in full within 0.4 seconds. Give it more time, or ask for a "
            "shorter text."
        )
    finally:
        over.set()


def test_no_server_at_all():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"http://127.0.0.1:{free.getsockname()[1]}"
    with pytest.raises(ServerError) as error:
        ask_server(address, "abc", config=CONFIG)
    assert str(error.value).startswith(f"There is no answer at {address} (")
    assert str(error.value).endswith("Is the server running, and is the address right?")


@pytest.mark.parametrize(
    ("address", "sentence"),
    [
        (
            "file:///etc/passwd",
            "file:///etc/passwd is not the address of a server. Addresses look like "
            "http://localhost:8000.",
        ),
        (
            "localhost:8000",
            "localhost:8000 is not the address of a server. Addresses look like "
            "http://localhost:8000.",
        ),
        (
            "http://me:secret@host",
            "Put no name or key into the address; set MOEVIZ_API_KEY in the environment.",
        ),
        ("http://host/?a=1", "The address of a server has no part after ? or #."),
        ("http://[::1", "http://[::1 is not a web address."),
    ],
)
def test_an_address_that_is_none(address, sentence):
    with pytest.raises(ServerError) as error:
        server_at(address, 1.0)
    assert str(error.value) == sentence


@pytest.mark.parametrize("written", ["http://host:1/", "http://host:1/v1", "http://host:1/v1/"])
def test_an_address_may_be_written_in_several_ways(written):
    assert server_at(f" {written} ", 1.0).url == "http://host:1"


def test_the_key_is_sent_where_it_may_be_and_never_shown(monkeypatch):
    monkeypatch.setenv(KEY, "hush-4711")
    assert "hush" not in repr(server_at("http://host", 1.0))
    assert server_at("http://host", 1.0, send_key=False) == Server("http://host", 1.0)
    for allowed, sent in ((True, "Bearer hush-4711"), (False, None)):
        with (
            serving(lambda handler, _: send(handler, 401, b"")) as (address, log),
            pytest.raises(ServerError) as error,
        ):
            ask_server(address, "abc", send_key=allowed)
        assert log.requests[0][2].get("Authorization") == sent
        asked = f"does not take the key in {KEY}" if allowed else "asks for a key"
        assert str(error.value) == (
            f"{address} {asked} (401). Set {KEY} in the environment to a key that the server "
            "knows; the app sends it only to addresses that MOEVIZ_SERVERS names."
        )
