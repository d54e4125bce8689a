"""How does a checkpoint become a folder that `from_pretrained` opens?"""

from __future__ import annotations

from pathlib import Path

import torch
from safetensors.torch import load_file
from transformers import GenerationConfig

from moeviz.store.whole import whole_folder
from moeviz.training.model import build_model
from moeviz.training.recipe import Recipe
from moeviz.training.tokenizer import as_transformers, load_tokenizer


def export_model(checkpoint: Path, recipe: Recipe, shards: Path, folder: Path) -> None:
    """Writes weights (bfloat16), config and tokenizer of `checkpoint` to `folder`."""
    model = build_model(recipe.shape, recipe.dense, recipe.seed)
    weights = load_file(checkpoint / "model.safetensors")
    model.load_state_dict(weights, strict=False)
    model.to(torch.bfloat16).eval()
    model.generation_config = GenerationConfig(bos_token_id=0, eos_token_id=0, do_sample=False)
    tokenizer = as_transformers(load_tokenizer(shards / "tokenizer.json"), recipe.shape.longest)
    with whole_folder(folder) as fresh:
        model.save_pretrained(fresh, max_shard_size="14MB")
        tokenizer.save_pretrained(fresh)
        for path in fresh.iterdir():
            path.chmod(0o644)  # safetensors writes files only the owner can read
