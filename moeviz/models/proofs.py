"""The proofs that a model's routing is shown as it is: two roads to one answer, compared.

Each takes a loaded model, runs it on short token sequences and gives a verdict with a sentence.
All leave the model as they found it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from moeviz.models.choices import Choice
from moeviz.models.inputs import model_inputs, probe_inputs
from moeviz.models.load import LoadedModel
from moeviz.models.replay import Replay, adds_up, answers
from moeviz.models.rows import batch_inputs
from moeviz.models.sites import Site
from moeviz.models.tape import Tape, run_once
from moeviz.models.witness import Witness, dense

PASS, FAIL, NOT_APPLICABLE = "pass", "fail", "not applicable"
TOKENS = 20
DECODED = 4
IMPLEMENTATIONS = ("eager", "grouped_mm", "batched_mm")


@dataclass(frozen=True)
class Proof:
    """A claim and how it went: verdict "pass", "fail" or "not applicable", and a sentence why."""

    name: str
    claim: str
    verdict: str
    detail: str


Verdict = tuple[str, str]


def prove(model: LoadedModel) -> tuple[Proof, ...]:
    """Every proof, run on `model`. A proof that breaks has failed, and says how."""
    return tuple(_run(name, claim, check, model) for name, (claim, check) in PROOFS.items())


def _run(name: str, claim: str, check: Callable, model: LoadedModel) -> Proof:
    try:
        with model.lock, torch.inference_mode():
            verdict, detail = check(model)
    except Exception as error:  # whatever breaks in a model of any make
        first = str(error).strip().split("\n")[0]
        verdict, detail = FAIL, f"It broke with {type(error).__name__}: {first}"
    return Proof(name, claim, verdict, detail)


def received(model: LoadedModel) -> Verdict:
    """The recorded choices and gates against a second listener's."""
    widths = {name: trait.experts for name, trait in model.traits.items()}
    with Witness(model.sites, widths) as witness, Replay(model.sites) as replay:
        step = _route(model, _probe(model))
    for site, choice in zip(model.sites, step, strict=True):
        table = witness.tables.get(site.name)
        if table is None:  # experts in a list, called by their block one by one
            same = adds_up(site, choice, replay)
        else:
            same = torch.equal(dense(choice, widths[site.name]), table)
        if not same:
            return FAIL, f"In {site.name} the experts were given other choices or weights."
    return PASS, f"The same in all {len(step)} routed layers, for every token and slot."


def answered(model: LoadedModel) -> Verdict:
    """Experts without their weights against the tokens that were sent to them."""
    with Replay(model.sites) as replay:
        step = _route(model, _probe(model))
    tried = 0
    for site, choice in zip(model.sites, step, strict=True):
        found = answers(site, choice, replay, most=16)
        tried += len(found.right)
        if found.wrong:
            return FAIL, (
                f"Taking out expert {found.wrong[0]} of {site.name} did not change exactly the "
                "tokens sent to it."
            )
    if not tried:
        return NOT_APPLICABLE, "The experts' weights cannot be changed (quantised or off-loaded)."
    return PASS, f"{tried} experts tried in {len(step)} routed layers."


def untouched(model: LoadedModel) -> Verdict:
    """The model's output with and without hooks, and the hooks that stay behind."""
    inputs = _probe(model)
    hooks = _hooks(model.network)
    before = _output(model.network, inputs)
    with Tape(model.network, model.sites, model.spied):
        during = _output(model.network, inputs)
    if not torch.equal(before, during):
        return FAIL, "The model's output changes while it is listened to."
    if _hooks(model.network) != hooks:
        return FAIL, "Hooks were left behind."
    return PASS, "Bitwise the same output, and no hook left behind."


def causal(model: LoadedModel) -> Verdict:
    """Earlier tokens' routing with two different last tokens."""
    inputs = _probe(model)
    changed = {name: v.clone() if isinstance(v, Tensor) else v for name, v in inputs.items()}
    name = "decoder_input_ids" if "decoder_input_ids" in inputs else "input_ids"
    changed[name][0, -1] = inputs[name][0, 1]
    pairs = zip(model.sites, _route(model, inputs), _route(model, changed), strict=True)
    pairs = [(s, a, b) for s, a, b in pairs if s.stack == "decoder"]
    if not pairs:
        return NOT_APPLICABLE, "Only its encoder is shown, which reads in both directions."
    for site, one, other in pairs:
        if torch.equal(one.ids[:-1], other.ids[:-1]):
            continue
        if not model.network.can_generate():
            return NOT_APPLICABLE, "The model reads a text in both directions."
        return FAIL, f"Changing the last token moved earlier ones, first in {site.name}."
    return PASS, "Changing the last token moves no earlier one."


def padded(model: LoadedModel) -> Verdict:
    """Texts of different length in one batch, padded on the right, against each text alone."""
    return _batched(model, left=False)


def padded_left(model: LoadedModel) -> Verdict:
    """The same, padded on the left as for generation."""
    return _batched(model, left=True)


