"""A proof is worth what it notices: each one is shown a fault that it must find."""

import dataclasses
import json

import pytest
import tiny
import torch

from moeviz.models import adopt, choices, proofs, tape
from moeviz.models.choices import CaptureError
from moeviz.models.doctor import diagnose, diagnose_all
from moeviz.models.probe import first_moved
from moeviz.models.proofs import FAIL, NOT_APPLICABLE, PASS, PROOFS, prove
from moeviz.models.zoo import tiny_model


@pytest.fixture
def model():
    return adopt(tiny.olmoe(), tiny.tokenizer(), name="tiny")


def verdicts(model) -> dict[str, str]:
    return {proof.name: proof.verdict for proof in prove(model)}


def failures(model) -> set[str]:
    return {name for name, verdict in verdicts(model).items() if verdict == FAIL}


def test_a_sound_model_passes_every_proof(model):
    assert verdicts(model) == dict.fromkeys(PROOFS, PASS)


def test_choices_read_wrongly_are_noticed_by_two_roads(model, monkeypatch):
    read = choices._READERS["indexed"]

    def next_expert(site, call):
        ids, gates = read(site, call)
        return (ids + 1) % 8, gates

    monkeypatch.setitem(choices._READERS, "indexed", next_expert)
    assert failures(model) == {"received", "answered"}


def test_gates_read_wrongly_are_noticed(model, monkeypatch):
    read = choices._READERS["indexed"]

    def doubled(site, call):
        ids, gates = read(site, call)
        return ids, 2 * gates

    monkeypatch.setitem(choices._READERS, "indexed", doubled)
    assert failures(model) == {"received"}


def test_rows_of_another_text_are_noticed(model, monkeypatch):
    batch_inputs = proofs.batch_inputs

    def turned(*args, **options):
        batch = batch_inputs(*args, **options)
        rows = {stack: (*texts[1:], texts[0]) for stack, texts in batch.rows.items()}
        return dataclasses.replace(batch, rows=rows)

    monkeypatch.setattr(proofs, "batch_inputs", turned)
    assert failures(model) == {"padded", "padded left"}


def test_a_hook_that_changes_the_output_or_stays_is_noticed(model, monkeypatch):
    hear = tape._Ear._hear_router

    def louder(self, module, args, output):
        hear(self, module, args, output)
        return tuple(part * 2 if part.is_floating_point() else part for part in output)

    monkeypatch.setattr(tape._Ear, "_hear_router", louder)
    assert "untouched" in failures(model)
    monkeypatch.undo()

    monkeypatch.setattr(tape.Tape, "__exit__", lambda *_: None)
    assert "untouched" in failures(model)


def test_logits_that_are_not_the_routers_are_noticed(model, monkeypatch):
    own = proofs.own_logits
    monkeypatch.setattr(proofs, "own_logits", lambda *args: [t + 0.01 for t in own(*args)])
    assert failures(model) == {"told"}


def test_experts_that_do_not_follow_the_choice_are_noticed_and_told():
    network = tiny.olmoe()
    experts = type(network.model.layers[0].mlp.experts)
    for layer in network.model.layers:
        module = layer.mlp.experts
        layer.mlp.experts.forward = lambda hidden, ids, gates, own=module: experts.forward(
            own, hidden, torch.zeros_like(ids), gates
        )
    model = adopt(network, tiny.tokenizer())
    assert failures(model) >= {"answered"}
    assert model.warnings == (
        "This version of transformers does not run the experts that olmoe chose: taking out "
        "expert 0 of model.layers.0.mlp did not change exactly the tokens sent to it. The routing "
        "shown is the router's; the model's output does not follow it.",
    )


def test_experts_whose_sums_differ_from_run_to_run_are_not_blamed():
    """As on a GPU that adds up in any order."""
    network = tiny.olmoe()
    experts, dice = type(network.model.layers[0].mlp.experts), torch.Generator()
    for layer in network.model.layers:
        module = layer.mlp.experts

        def trembling(hidden, ids, gates, own=module):
            output = experts.forward(own, hidden, ids, gates)
            return output * (1 + 3e-7 * torch.randn(output.shape, generator=dice))

        module.forward = trembling
    model = adopt(network, tiny.tokenizer())
    assert model.warnings == ()
    by_name = {proof.name: proof for proof in prove(model)}
    assert by_name["answered"].verdict == PASS
    assert by_name["untouched"].verdict == NOT_APPLICABLE
    assert by_name["untouched"].detail == "Two plain runs differ already on this device."


@pytest.mark.parametrize("model_type", ["deepseek_v3", "olmoe", "gemma4", "jetmoe"])
def test_low_precision_tells_the_same_facts(model_type):
    full = adopt(tiny_model(model_type), None)
    half = adopt(tiny_model(model_type).to(torch.bfloat16), None)
    assert half.routers == full.routers
    assert half.warnings == full.warnings


