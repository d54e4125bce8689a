"""Every architecture that the installed transformers can route with, on a tiny random model.

What there is to test is looked up in transformers, so a new release's new architecture is tried
without a line of code here; its tests carry "new" in their name. What does not hold for a type is
written down below with its reason, and asserted.
"""

from functools import cache

import numpy as np
import pytest
import tiny
import torch
import transformers

import moeviz
from moeviz.models import adopt
from moeviz.models.inputs import model_inputs
from moeviz.models.load import LoadedModel
from moeviz.models.proofs import FAIL, NOT_APPLICABLE, PASS, PROOFS, prove
from moeviz.models.run import trace_tokens
from moeviz.models.sites import NotRouted
from moeviz.models.ways import capacity_lifted
from moeviz.models.witness import Witness
from moeviz.models.zoo import architectures, tiny_model
from moeviz.rules.capacity import RuleError
from moeviz.rules.interventions import (
    Assign,
    ChangeK,
    Force,
    Mute,
    Noise,
    Route,
    Rule,
    Steer,
    Swap,
    Temperature,
    combined,
)
from moeviz.rules.routing import RoutingRule
from moeviz.trace import EMPTY, MoevizError, RoutingTrace, Tokens

NAMES = """
    afmoe aria axk1 axk2 bailing_hybrid beam cohere2_moe dbrx deepseek_ocr2 deepseek_v2
    deepseek_v3 deepseek_v32 deepseek_v4 diffusion_gemma doge dots1 dots3_note ernie4_5_moe
    ernie4_5_vl_moe exaone_moe flex_olmo flint gemma4 glm4_moe glm4_moe_lite glm4v_moe glm5_next
    glm_moe_dsa gpt_oss granitemoe granitemoe_swa granitemoehybrid granitemoeshared
    hunyuan_v1_moe hy_v3 hy_v4 inkling2 inkling_mm_model jamba jetmoe kimi_k25 kimi_linear
    kolibri1 laguna lfm2_moe llama4 longcat_flash mellum mimo_v2_flash minimax minimax_m2
    minimax_m3_vl mistral4 mistral_large4 mixtral muse_spark nemo_speechlm nemotron_h
    nemotron_h_omni nllb-moe olmoe openai_privacy_filter phimoe qwen2_moe qwen3_5_moe qwen3_moe
    qwen3_next qwen3_omni_moe_thinker qwen3_vl_moe qwen4_exp solar_open step3p7
    switch_transformers unlimited_ocr zaya
"""
KNOWN = frozenset(NAMES.split())
"""Routed architectures of transformers 5.23: 72, and three that hold one of them inside."""

NOT_ROUTED = {
    "bamba": "its configuration shares code with an MoE model; its own layers are dense",
    "cosmos3_omni": "two dense towers take turns by modality; there is no router",
    "decision_transformer": 'the "expert" in its documentation is a data set',
    "evolla": "its adapters are dense",
    "pi0": "two dense models; each token's own kind decides, nothing is routed",
    "vitpose": "estimates poses, reads no text; its data set index picks the expert",
    "vitpose_backbone": "as vitpose",
}
"""Types whose code speaks of experts but that have no router whose choices could be shown."""

BOTH_WAYS = "reads a text in both directions"
OFFERS_NONE = "its output has no field for router logits"
ONE_WAY = "its experts are not decorated to be run in other ways"
NOT_CAUSAL = "as shipped it mixes the half keys of all tokens: routes depend on the whole batch"

EXCEPTIONS: dict[str, dict[str, tuple[str, str]]] = {
    "dbrx": {"implemented": (NOT_APPLICABLE, ONE_WAY)},
    "deepseek_v4": {
        "padded left": (FAIL, "its compressed attention counts blocks from the first column"),
    },
    "diffusion_gemma": {
        "causal": (NOT_APPLICABLE, "its encoder is what reads the text"),
        "continued": (NOT_APPLICABLE, "it fills in a canvas, not token after token"),
        "told": (NOT_APPLICABLE, OFFERS_NONE),
    },
    "doge": {
        "causal": (FAIL, NOT_CAUSAL),
        "padded": (FAIL, NOT_CAUSAL),
        "padded left": (FAIL, NOT_CAUSAL),
        "continued": (FAIL, NOT_CAUSAL),
        "implemented": (NOT_APPLICABLE, ONE_WAY),
    },
    "jetmoe": {"implemented": (NOT_APPLICABLE, ONE_WAY)},
    "kimi_k25": {"told": (NOT_APPLICABLE, OFFERS_NONE)},
    "llama4": {"implemented": (NOT_APPLICABLE, ONE_WAY)},
    "longcat_flash": {"implemented": (NOT_APPLICABLE, ONE_WAY)},
    "nemo_speechlm": {"told": (NOT_APPLICABLE, OFFERS_NONE)},
    "nemotron_h_omni": {"told": (NOT_APPLICABLE, OFFERS_NONE)},
    "nllb-moe": {
        "answered": (FAIL, "transformers 5.23 runs experts 0 and 1 whatever was chosen"),
        "implemented": (NOT_APPLICABLE, ONE_WAY),
    },
    "openai_privacy_filter": {
        "causal": (NOT_APPLICABLE, BOTH_WAYS),
        "continued": (NOT_APPLICABLE, "it labels tokens and does not generate"),
        "told": (NOT_APPLICABLE, OFFERS_NONE),
    },
    "step3p7": {"implemented": (NOT_APPLICABLE, ONE_WAY)},
    "switch_transformers": {"implemented": (NOT_APPLICABLE, ONE_WAY)},
}
"""By type and proof: the verdict that is not "pass", and why."""

