"""The proofs that a model's routing is shown as it is: two roads to one answer, compared.

Each takes a loaded model, runs it on short token sequences and gives a verdict with a sentence.
All leave the model as they found it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from moeviz.models.choices import Choice
from moeviz.models.inputs import model_inputs, probe_inputs
from moeviz.models.load import LoadedModel
from moeviz.models.probe import first_moved
from moeviz.models.replay import Replay, adds_up, answers
from moeviz.models.rows import batch_inputs
from moeviz.models.sites import Site
from moeviz.models.tape import Tape
from moeviz.models.ways import (
    capacity_lifted,
    decode,
    experts_run_by,
    output_of,
    own_logits,
    route,
)
from moeviz.models.witness import Witness, dense

PASS, FAIL, NOT_APPLICABLE = "pass", "fail", "not applicable"
ALONE, MASKED, UNMASKED = "alone", "masked", "unmasked"
TOKENS = 20
MOST_COPIED = 1e9
"""Bytes of weights that one layer may copy for a proof; batched_mm copies a set for each token."""

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
        step = route(model, _probe(model))
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
        step = route(model, _probe(model))
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
    before, again = (output_of(model.network, inputs) for _ in range(2))
    with Tape(model.network, model.sites, model.spied):
        during = output_of(model.network, inputs)
    if _hooks(model.network) != hooks:
        return FAIL, "Hooks were left behind."
    if not torch.equal(before, again):
        return NOT_APPLICABLE, "Two plain runs differ already on this device."
    if not torch.equal(before, during):
        return FAIL, "The model's output changes while it is listened to."
    return PASS, "Bitwise the same output, and no hook left behind."


def causal(model: LoadedModel) -> Verdict:
    """Earlier tokens' routing with two different last tokens."""
    inputs = _probe(model)
    changed = {name: v.clone() if isinstance(v, Tensor) else v for name, v in inputs.items()}
    name = "decoder_input_ids" if "decoder_input_ids" in inputs else "input_ids"
    changed[name][0, -1] = inputs[name][0, 1]
    pairs = zip(model.sites, route(model, inputs), route(model, changed), strict=True)
    pairs = [(s, a, b) for s, a, b in pairs if s.stack == "decoder"]
    if not pairs:
        return NOT_APPLICABLE, "Only its encoder is shown, which reads in both directions."
    moved = first_moved(pairs, model.dtype == "float32")
    if moved is None:
        return PASS, "Changing the last token moves no earlier one."
    if not model.network.can_generate():
        return NOT_APPLICABLE, "The model reads a text in both directions."
    return FAIL, f"Changing the last token moved earlier ones, first in {moved.name}."


def padded(model: LoadedModel) -> Verdict:
    """Texts of different length in one batch, padded on the right, against each text alone."""
    return _batched(model, left=False)


def padded_left(model: LoadedModel) -> Verdict:
    """The same, padded on the left as for generation."""
    return _batched(model, left=True)


def batching(model: LoadedModel) -> str:
    """How texts of different length may share a forward pass, padded on the right: UNMASKED where
    each is routed as alone without an attention mask, MASKED where it takes one, else ALONE.

    No mask is needed where no token sees a later one. Such a pass is quicker: attention that is
    causal and nothing else has kernels of its own, which read no mask.
    """
    ways = (UNMASKED, MASKED) if all(s.stack == "decoder" for s in model.sites) else (MASKED,)
    for way in ways:
        proof = _run(way, "", lambda model, way=way: _batched(model, False, way == MASKED), model)
        if proof.verdict == PASS:
            return way
    return ALONE


def continued(model: LoadedModel) -> Verdict:
    """A prompt and then one token at a time from the cache, against the whole text at once."""
    if not model.network.can_generate():
        return NOT_APPLICABLE, "The model does not generate."
    if all(site.stack == "encoder" for site in model.sites):
        return NOT_APPLICABLE, "It does not write token by token through the layers that are shown."
    inputs = _probe(model)
    with capacity_lifted(model):
        whole = route(model, inputs)
        parts = [list(site) for site in zip(*decode(model, inputs), strict=True)]
    moved = total = 0
    for site, one, steps in zip(model.sites, whole, parts, strict=True):
        heard = [step for step in steps if step is not None]
        joined = heard[0] if site.stack == "encoder" else _joined(heard)
        total += len(one.ids)
        moved += _moved(model, one, joined)
    return _agreement(model, moved, total, "Prompt and single tokens from the cache")