def test_rounding_in_low_precision_is_not_taken_for_a_look_ahead():
    ids = torch.tensor([[0, 1]] * 4)
    calm = choices.Choice(ids, ids.float(), torch.randn(4, 8), None)
    tipped = dataclasses.replace(calm, ids=ids.flip(-1), logits=calm.logits + 0.01)
    other = dataclasses.replace(calm, ids=ids.flip(-1), logits=calm.logits.flip(0))
    assert first_moved([("site", calm, tipped)], exact=False) is None
    assert first_moved([("site", calm, tipped)], exact=True) == "site"
    assert first_moved([("site", calm, other)], exact=False) == "site"


def test_a_fused_block_that_hides_its_choice_is_refused():
    network = tiny.olmoe()
    network.model.layers[1].mlp.forward = lambda hidden: hidden  # as one kernel would
    with pytest.raises(CaptureError) as caught:
        adopt(network, tiny.tokenizer())
    assert str(caught.value) == (
        "model.layers.1.mlp ran, but did not call its experts as a module: a fused kernel (mxfp4, "
        "for example) hides what it chose. Load the model with plain, dequantised weights."
    )


def test_a_model_that_does_not_run_says_so_in_one_sentence():
    network = tiny.olmoe()
    network.model.norm.forward = lambda hidden: hidden + "a"
    with pytest.raises(CaptureError) as caught:
        adopt(network, tiny.tokenizer())
    said = "OlmoeForCausalLM does not run on a short text with transformers "
    assert str(caught.value).startswith(said)
    assert ": TypeError: " in str(caught.value)


def test_a_proof_that_breaks_has_failed_and_says_how(model, monkeypatch):
    def broken(*_, **__):
        raise RuntimeError("the device went away\nand more")

    monkeypatch.setattr(proofs, "batch_inputs", broken)
    by_name = {proof.name: proof for proof in prove(model)}
    assert by_name["padded"].verdict == FAIL
    assert by_name["padded"].detail == "It broke with RuntimeError: the device went away"


def test_half_precision_is_allowed_a_tenth_of_the_rows(model):
    network = tiny.olmoe().to(torch.bfloat16)
    half = adopt(network, tiny.tokenizer())
    assert failures(half) == set()
    assert proofs._agreement(half, 10, 100, "x")[0] == PASS
    assert proofs._agreement(half, 11, 100, "x")[0] == FAIL
    assert proofs._agreement(model, 1, 100, "x")[0] == FAIL


def test_no_proof_copies_more_weights_than_fit(model, monkeypatch):
    monkeypatch.setattr(proofs, "MOST_COPIED", 20 * 2 * 3 * 32 * 16 * 4 - 1)
    by_name = {proof.name: proof for proof in prove(model)}
    assert by_name["implemented"].detail.startswith("Experts run by eager, grouped_mm: ")


def test_a_capacity_is_kept_in_force_and_put_back():
    model = adopt(tiny_model("switch_transformers"), None)
    assert verdicts(model)["padded"] == PASS
    assert [site.router.expert_capacity for site in model.sites] == [4] * 4
    assert model.router.capacity == 4


def test_a_diagnosis_is_plain_data(model):
    found = diagnose(model)
    assert found.passed
    assert (found.model, found.model_type, found.dtype) == ("tiny", "olmoe", "float32")
    assert found.layers == {"decoder": (0, 1, 2)}
    assert found.dense == 0
    plain = json.loads(json.dumps(dataclasses.asdict(found)))
    assert plain["routers"]["decoder"]["experts"] == 8
    assert plain["proofs"][0] == {
        "name": "received",
        "claim": "What is shown is what the experts were given.",
        "verdict": "pass",
        "detail": "The same in all 3 routed layers, for every token and slot.",
    }


def test_one_types_trouble_does_not_hide_the_others():
    found = dict(diagnose_all(["bamba", "nllb-moe", "olmoe"]))
    assert found["bamba"].startswith("Not routed: BambaForCausalLM has no Mixture-of-Experts")
    assert not found["nllb-moe"].passed
    assert found["olmoe"].passed
    assert found["nllb-moe"].layers == {"decoder": (1, 3), "encoder": (1, 3)}
    assert found["nllb-moe"].dense == 2


def test_what_does_not_apply_says_why():
    model = adopt(tiny_model("openai_privacy_filter"), None)
    by_name = {proof.name: proof for proof in prove(model)}
    assert by_name["continued"].verdict == NOT_APPLICABLE
    assert by_name["continued"].detail == "The model does not generate."