TOLD = {
    "deepseek_v4": "2 tensors, all equal to ours; it leaves out 1 of 3 routed layers.",
    "gemma4": "3 tensors, all equal to ours; they are probabilities, not logits.",
    "jetmoe": "12 tensors, all equal to ours; some come more than once (8 layers).",
}
"""Where the model's own router logits are not simply one tensor for each of our layers."""

LABELS_ONLY = {"openai_privacy_filter"}
"""Types that label tokens and predict none, so there is no next-token loss."""

WRITES_NOT = {
    "diffusion_gemma": "it fills in a canvas; the layers shown only read",
    "nllb-moe": "it translates: its decoder answers a text instead of continuing it",
    "openai_privacy_filter": "it labels tokens",
    "switch_transformers": "it fills in gaps: its decoder answers a text",
}
"""Types that cannot continue a prompt, and why."""

OUT_OF_REACH = (
    "model.layers.0.mlp weighs its experts where nothing outside can reach it, so this rule "
    "cannot be enforced there."
)
NO_RULE = {"doge": OUT_OF_REACH}
"""Types that no rule can take hold of, and what is said."""

NO_CHOICE = {
    "deepseek_v4": (
        "model.layers.0.mlp does not choose experts by their scores (it may look them up by "
        "token), so a rule cannot change its choice."
    )
}
"""Types whose first routed layer's choice cannot be changed (weights and logits can)."""

NO_ALGORITHM = {
    "deepseek_v4": "does not follow from its logits alone",
    "doge": "weighs its experts where nothing outside can reach it",
    "inkling_mm_model": "does not follow from its logits alone",
    "jetmoe": "takes its experts in a form (sorted)",
    "nllb-moe": "takes its experts in a form (one-hot)",
    "phimoe": "does not follow from its logits alone",
    "switch_transformers": "takes its experts in a form (one-hot)",
}
"""Types under no routing algorithm but their own, and why."""

K_STAYS = {
    "inkling_mm_model": (
        "model.language_model.layers.0.mlp cuts its weights by a K of its own, so K cannot be "
        "changed there."
    ),
    "longcat_flash": (
        "The model cannot run with the rule k=1 @0: not enough values to unpack (expected 2, got 1)"
    ),
}
K_NOT_RAISED = {
    "deepseek_v4", "inkling_mm_model", "jetmoe", "nllb-moe", "phimoe", "switch_transformers", "zaya"
}  # fmt: skip
"""Types where K cannot be lowered to 1, and where it cannot be raised."""

WARNINGS = {
    "deepseek_v4": [
        "In 1 of 3 routed layers the choice follows from no score that the router ranks (it may "
        "be looked up by token): the logits there only set the gates."
    ],
    "diffusion_gemma": [
        "3 of 6 routed layers work on something other than the text's own tokens (a canvas that "
        "is being filled in, for example) and are left out (the first is "
        "model.decoder.layers.0)."
    ],
    "doge": [
        "This model is not causal: changing the last token changed how earlier tokens were "
        "routed (first seen in model.layers.0.mlp). Its routing while it generates differs from "
        "its routing of a whole text."
    ],
    "dots3_note": [
        "2 of 4 routed layers do not run on text alone and are left out (the first is "
        "model.vision_tower.blocks.1.mlp)."
    ],
    "ernie4_5_vl_moe": [
        "2 of 4 routed layers do not run on text alone and are left out (the first is "
        "model.language_model.layers.1.mlp.vision_moe)."
    ],
    "longcat_flash": [
        "The routers choose among 10 classes but only 8 experts hold weights: a token that picks "
        "class 8 or above passes that slot unchanged, or leaves it empty."
    ],
    "nllb-moe": [
        "This version of transformers does not run the experts that nllb-moe chose: taking out "
        "expert 0 of model.encoder.layers.1.ffn did not change exactly the tokens sent to it. "
        "The routing shown is the router's; the model's output does not follow it."
    ],
    "openai_privacy_filter": [
        "This model reads a text in both directions, so a token's experts depend on the tokens "
        "after it too."
    ],
    "zaya": [
        "The routers choose among 9 classes but only 8 experts hold weights: a token that picks "
        "class 8 or above passes that slot unchanged, or leaves it empty."
    ],
}