def continued(model: LoadedModel) -> Verdict:
    """A prompt and then one token at a time from the cache, against the whole text at once."""
    if not model.network.can_generate():
        return NOT_APPLICABLE, "The model does not generate."
    if all(site.stack == "encoder" for site in model.sites):
        return NOT_APPLICABLE, "It does not write token by token through the layers that are shown."
    inputs = _probe(model)
    with _capacity_lifted(model):
        whole = _route(model, inputs)
        parts = [list(site) for site in zip(*_decode(model, inputs), strict=True)]
    moved = total = 0
    for site, one, steps in zip(model.sites, whole, parts, strict=True):
        heard = [step for step in steps if step is not None]
        joined = heard[0] if site.stack == "encoder" else _joined(heard)
        total += len(one.ids)
        moved += _moved(one, joined)
    return _agreement(model, moved, total, "Prompt and single tokens from the cache")


def implemented(model: LoadedModel) -> Verdict:
    """The ways transformers can run the experts, each against the one that is set."""
    inputs = _probe(model)
    usual = _route(model, inputs)
    moved = total = 0
    ran = []
    for name in IMPLEMENTATIONS:
        with _experts_run_by(model, name) as possible:
            if not possible:
                continue
            ran.append(name)
            for one, other in zip(usual, _route(model, inputs), strict=True):
                total += len(one.ids)
                moved += _moved(one, other)
    if not ran:
        return NOT_APPLICABLE, "This architecture runs its experts in one way only."
    return _agreement(model, moved, total, f"Experts run by {', '.join(ran)}")


def told(model: LoadedModel) -> Verdict:
    """The router logits that the model itself hands out, against ours."""
    inputs = _probe(model)
    step = _route(model, inputs)
    try:
        theirs = _own_logits(model.network, inputs)
    except Exception as error:  # the model's own business: it says so in its own way
        return NOT_APPLICABLE, f"Asked for its router logits the model raises {error!r}."
    if not theirs:
        return NOT_APPLICABLE, "The model hands out no router logits."
    ours = {site.name: c.logits for site, c in zip(model.sites, step, strict=True)}
    ours = {name: logits for name, logits in ours.items() if logits is not None}
    met = {name for name, logits in ours.items() if any(_same(t, logits) for t in theirs)}
    strangers = [t for t in theirs if not any(_same(t, logits) for logits in ours.values())]
    if strangers:
        return FAIL, f"{len(strangers)} of its {len(theirs)} router tensors equal none of ours."
    return PASS, _told_sentence(model, len(theirs), len(met))


PROOFS: dict[str, tuple[str, Callable[[LoadedModel], Verdict]]] = {
    "received": ("What is shown is what the experts were given.", received),
    "answered": ("An expert answers for exactly the tokens sent to it.", answered),
    "untouched": ("Looking changes nothing.", untouched),
    "causal": ("A token's routing does not depend on later tokens.", causal),
    "padded": ("In a padded batch each text is routed as alone.", padded),
    "padded left": ("The same where the padding stands on the left.", padded_left),
    "continued": ("Routing while generating equals routing of the whole text.", continued),
    "implemented": ("Every way to run the experts routes alike.", implemented),
    "told": ("The model's own router logits are ours.", told),
}
"""By name: the claim, and the function that tries it."""


def _probe(model: LoadedModel) -> dict[str, Any]:
    return probe_inputs(model.network, model.tokenizer, TOKENS)


def _route(model: LoadedModel, inputs: dict[str, Any]) -> list[Choice]:
    torch.manual_seed(0)  # a model may start from noise
    _, step = run_once(model.network, model.sites, inputs)
    return step


def _output(network: nn.Module, inputs: dict[str, Any]) -> Tensor:
    torch.manual_seed(0)
    return _first(network(**inputs))


def _first(output: Any) -> Tensor:
    """The model's main result: what it predicts, or its last hidden states."""
    return output[0] if output.get("logits") is None else output.logits


def _hooks(network: nn.Module) -> int:
    return sum(len(m._forward_hooks) + len(m._forward_pre_hooks) for m in network.modules())


def _batched(model: LoadedModel, left: bool) -> Verdict:
    ids = _probe(model)["input_ids"][0].tolist()
    texts = [ids, ids[3:-4], ids[6:]]
    batch = batch_inputs(model.network, texts, left=left)
    with _capacity_lifted(model):
        together = _route(model, batch.inputs)
        alone = [_route(model, model_inputs(model.network, text)) for text in texts]
    moved = total = 0
    for number, step in enumerate(alone):
        for site, one, many in zip(model.sites, step, together, strict=True):
            rows = batch.rows[site.stack][number]
            total += len(rows)
            moved += _moved(one, _part(many, rows))
    return _agreement(model, moved, total, f"Padded on the {'left' if left else 'right'}")


def _part(choice: Choice, rows: Tensor) -> Choice:
    rows = rows.to(choice.ids.device)
    return Choice(choice.ids[rows], choice.gates[rows], None, None)


def _joined(parts: list[Choice]) -> Choice:
    ids, gates = torch.cat([p.ids for p in parts]), torch.cat([p.gates for p in parts])
    return Choice(ids, gates, None, None)


