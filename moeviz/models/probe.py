"""Trying a model on a short text before anything it routes is believed.

What is checked is meaning as well as shape, since a swapped pair of tensors can have the right
shape: ids below E and no expert twice, a choice that is the top-K of what it was made from, gates
that follow from the logits, experts that answer for exactly the tokens sent to them, and earlier
tokens that do not move when the last one changes.
"""

from __future__ import annotations

import statistics
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
import transformers
from torch import Tensor, nn

from moeviz.models.choices import CaptureError, Choice
from moeviz.models.inputs import probe_inputs
from moeviz.models.replay import Replay, adds_up, answers, factor_after_experts
from moeviz.models.sites import Site, expert_count
from moeviz.models.tape import run_once
from moeviz.trace import EMPTY, MoevizError, RouterSpec

PROBE_TOKENS = 24


@dataclass(frozen=True)
class SiteTraits:
    """What the probe found out about one routed layer.

    experts, chosen: E and K. has_logits: the router shows them; probabilities: what it shows is
    softmax output already. follows_logits: the choice is the top-K of the logits;
    follows_scores: it is the top-K of the scores that the router ranked (bias, groups).
    scoring, renormalised, scale: how gates follow from logits. after: the constant by which the
    block multiplies the sum of its experts, and so each gate.
    """

    experts: int
    chosen: int
    has_logits: bool
    probabilities: bool
    follows_logits: bool
    follows_scores: bool
    scoring: str
    renormalised: bool
    scale: float
    after: float


@dataclass(frozen=True)
class Probed:
    """sites: the layers that the text's tokens run through, in the order they run; traits: by site
    name; routers: facts for each stack."""

    sites: tuple[Site, ...]
    traits: dict[str, SiteTraits]
    routers: dict[str, RouterSpec]
    warnings: tuple[str, ...]

    @property
    def spied(self) -> frozenset[str]:
        """Sites whose selection score is worth recording: it explains what the logits do not."""
        return frozenset(
            n for n, t in self.traits.items() if t.follows_scores and not t.follows_logits
        )


def probe(network: nn.Module, tokenizer, sites: tuple[Site, ...]) -> Probed:
    """What one short run shows of the routed layers of `network`.

    Raises CaptureError when a layer's routing cannot be read or does not mean what it should.
    """
    inputs = probe_inputs(network, tokenizer, PROBE_TOKENS)
    with Replay(sites) as replay, _plain_trouble(network):
        _, step = run_once(network, sites, inputs, spied=[site.name for site in sites])
    heard = {site: choice for site, choice in zip(sites, step, strict=True) if choice}
    _check_heard(network, sites, heard, replay)
    reading = {s: c for s, c in heard.items() if len(c.ids) == _rows(s, inputs)}
    kept = tuple(sorted(reading, key=replay.order))
    _check_overheard(reading, replay)
    traits = {
        site.name: site_traits(site, reading[site], factor_after_experts(site, replay))
        for site in kept
    }
    routers = {
        stack: router_spec(network, [s for s in kept if s.stack == stack], traits)
        for stack in sorted({site.stack for site in kept})
    }
    warnings = [
        *_silent_sites(sites, heard),
        *_sites_off_the_text(heard, reading),
        *_looks_ahead(network, reading, inputs),
        *_wrong_experts(network, reading, replay),
        *_unexplained(kept, traits),
        *_weightless(kept, traits),
    ]
    return Probed(kept, traits, routers, tuple(warnings))


@contextmanager
def _plain_trouble(network: nn.Module) -> Iterator[None]:
    """What a model raises of its own, as one sentence."""
    try:
        yield
    except MoevizError:
        raise
    except Exception as error:  # a model of any make fails in its own way
        first = str(error).strip().split("\n")[0]
        raise CaptureError(
            f"{type(network).__name__} does not run on a short text with transformers "
            f"{transformers.__version__}: {type(error).__name__}: {first}"
        ) from error


