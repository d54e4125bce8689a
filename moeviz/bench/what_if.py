"""What does a rule cost, and what does a sweep save by sharing the work before its layer?"""

from __future__ import annotations

import torch

from moeviz.bench.timing import Ratio, ratio, take_turns
from moeviz.models.enforce import Enforced
from moeviz.models.inputs import model_inputs, pieces
from moeviz.models.load import LoadedModel, load_model
from moeviz.models.run import trace_tokens
from moeviz.models.what_if import ablation_losses
from moeviz.rules.interventions import Mute
from moeviz.rules.reading import parse_rule
from moeviz.trace import Tokens

PLAIN = "plain forward"
RULES = ("mute *:1", "mute *:1 drop", "k=2; temperature 0.9", "steer *:+1,-2")


def what_if_speed(tokens: int = 512, swept: int = 256, rounds: int = 41) -> list[Ratio]:
    """Forward passes of the demo model under rules against the plain one, and a sweep over all
    experts of a middle layer against as many separate traces under the same rules."""
    model = load_model("demo", device="cpu")
    return [*_rules(model, tokens, rounds), _sweep(model, swept, max(3, rounds // 8))]


def _rules(model: LoadedModel, tokens: int, rounds: int) -> list[Ratio]:
    inputs = model_inputs(model.network, _ids(tokens))

    def under(text: str):
        rule = parse_rule(text)

        def run() -> None:
            with Enforced(model.sites, model.traits, rule):
                model.network(**inputs)

        return run

    names = {text: f"under {text}, the demo model, {tokens} tokens" for text in RULES}
    ways = {name: under(text) for text, name in names.items()}
    with torch.inference_mode():
        took = take_turns({PLAIN: lambda: model.network(**inputs), **ways}, rounds)
    return [ratio(took, name, PLAIN, limit=1.10) for name in ways]


def _sweep(model: LoadedModel, count: int, rounds: int) -> Ratio:
    tokens = _tokens(model, count)
    layer = len(model.sites) // 2
    experts = model.traits[model.sites[layer].name].experts

    def shared() -> None:
        list(ablation_losses(model, tokens, str(layer)))

    def apart() -> None:
        for expert in range(experts):
            trace_tokens(model, tokens, Mute(expert, layers=layer), logits=False)

    what = f"sweep of {experts} experts, layer {layer} of the demo model, {count} tokens"
    took = take_turns({what: shared, "separate runs": apart}, rounds)
    return ratio(took, what, "separate runs", limit=1 / 1.5)


def _ids(count: int) -> list[int]:
    return [(37 * i) % 1000 for i in range(count)]


def _tokens(model: LoadedModel, count: int) -> Tokens:
    ids, flags = _ids(count), [False] * count
    return Tokens("", ids, [[-1, -1]] * count, flags, flags, pieces(model.tokenizer, ids))