ROWS = 20

TYPES = [name for name in architectures() if name not in NOT_ROUTED]
every_type = pytest.mark.parametrize(
    "model_type", TYPES, ids=lambda name: name if name in KNOWN else f"{name}-new"
)


@cache
def loaded(model_type: str) -> LoadedModel:
    return adopt(tiny_model(model_type), tiny.tokenizer(), name=model_type)


def some_tokens(count: int) -> Tokens:
    ids = [(11 * i + 5) % 190 for i in range(count)]
    nothing = np.zeros(count, bool)
    return Tokens("", ids, np.full((count, 2), -1), nothing, nothing)


@every_type
def test_every_claim_is_proven(model_type):
    proofs = prove(loaded(model_type))
    expected = EXCEPTIONS.get(model_type, {})
    verdicts = {proof.name: proof.verdict for proof in proofs}
    assert verdicts == {name: expected.get(name, (PASS,))[0] for name in PROOFS}, proofs
    told = next(proof.detail for proof in proofs if proof.name == "told")
    if model_type in TOLD:
        assert told == TOLD[model_type]
    elif "told" not in expected:
        assert told == f"{len(loaded(model_type).sites)} tensors, all equal to ours."


@every_type
def test_the_trace_holds_what_the_experts_received(model_type):
    """By the second listener alone, once the trace is assembled: for every layer, token, slot."""
    model, tokens = loaded(model_type), some_tokens(13)
    widths = {name: trait.experts for name, trait in model.traits.items()}
    for stack, spec in model.routers.items():
        trace = trace_tokens(model, tokens, stack=stack)
        torch.manual_seed(0)
        with torch.inference_mode(), Witness(model.sites, widths) as witness:
            model.network(**model_inputs(model.network, tokens.ids))
        assert len(trace.layers) == len(spec.sites)
        for row, site in enumerate(spec.sites):
            table = witness.tables[site].float().numpy() * model.traits[site].after
            shown = np.zeros_like(table)
            for slot in range(trace.router.chosen):
                ids, gates = trace.experts[row, :, slot], trace.gates[row, :, slot]
                used = np.flatnonzero(ids != EMPTY)
                shown[used, ids[used]] += gates[used]
            np.testing.assert_array_equal(shown, table)
            order = np.where(trace.experts[row] == EMPTY, -np.inf, trace.gates[row])
            assert (order[:, :-1] >= order[:, 1:]).all(), "largest gate first, empty slots last"


@every_type
def test_a_text_goes_in_and_a_trace_comes_out(model_type, tmp_path):
    model = loaded(model_type)
    for stack in model.routers:
        trace = moeviz.trace_text(model, "the router sends each token", stack=stack)
        assert moeviz.open_trace(trace.save(tmp_path / "a.moetrace")).key == trace.key
        assert (trace.loss is None) == (stack == "encoder" or model_type in LABELS_ONLY)


@every_type
def test_what_it_writes_is_routed_as_the_whole_text_is(model_type):
    model = loaded(model_type)
    if model_type in WRITES_NOT:
        with pytest.raises(MoevizError, match="does not continue a text"):
            next(moeviz.generate(model, "le routeur"))
        return
    *_, last = moeviz.generate(model, "le routeur", max_new_tokens=3)
    whole = trace_tokens(model, last.trace.tokens)
    same = (last.trace.experts == whole.experts).all()
    assert same == ("continued" not in EXCEPTIONS.get(model_type, {}))
    if same:
        np.testing.assert_allclose(last.trace.loss[:-1], whole.loss[:-1], atol=1e-3)