def site_traits(site: Site, choice: Choice, after: float) -> SiteTraits:
    """The traits that `choice` shows; raises CaptureError when it contradicts itself."""
    ids, gates = choice.ids, choice.gates.float()
    by_scores = choice.scores is not None and explains(choice.scores.float(), ids)
    experts = _experts(site, choice, by_scores)
    _check_ids(site, ids, gates, experts)
    if choice.logits is None:
        return SiteTraits(
            experts, ids.shape[-1], False, False, False, by_scores, "other", False, 1.0, after
        )
    logits = choice.logits.float()
    probabilities = bool((logits >= 0).all() and _close(logits.sum(-1), 1.0, logits.dtype))
    follows = explains(logits, ids)
    scoring, renormalised, scale = _scoring(
        logits.log() if probabilities else logits, ids, gates, choice.gates.dtype
    )
    return SiteTraits(
        experts=experts,
        chosen=ids.shape[-1],
        has_logits=True,
        probabilities=probabilities,
        follows_logits=follows,
        follows_scores=by_scores,
        scoring=scoring,
        renormalised=renormalised,
        scale=scale,
        after=after,
    )


def explains(scores: Tensor, ids: Tensor) -> bool:
    """Whether every row's ids (-1 left out) are among the top-K of its scores, ties either way."""
    worst = scores.topk(ids.shape[-1], dim=-1).values[:, -1:]
    chosen = scores.gather(-1, ids.clamp(min=0).long())
    return bool(((chosen >= worst) | (ids == EMPTY)).all())


def router_spec(network: nn.Module, sites: list[Site], traits: dict[str, SiteTraits]) -> RouterSpec:
    """Facts on the routed layers of one stack; where layers differ, per layer."""
    found = [traits[site.name] for site in sites]
    config = network.config.get_text_config()
    experts, chosen = [t.experts for t in found], [t.chosen for t in found]
    groups = int(_stated(config, "n_group") or 0)
    return RouterSpec(
        experts=max(experts),
        chosen=max(chosen),
        scoring=_common([t.scoring for t in found], "mixed"),
        renormalised=all(t.renormalised for t in found),
        scale=_common_scale([t.scale * t.after for t in found], network.dtype == torch.float32),
        bias=not all(t.follows_logits for t in found),
        groups=groups if groups > 1 else 0,
        groups_chosen=int(_stated(config, "topk_group") or 0) if groups > 1 else 0,
        shared=_shared_experts(network, config, sites),
        logits_kind="log-probabilities" if any(t.probabilities for t in found) else "logits",
        capacity=_capacity(config, sites[0]),
        stack=sites[0].stack,
        sites=tuple(site.name for site in sites),
        experts_per_layer=tuple(experts) if len(set(experts)) > 1 else (),
        chosen_per_layer=tuple(chosen) if len(set(chosen)) > 1 else (),
    )


def _experts(site: Site, choice: Choice, by_scores: bool) -> int:
    """E: what the router scores, else the experts that hold weights, else the ids seen."""
    if choice.logits is not None:
        return choice.logits.shape[-1]
    if by_scores:
        return choice.scores.shape[-1]
    return expert_count(site) or int(choice.ids.max()) + 1


def _check_ids(site: Site, ids: Tensor, gates: Tensor, experts: int) -> None:
    if int(ids.max()) >= experts or int(ids.min()) < EMPTY:
        raise CaptureError(
            f"{site.name}: expert ids run from {int(ids.min())} to {int(ids.max())}, "
            f"but it has {experts} experts."
        )
    ordered = ids.sort(dim=-1).values
    if ((ordered[:, 1:] == ordered[:, :-1]) & (ordered[:, 1:] != EMPTY)).any():
        raise CaptureError(f"{site.name}: a token was sent to the same expert twice.")
    if not torch.isfinite(gates).all():
        raise CaptureError(f"{site.name}: some gates are not finite numbers.")


_SCORINGS = {
    "softmax": lambda x: x.softmax(-1),
    "sigmoid": lambda x: x.sigmoid(),
    "sqrt-softplus": lambda x: nn.functional.softplus(x).sqrt(),
}


