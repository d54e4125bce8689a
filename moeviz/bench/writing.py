"""How fast do tokens stream out with their routing, against a plain `generate`?"""

from __future__ import annotations

import torch

from moeviz.bench.timing import Ratio, ratio, take_turns
from moeviz.models.generate import generate
from moeviz.models.load import LoadedModel, load_model

PROMPT = "The old lighthouse keeper counted the ships before he went to sleep. On Sunday morning"
SLOWEST = 1 / 0.7
"""Time that streaming may take against plain generation: 70 % of its tokens per second."""


def writing_speed(tokens: int = 64, rounds: int = 21) -> list[Ratio]:
    """Streamed tokens with their routing against transformers' own `generate`, on the demo model.

    Both write the same `tokens` tokens, the likeliest ones. Streaming does more: it hears every
    layer of every step, hands out experts and gates, and reads the last token too.
    """
    model = load_model("demo", device="cpu")
    what, base = f"{tokens} tokens streamed by the demo model", "plain generate"
    took = take_turns({what: lambda: _streamed(model, tokens), base: _plain(model, tokens)}, rounds)
    return [ratio(took, what, base, limit=SLOWEST)]


def _streamed(model: LoadedModel, tokens: int) -> list[int]:
    steps = list(generate(model, PROMPT, max_new_tokens=tokens))
    assert all(step.experts.size for step in steps)
    return [step.id for step in steps]


def _plain(model: LoadedModel, tokens: int):
    ids = torch.tensor([model.tokenizer(PROMPT)["input_ids"]])

    def run() -> list[int]:
        with torch.inference_mode():
            out = model.network.generate(ids, max_new_tokens=tokens, do_sample=False)
        return out[0, ids.shape[1] :].tolist()

    assert run() == _streamed(model, tokens), "both must write the same text"
    return run
