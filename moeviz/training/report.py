"""What came out of a run? One JSON file with every figure the model card shows."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

import torch
from transformers import AutoModelForCausalLM

from moeviz.store.whole import write_whole
from moeviz.training import evaluate, specialise
from moeviz.training.data import Document, validation_documents
from moeviz.training.model import build_model, watch_routers
from moeviz.training.recipe import Recipe
from moeviz.training.tokenizer import load_tokenizer


def evaluate_run(run: Path, recipe: Recipe, shards: Path, device: torch.device) -> dict:
    """Everything measured on the exported model of `run`, as plain JSON values; also kept there.

    The model is evaluated as shipped: weights rounded to bfloat16, computed in float32.
    """
    documents = validation_documents(shards)
    tokenizer = load_tokenizer(shards / "tokenizer.json")
    model = AutoModelForCausalLM.from_pretrained(run / "model", dtype=torch.float32)
    model = model.to(device).eval()
    watch = watch_routers(model)
    scored = evaluate.score_documents(model, watch, tokenizer, documents)
    figures = {
        "recipe": asdict(recipe),
        "counters": _counters(run),
        "parameters": sum(p.numel() for p in model.parameters()),
        "device": describe_device(device),
        "all": asdict(evaluate.score_of_all(scored)),
        "languages": [asdict(score) for score in evaluate.scores_by(scored, "language")],
        "domains": [asdict(score) for score in evaluate.scores_by(scored, "domain")],
        "continuations": [asdict(c) for c in evaluate.continuations(model, tokenizer)],
    }
    if not recipe.dense:
        share = evaluate.mixture_share(scored, recipe.flatness)
        figures["balance"] = [asdict(layer) for layer in evaluate.layer_balance(share)]
        figures["answers"] = told_by_routing(model, tokenizer, documents)
        untrained = build_model(recipe.shape, False, recipe.seed).to(device).eval()
        figures["answers_untrained"] = told_by_routing(untrained, tokenizer, documents)
    write_whole(run / "evaluation.json", json.dumps(figures, ensure_ascii=False, indent=1))
    return figures


def told_by_routing(model, tokenizer, documents: list[Document]) -> list[dict]:
    """The answers of specialise.answers for one model, as plain JSON values."""
    watch = watch_routers(model)
    passages = specialise.route_passages(model, watch, tokenizer, documents)
    return [asdict(answer) for answer in specialise.answers(passages)]


def describe_device(device: torch.device) -> str:
    """What the run was computed on, in words, without naming a machine."""
    if device.type == "cuda":
        return f"one {torch.cuda.get_device_name(device)} GPU"
    return f"{torch.get_num_threads()} CPU cores"


def _counters(run: Path) -> dict:
    counters = json.loads((run / "checkpoint" / "counters.json").read_text())
    return {name: counters[name] for name in ("step", "tokens", "seconds")}