def _scoring(
    logits: Tensor, ids: Tensor, gates: Tensor, dtype: torch.dtype
) -> tuple[str, bool, float]:
    """(scoring, renormalised, scale): the first rule under which every gate follows.

    Plain: gate = scale * score(expert). Renormalised: scale * score / sum of the chosen scores.
    """
    full = (ids != EMPTY).all(-1)
    if not full.any():
        return "other", False, 1.0
    logits, ids, gates = logits[full], ids[full].long(), gates[full]
    for name, rule in _SCORINGS.items():
        scores = rule(logits).gather(-1, ids)
        plain = gates / scores
        if _close(plain, float(plain.median()), dtype):
            return name, False, _rounded(plain.median())
        shares = scores / scores.sum(-1, keepdim=True)
        normal = gates / shares
        if _close(normal, float(normal.median()), dtype):
            return name, True, _rounded(normal.median())
    return "other", False, 1.0


def _close(values: Tensor, target: float, dtype: torch.dtype) -> bool:
    """Whether all values are `target` up to the rounding of `dtype`."""
    tolerance = 5e-4 if dtype == torch.float32 else 4e-2
    return bool((values.float() - target).abs().max() <= tolerance * max(abs(target), 1e-6))


def _rounded(value: Tensor) -> float:
    return round(float(value), 4)


def _common_scale(values: list[float], exact: bool) -> float:
    """The layers' one scale, to the digits that the precision shows; 1 where layers differ."""
    if max(values) - min(values) > 0.01 * max(values):
        return 1.0
    return round(statistics.median(values), 4 if exact else 2)


def _common(values: list, otherwise):
    return values[0] if len(set(values)) == 1 else otherwise


def _shared_experts(network: nn.Module, config, sites: list[Site]) -> int:
    """Shared experts per layer: their number where the configuration tells, else 1 if present."""
    around = [network.get_submodule(site.name.rpartition(".")[0]) for site in sites]
    holders = [*(site.block for site in sites), *around]
    if not any("shared" in n for holder in holders for n, _ in holder.named_children()):
        return 0
    for key in ("n_shared_experts", "num_shared_experts", "moe_num_shared_experts"):
        if _stated(config, key):
            return int(_stated(config, key))
    return 1


def _stated(config, name: str) -> Any:
    """What the configuration says; None where it does not, or says it for each layer apart."""
    try:
        return getattr(config, name, None)
    except RuntimeError:
        return None


def _capacity(config, site: Site) -> int:
    """Tokens per expert and text that the router lets through; 0 when it grows with the text."""
    capacity = getattr(site.router, "expert_capacity", None)
    return int(capacity) if capacity and capacity == _stated(config, "expert_capacity") else 0


def _rows(site: Site, inputs: dict) -> int:
    """How many tokens the stack of `site` is given."""
    decoder = site.stack == "decoder" and "decoder_input_ids" in inputs
    return inputs["decoder_input_ids" if decoder else "input_ids"].numel()


def _check_heard(network: nn.Module, sites: tuple[Site, ...], heard, replay: Replay) -> None:
    hidden = [site.name for site in sites if site not in heard and replay.ran(site.block)]
    if hidden:
        raise CaptureError(
            f"{hidden[0]} ran, but did not call its experts as a module: a fused kernel (mxfp4, "
            "for example) hides what it chose. Load the model with plain, dequantised weights."
        )
    if not heard:
        raise CaptureError(
            f"{type(network).__name__} has {len(sites)} routed layers, but none of them ran on "
            "text alone."
        )


def _check_overheard(reading: dict[Site, Choice], replay: Replay) -> None:
    for site, choice in reading.items():
        if site.kind == "listed" and not adds_up(site, choice, replay):
            raise CaptureError(
                f"{site.name} calls its experts itself, and the choices and weights that MoEViz "
                "overheard there do not add up to its output. Its routing cannot be shown."
            )


def _silent_sites(sites: tuple[Site, ...], heard: dict[Site, Choice]) -> list[str]:
    silent = [site.name for site in sites if site not in heard]
    if not silent:
        return []
    return [
        f"{len(silent)} of {len(sites)} routed layers do not run on text alone and are left out "
        f"(the first is {silent[0]})."
    ]


