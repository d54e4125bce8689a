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
from moeviz.models.witness import Witness
from moeviz.models.zoo import architectures, tiny_model
from moeviz.trace import EMPTY, MoevizError, Tokens

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