def implemented(model: LoadedModel) -> Verdict:
    """The ways transformers can run the experts, each against the one that is set."""
    inputs = _probe(model)
    usual = route(model, inputs)
    moved = total = 0
    ran = []
    for name in IMPLEMENTATIONS:
        with experts_run_by(model, name) as possible:
            if not possible or (name == "batched_mm" and _copied(model) > MOST_COPIED):
                continue
            ran.append(name)
            for one, other in zip(usual, route(model, inputs), strict=True):
                total += len(one.ids)
                moved += _moved(model, one, other)
    if not ran:
        return NOT_APPLICABLE, "This architecture runs its experts in one way only."
    return _agreement(model, moved, total, f"Experts run by {', '.join(ran)}")


def told(model: LoadedModel) -> Verdict:
    """The router logits that the model itself hands out, against ours."""
    inputs = _probe(model)
    step = route(model, inputs)
    try:
        theirs = own_logits(model.network, inputs)
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


def _hooks(network: nn.Module) -> int:
    return sum(len(m._forward_hooks) + len(m._forward_pre_hooks) for m in network.modules())


def _batched(model: LoadedModel, left: bool, mask: bool = True) -> Verdict:
    ids = _probe(model)["input_ids"][0].tolist()
    texts = [ids, ids[3:-4], ids[6:]]
    batch = batch_inputs(model.network, texts, left=left)
    if not mask:
        del batch.inputs["attention_mask"]
    with capacity_lifted(model):
        together = route(model, batch.inputs)
        alone = [route(model, model_inputs(model.network, text)) for text in texts]
    moved = total = 0
    for number, step in enumerate(alone):
        for site, one, many in zip(model.sites, step, together, strict=True):
            rows = batch.rows[site.stack][number]
            total += len(rows)
            moved += _moved(model, one, _part(many, rows))
    return _agreement(model, moved, total, f"Padded on the {'left' if left else 'right'}")


def _copied(model: LoadedModel) -> float:
    """Bytes that batched_mm copies in the largest layer for a text of `TOKENS` tokens."""

    def bytes_per_expert(site: Site) -> float:
        held = sum(p.numel() * p.element_size() for p in site.experts.parameters())
        return held / model.traits[site.name].experts

    chosen = max(trait.chosen for trait in model.traits.values())
    return TOKENS * chosen * max(map(bytes_per_expert, model.sites))


def _part(choice: Choice, rows: Tensor) -> Choice:
    rows = rows.to(choice.ids.device)
    return Choice(choice.ids[rows], choice.gates[rows], None, None)


def _joined(parts: list[Choice]) -> Choice:
    ids, gates = torch.cat([p.ids for p in parts]), torch.cat([p.gates for p in parts])
    return Choice(ids, gates, None, None)


def _moved(model: LoadedModel, one: Choice, other: Choice) -> int:
    """Rows whose chosen experts or gates differ beyond rounding; every row if the count differs."""
    if one.ids.shape != other.ids.shape:
        return max(len(one.ids), len(other.ids))
    width = int(max(one.ids.max(), other.ids.max())) + 1
    near = 1e-3 if model.dtype == "float32" else 0.1
    first, second = dense(one, width).float(), dense(other, width).float()
    return int(((first - second).abs().amax(-1) > near * first.abs().amax().clamp(min=1)).sum())


def _agreement(model: LoadedModel, moved: int, total: int, road: str) -> Verdict:
    """Exact in float32; lower precision may move a tenth of the rows, as rounding decides ties."""
    allowed = 0 if model.dtype == "float32" else total // 10
    detail = f"{road}: {total - moved:,} of {total:,} rows are routed alike."
    return (PASS if moved <= allowed else FAIL), detail


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