def _sites_off_the_text(heard: dict[Site, Choice], reading: dict[Site, Choice]) -> list[str]:
    others = [site for site in heard if site not in reading]
    if not others:
        return []
    if not reading:
        raise CaptureError(
            f"{others[0].name} routed {len(heard[others[0]].ids)} rows, which are not the tokens "
            "of the text; MoEViz cannot tell which row is which token."
        )
    return [
        f"{len(others)} of {len(heard)} routed layers work on something other than the text's own "
        f"tokens (a canvas that is being filled in, for example) and are left out (the first is "
        f"{others[0].name})."
    ]


def _looks_ahead(network: nn.Module, heard: dict[Site, Choice], inputs: dict) -> list[str]:
    """A warning when changing the last token moves the routing of earlier ones in a decoder."""
    name = "decoder_input_ids" if "decoder_input_ids" in inputs else "input_ids"
    changed = dict(inputs)
    changed[name] = inputs[name].clone()
    changed[name][0, -1] = inputs[name][0, 0]
    _, step = run_once(network, tuple(heard), changed)
    tokens = inputs[name].shape[1]
    pairs = [(s, before, after) for (s, before), after in zip(heard.items(), step, strict=True)]
    pairs = [pair for pair in pairs if pair[0].stack == "decoder" and len(pair[1].ids) == tokens]
    moved = first_moved(pairs, network.dtype == torch.float32)
    return [] if moved is None else [_not_causal(network, moved)]


def first_moved(pairs: Sequence[tuple[Site, Choice, Choice]], exact: bool) -> Site | None:
    """The first site where rows other than the last were routed differently in the second run.

    Not `exact`, in low precision: rounding alone may tip a choice, and what it tips spreads. Then
    only the first site counts, and only logits that differ by a tenth of their spread.
    """
    for site, one, other in pairs if exact else pairs[:1]:
        if exact or one.logits is None:
            same = torch.equal(one.ids[:-1], other.ids[:-1])
        else:
            before, after = one.logits[:-1].float(), other.logits[:-1].float()
            same = bool((before - after).abs().max() <= 0.1 * before.std())
        if not same:
            return site
    return None


def _not_causal(network: nn.Module, site: Site) -> str:
    if not network.can_generate():
        return (
            "This model reads a text in both directions, so a token's experts depend on the "
            "tokens after it too."
        )
    return (
        "This model is not causal: changing the last token changed how earlier tokens were routed "
        f"(first seen in {site.name}). Its routing while it generates differs from its routing of "
        "a whole text."
    )


def _wrong_experts(network: nn.Module, reading: dict[Site, Choice], replay: Replay) -> list[str]:
    site, choice = next(iter(reading.items()))
    wrong = answers(site, choice, replay, most=8).wrong
    if not wrong:
        return []
    return [
        f"This version of transformers does not run the experts that {network.config.model_type} "
        f"chose: taking out expert {wrong[0]} of {site.name} did not change exactly the tokens "
        "sent to it. The routing shown is the router's; the model's output does not follow it."
    ]


def _unexplained(sites: tuple[Site, ...], traits: dict[str, SiteTraits]) -> list[str]:
    found = [traits[site.name] for site in sites]
    other = [t for t in found if t.has_logits and not t.follows_logits and not t.follows_scores]
    if not other:
        return []
    return [
        f"In {len(other)} of {len(found)} routed layers the choice follows from no score that the "
        "router ranks (it may be looked up by token): the logits there only set the gates."
    ]


def _weightless(sites: tuple[Site, ...], traits: dict[str, SiteTraits]) -> list[str]:
    for site in sites:
        count, shown = expert_count(site), traits[site.name].experts
        if site.kind == "indexed" and count is not None and shown > count:
            return [
                f"The routers choose among {shown} classes but only {count} experts hold weights: "
                f"a token that picks class {count} or above passes that slot unchanged, or leaves "
                "it empty."
            ]
    return []