@every_type
def test_rules_change_what_they_say_and_nothing_else(model_type):
    """At the first routed layer of each stack, without the model's own capacity, which makes
    tokens compete."""
    model = loaded(model_type)
    if model_type in NO_RULE:
        with pytest.raises(RuleError) as caught:
            trace_tokens(model, some_tokens(ROWS), Mute(0))
        assert str(caught.value) == NO_RULE[model_type]
        return
    there = hooks(model)  # transformers leaves some of its own behind
    for stack in model.routers:
        with capacity_lifted(model):
            lab = Lab(model, stack)
            lab.weights_change()
            lab.logits_change()
            if model_type in NO_CHOICE:
                lab.refuse(Mute(lab.used, layers=lab.layer), NO_CHOICE[model_type])
            else:
                lab.choice_changes()
            lab.k_changes(K_STAYS.get(model_type, ""), model_type not in K_NOT_RAISED)
            lab.equal(lab.run(), lab.plain)
    assert hooks(model) == there


def hooks(model: LoadedModel) -> int:
    modules = model.network.modules()
    return sum(len(m._forward_hooks) + len(m._forward_pre_hooks) for m in modules)


class Lab:
    """One stack's first routed layer, with runs of the same tokens under rules."""

    def __init__(self, model: LoadedModel, stack: str):
        self.model, self.stack = model, stack
        self.site = next(site for site in model.sites if site.stack == stack)
        self.traits = model.traits[self.site.name]
        self.plain = self.run()
        self.layer = moeviz.trace.layer_names(self.plain.layers)[0]
        sent = self.plain.experts[0]
        counts = [(sent == e).any(-1).sum() for e in range(self.traits.experts)]
        self.used = next(e for e, n in enumerate(counts) if 0 < n < len(sent))
        self.users = (sent == self.used).any(-1)
        self.idle = [e for e, n in enumerate(counts) if n == 0]

    def run(self, rule=None) -> RoutingTrace:
        torch.manual_seed(0)
        self.output = None
        handle = self.site.block.register_forward_hook(self._keep)
        try:
            return trace_tokens(self.model, some_tokens(ROWS), rule, stack=self.stack)
        finally:
            handle.remove()

    def _keep(self, module, args, output) -> None:
        output = output if isinstance(output, torch.Tensor) else output[0]
        self.output = output.reshape(-1, output.shape[-1]).clone()

    def refuse(self, rule, sentence: str) -> None:
        with pytest.raises(RuleError) as caught:
            self.run(rule)
        assert str(caught.value) == sentence

    def equal(self, one: RoutingTrace, other: RoutingTrace) -> None:
        for name in ("experts", "gates", "logits", "scores", "loss"):
            np.testing.assert_array_equal(getattr(one, name), getattr(other, name), name)

    def moved(self, trace: RoutingTrace) -> np.ndarray:
        """[T] bool: tokens whose experts or gates at the layer are not what they were."""
        experts, gates = trace.experts[0] != self.plain.experts[0], self.plain.gates[0]
        return experts.any(-1) | (trace.gates[0] != gates).any(-1)

    def weights_change(self) -> None:
        dropped = self.run(Mute(self.used, drop=True, layers=self.layer))
        np.testing.assert_array_equal(self.moved(dropped), self.users)
        assert not (dropped.experts[0] == self.used).any()
        if self.idle:
            self.equal(self.run(Mute(self.idle, drop=True, layers=self.layer)), self.plain)

    def logits_change(self) -> None:
        still = combined(Temperature(1, layers=self.layer), Noise(0, layers=self.layer))
        self.equal(self.run(still), self.plain)
        flat = self.run(Temperature(2, layers=self.layer)).logits[0]
        expected = self.plain.logits[0] / 2
        if self.traits.probabilities:
            expected = expected - np.logaddexp.reduce(expected, axis=-1, keepdims=True)
        np.testing.assert_allclose(flat, expected, atol=1e-4)
        steered = self.run(Steer(self.used, layers=self.layer))
        assert (steered.logits[0].argmax(-1) == self.used).all()
        if self.traits.follows_logits:
            assert (steered.experts[0] == self.used).any(-1).all()

    def choice_changes(self) -> None:
        before = self.output_of(None)
        muted = self.run(Mute(self.used, layers=self.layer))
        np.testing.assert_array_equal(self.moved(muted), self.users)
        assert not (muted.experts[0] == self.used).any()
        if before is not None and len(before) == len(self.users):  # not a block of another form
            far = (self.output - before).abs().amax(-1) / before.abs().amax()
            changed = (far > 1e-5).numpy()  # a product rounds by how many rows it is given
            if self.model.name != "nllb-moe":  # whose experts do not follow its routers
                np.testing.assert_array_equal(changed, self.users)
        forced = self.run(Force(self.used, layers=self.layer))
        assert (forced.experts[0] == self.used).any(-1).all()
        np.testing.assert_array_equal(
            forced.experts[0][self.users], self.plain.experts[0][self.users]
        )
        if self.idle:
            self.equal(self.run(Mute(self.idle, layers=self.layer)), self.plain)
        self.own_route_is_no_change()
        self.one_token_changes()

    def output_of(self, rule):
        self.run(rule)
        return self.output

    def own_route_is_no_change(self) -> None:
        routes = self.plain.experts[0]
        own = [Route(route.tolist(), layers=self.layer, tokens=t)
               for t, route in enumerate(routes) if (route != EMPTY).all()]  # fmt: skip
        self.equal(self.run(Rule(tuple(own))), self.plain)

    def one_token_changes(self) -> None:
        token = int(np.flatnonzero(self.users)[0])
        route = set(self.plain.experts[0, token].tolist())
        new = next(e for e in range(self.traits.experts) if e not in route)
        swapped = self.run(Swap(self.used, new, layers=self.layer, tokens=token))
        assert np.flatnonzero(self.moved(swapped)).tolist() == [token]
        found = set(swapped.experts[0, token].tolist()) - {EMPTY}
        assert found in ({*route, new} - {self.used}, route - {self.used})  # zaya's class 8 skips

    def k_changes(self, stays: str, raised: bool) -> None:
        """Lowered for all tokens and for one, where the model's own code and ours must agree."""
        k = self.traits.chosen
        self.equal(self.run(ChangeK(k, layers=self.layer)), self.plain)
        if stays:
            self.refuse(ChangeK(1, layers=self.layer), stays)
        else:
            one = self.run(ChangeK(1, layers=self.layer))
            few = self.run(ChangeK(1, layers=self.layer, tokens=range(ROWS)))
            assert ((one.experts[0] != EMPTY).sum(-1) <= 1).all()
            if self.traits.follows_logits:  # a bias may rank the best gate second
                np.testing.assert_array_equal(one.experts[0, :, 0], few.experts[0, :, 0])
                np.testing.assert_allclose(
                    one.gates[0, :ROWS, 0], few.gates[0, :ROWS, 0], rtol=1e-4
                )
        if raised:
            more = self.run(ChangeK(k + 1, layers=self.layer))
            filled = self.plain.experts[0] != EMPTY
            kept = (self.plain.experts[0][..., None] == more.experts[0][:, None]).any(-1)
            assert (kept | ~filled).all() and more.experts.shape[-1] == k + 1
        else:
            with pytest.raises(RuleError, match=r"K (cannot be raised|of its own)"):
                self.run(ChangeK(k + 1, layers=self.layer))


