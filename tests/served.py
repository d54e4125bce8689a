"""A small HTTP server that speaks as vLLM or SGLang do, with a real model behind it.

Written from their documentation, not from our client: its routing is read from the model's own
`router_logits`, which no hook of ours has touched.
"""

import base64
import io
import json
import threading
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
import torch


@dataclass
class Asked:
    """What one server was asked: (method, path, headers, body) of each request."""

    requests: list = field(default_factory=list)

    def body(self, path: str) -> dict:
        return next(body for _, at, _, body in self.requests if at == path)


class Said:
    """Everything a model says of a prompt and `new` tokens after it, greedily chosen."""

    def __init__(self, model, text: str, new: int):
        network, tokenizer = model.network, model.tokenizer
        self.prompt = tokenizer(text)["input_ids"]
        ids = list(self.prompt)
        with torch.no_grad():
            for _ in range(new):
                ids.append(int(network(torch.tensor([ids])).logits[0, -1].argmax()))
            out = network(torch.tensor([ids[:-1]]), output_router_logits=True)
        self.new = ids[len(self.prompt) :]
        known = out.logits[0].float().log_softmax(-1)
        self.scores = [None, *(float(known[at, token]) for at, token in enumerate(ids[1:]))]
        self.pieces = [tokenizer.decode([token]) for token in ids]
        self.text = tokenizer.decode(self.new, skip_special_tokens=True)
        layers = [logits.topk(network.config.num_experts_per_tok).indices
                  for logits in out.router_logits]  # fmt: skip
        self.experts = torch.stack(layers, dim=1).numpy()  # [tokens - 1, layers, K]


def vllm_completion(said: Said, model: str) -> dict:
    """As vLLM 0.22 and newer answer /v1/completions with echo, logprobs and return_token_ids."""
    packed = io.BytesIO()
    np.save(packed, said.experts.astype(np.uint8))
    logprobs = {
        "text_offset": [0] * len(said.pieces),
        "token_logprobs": said.scores,
        "tokens": said.pieces,
        "top_logprobs": [None] * len(said.pieces),
    }
    choice = {
        "index": 0,
        "text": said.text,
        "logprobs": logprobs,
        "finish_reason": "length",
        "stop_reason": None,
        "prompt_token_ids": said.prompt,
        "token_ids": said.new,
        "routed_experts": base64.b64encode(packed.getvalue()).decode(),
    }
    return {
        "id": "cmpl-1",
        "object": "text_completion",
        "created": 0,
        "model": model,
        "choices": [choice],
        "system_fingerprint": "vllm-0.27.1-c4cdda4a",
        "usage": {"prompt_tokens": len(said.prompt), "completion_tokens": len(said.new)},
    }


def vllm_0_21_completion(said: Said, model: str) -> dict:
    """As vLLM 0.21 answered: nested lists, the prompt's beside the choice's."""
    told, cut = vllm_completion(said, model), len(said.prompt)
    told["choices"][0]["routed_experts"] = said.experts[cut:].tolist()
    return {**told, "prompt_routed_experts": said.experts[:cut].tolist()}


def sglang_generate(said: Said) -> dict:
    """As SGLang answers /generate with return_logprob and return_routed_experts."""
    ids = [*said.prompt, *said.new]
    tokens = [list(each) for each in zip(said.scores, ids, said.pieces, strict=True)]
    cut = len(said.prompt)
    return {
        "text": said.text,
        "output_ids": said.new,
        "meta_info": {
            "id": "1",
            "finish_reason": {"type": "length", "length": len(said.new)},
            "prompt_tokens": cut,
            "completion_tokens": len(said.new),
            "input_token_logprobs": tokens[:cut],
            "output_token_logprobs": tokens[cut:],
            "routed_experts": base64.b64encode(said.experts.astype("<i4").tobytes()).decode(),
        },
    }


def models(kind: str, name: str, root: str = "") -> dict:
    """As both answer /v1/models."""
    return {"object": "list", "data": [{"id": name, "object": "model", "owned_by": kind,
                                        "root": root or name}]}  # fmt: skip


@contextmanager
def serving(respond):
    """(address, what was asked) of a server on this machine.

    respond: called with the handler and the request's body; hands back what is sent as JSON, or
    None where it has written an answer of its own.
    """
    asked = Asked()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.0"  # an answer ends where its connection does

        def _any(self) -> None:
            size = int(self.headers.get("content-length") or 0)
            body = json.loads(self.rfile.read(size)) if size else None
            asked.requests.append((self.command, self.path, dict(self.headers), body))
            with suppress(ConnectionError):  # a client may hang up at any time
                told = respond(self, body)
                if told is not None:
                    send(self, 200, json.dumps(told).encode())

        do_GET = do_POST = _any

        def log_message(self, *_) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", asked
    finally:
        server.shutdown()
        server.server_close()


def send(handler, status: int, data: bytes, kind: str = "application/json", **headers) -> None:
    """Write one whole answer."""
    handler.send_response(status)
    handler.send_header("Content-Type", kind)
    for name, value in headers.items():
        handler.send_header(name.replace("_", "-"), value)
    handler.end_headers()
    handler.wfile.write(data)


def engine(kind: str, model, name: str = "demo"):
    """A `respond` for `serving`: the whole protocol of "vllm", "vllm-0.21" or "sglang"."""

    def respond(handler, body):
        if handler.path == "/v1/models":
            return models(kind.partition("-")[0], name)
        if handler.path == "/get_model_info":
            return {"model_path": name, "is_generation": True}
        if handler.path == "/generate":
            return sglang_generate(
                Said(model, body["text"], body["sampling_params"]["max_new_tokens"])
            )
        answer = vllm_0_21_completion if kind == "vllm-0.21" else vllm_completion
        return answer(Said(model, body["prompt"], body["max_tokens"]), name)

    return respond