def _moved(one: Choice, other: Choice) -> int:
    """Rows whose chosen experts or gates differ beyond rounding; every row if the count differs."""
    if one.ids.shape != other.ids.shape:
        return max(len(one.ids), len(other.ids))
    width = int(max(one.ids.max(), other.ids.max())) + 1
    near = 1e-3 if one.gates.dtype == torch.float32 else 0.1
    first, second = dense(one, width).float(), dense(other, width).float()
    return int(((first - second).abs().amax(-1) > near * first.abs().amax().clamp(min=1)).sum())


def _agreement(model: LoadedModel, moved: int, total: int, road: str) -> Verdict:
    """Exact in float32; lower precision may move a tenth of the rows, as rounding decides ties."""
    allowed = 0 if model.dtype == "float32" else total // 10
    detail = f"{road}: {total - moved:,} of {total:,} rows are routed alike."
    return (PASS if moved <= allowed else FAIL), detail


def _decode(model: LoadedModel, inputs: dict[str, Any]) -> list[list[Choice | None]]:
    """The steps of reading all but the last `DECODED` tokens, then those one at a time.

    No mask: every token counts, and some models cannot take one that is longer than what is fed.
    """
    name, steps, fixed = "input_ids", [], {}
    if "decoder_input_ids" in inputs:
        name = "decoder_input_ids"
        with Tape(model.network, model.sites) as tape:
            encoder = model.network.get_encoder()
            fixed["encoder_outputs"] = encoder(inputs["input_ids"], inputs["attention_mask"])
        steps += tape.steps
    ids, cache, start = inputs[name], None, 0
    for end in range(ids.shape[1] - DECODED, ids.shape[1] + 1):
        fed = {**fixed, name: ids[:, start:end], "past_key_values": cache, "use_cache": True}
        output, step = run_once(model.network, model.sites, fed)
        cache, start = output.past_key_values, end
        steps.append(step)
    return steps


@contextmanager
def _experts_run_by(model: LoadedModel, name: str) -> Iterator[bool]:
    """Experts run by the implementation `name` while open; yields whether all layers allow it."""
    parts = [m for m in model.network.modules() if isinstance(m, PreTrainedModel)]
    former = [(part.config, part.config._experts_implementation) for part in parts]
    for part in parts:
        with suppress(ValueError, RuntimeError):  # this part refuses; another may hold the experts
            part.set_experts_implementation(name)
    try:
        yield all(_run_by(site) == name for site in model.sites)
    finally:
        for config, implementation in former:
            config._experts_implementation_internal = implementation


def _run_by(site: Site) -> str | None:
    """The implementation that runs the experts of `site`; None where there is no choice of one."""
    if not hasattr(type(site.experts).forward, "__wrapped__"):
        return None
    return site.experts.config._experts_implementation


@contextmanager
def _capacity_lifted(model: LoadedModel) -> Iterator[None]:
    """Routers that drop tokens over a capacity drop none while open.

    What they drop depends on what else is in the pass, so only then are two passes comparable.
    """
    routers = [site.router for site in model.sites]
    routers = [r for r in routers if isinstance(getattr(r, "expert_capacity", None), int)]
    former = [router.expert_capacity for router in routers]
    for router in routers:
        router.expert_capacity = 10**6
    try:
        yield
    finally:
        for router, capacity in zip(routers, former, strict=True):
            router.expert_capacity = capacity


def _own_logits(network: nn.Module, inputs: dict[str, Any]) -> list[Tensor]:
    torch.manual_seed(0)
    output = network(**inputs, output_router_logits=True)
    names = [name for name in output if "router_logits" in name or "router_probs" in name]
    return [t for name in names for t in _flat(output[name])]


def _flat(value: Any) -> list[Tensor]:
    """The float tensors inside, each an output of one router."""
    if isinstance(value, Tensor):
        return [value] if value.is_floating_point() and value.dim() > 1 else []
    return [t for part in value for t in _flat(part)] if isinstance(value, tuple | list) else []


def _same(theirs: Tensor, ours: Tensor) -> bool:
    """Whether a tensor that the model hands out holds our logits, whole or as two half keys."""
    if theirs.dim() == 3 and len(theirs) == 2 and theirs.shape[-1] ** 2 == ours.shape[-1]:
        theirs = theirs[0].unsqueeze(-1) + theirs[1].unsqueeze(-2)
    if theirs.numel() != ours.numel():
        return False
    return torch.allclose(theirs.reshape(ours.shape).float(), ours.float(), atol=1e-5)


def _told_sentence(model: LoadedModel, theirs: int, met: int) -> str:
    sentence = f"{theirs} tensors, all equal to ours"
    if met < len(model.sites):
        sentence += f"; it leaves out {len(model.sites) - met} of {len(model.sites)} routed layers"
    if theirs > met:
        sentence += f"; some come more than once ({met} layers)"
    if any(trait.probabilities for trait in model.traits.values()):
        sentence += "; they are probabilities, not logits"
    return sentence + "."