@every_type
def test_an_algorithm_takes_the_place_of_the_choice_or_is_refused(model_type):
    """With the model's own K, token choice gives back the first layer's own route wherever the
    choice is the top-K of the logits, and the loss with it; its own weights everywhere."""
    model, tokens = loaded(model_type), some_tokens(12)
    plain = trace_tokens(model, tokens)
    rule = Assign(RoutingRule(chosen=plain.shape[3]))
    if model_type in NO_ALGORITHM:
        with pytest.raises(RuleError) as caught:
            trace_tokens(model, tokens, rule)
        assert NO_ALGORITHM[model_type] in str(caught.value)
        return
    forced = trace_tokens(model, tokens, rule)
    same = np.sort(forced.experts[0]) == np.sort(plain.experts[0])
    rows = same.all(axis=-1)
    assert forced.gates[0][rows] == pytest.approx(plain.gates[0][rows], rel=0.02, abs=1e-4)
    if not plain.router.bias:
        assert rows.all()
        if plain.loss is not None:
            assert forced.loss == pytest.approx(plain.loss, abs=1e-3, nan_ok=True)


@every_type
def test_the_user_is_told_what_to_know(model_type):
    assert list(loaded(model_type).warnings) == WARNINGS.get(model_type, [])


@pytest.mark.parametrize("model_type", sorted(NOT_ROUTED))
def test_what_has_no_routing_is_refused(model_type):
    with pytest.raises(NotRouted):
        tiny_model(model_type)


def test_none_is_missing():
    """N of N: every known architecture was found; `-rA` shows the count and what is new."""
    new = sorted(set(TYPES) - KNOWN)
    print(f"{len(TYPES)} routed architectures in transformers {transformers.__version__}", new)
    assert sorted(KNOWN - set(TYPES)) == []
    assert set(EXCEPTIONS) | set(WARNINGS) | set(TOLD) <= KNOWN
