"""Train the demo model: `python -m moeviz.training --corpus DIR --out DIR --minutes 60`.

On a Linux CPU a step takes a quarter less time when freed memory is kept:
MALLOC_MMAP_MAX_=0 MALLOC_TRIM_THRESHOLD_=100000000000 MALLOC_TOP_PAD_=1000000000
"""

from __future__ import annotations

import argparse
import json
import shutil
from pathlib import Path

import torch
from transformers.utils import logging

from moeviz.store.whole import write_whole
from moeviz.training.card import model_card
from moeviz.training.curves import curves_svg, read_log
from moeviz.training.data import Shards, build_shards, load_shards, validation_documents
from moeviz.training.emergence import PASSAGE_TOKENS, Recorder, choose_passages, read_emergence
from moeviz.training.export import export_model
from moeviz.training.loop import train
from moeviz.training.model import SIZES
from moeviz.training.recipe import Recipe, same_recipe
from moeviz.training.report import evaluate_run


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m moeviz.training",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("--out", type=Path, required=True, help="folder of the run; call again to go on")
    add("--corpus", type=Path, help="folder with train-*.jsonl.xz and validation.jsonl.xz")
    add("--shards", type=Path, help="folder with the tokenised corpus (default: OUT/shards)")
    add("--minutes", type=float, help="length of the run in minutes of training")
    add("--tokens", type=float, help="length of the run in tokens, such as 3e8")
    add("--slice-minutes", type=float, help="stop after so many minutes; call again to go on")
    add("--device", default="auto", help="auto, cpu or cuda")
    add("--size", choices=SIZES, default="small")
    add("--dense", action="store_true", help="train the dense twin: no experts, same active width")
    add("--twin", type=Path, help="folder of a finished --dense run to compare with in the card")
    add("--compile", action="store_true", help="faster steps; needs a C++ compiler")
    add("--batch-tokens", type=int, default=Recipe.batch_tokens)
    add("--seed", type=int, default=0)
    return parser.parse_args()


def recipe_from(options: argparse.Namespace) -> Recipe:
    return Recipe(
        size=options.size,
        dense=options.dense,
        minutes=options.minutes,
        tokens=int(options.tokens) if options.tokens else None,
        seed=options.seed,
        batch_tokens=options.batch_tokens,
    )


def shards_from(options: argparse.Namespace) -> tuple[Shards, Path]:
    folder = options.shards or options.out / "shards"
    if (folder / "shards.json").exists():
        return load_shards(folder), folder
    if not options.corpus:
        raise SystemExit(f"{folder} has no token shards yet. Give --corpus to make them.")
    return build_shards(options.corpus, folder, SIZES[options.size].vocab), folder


def recorder_for(options: argparse.Namespace, shards: Shards, folder: Path) -> Recorder | None:
    if options.dense:
        return None
    passages = choose_passages(validation_documents(folder), shards.tokenizer, PASSAGE_TOKENS)
    return Recorder(passages, options.out / "emergence.safetensors")


def main() -> None:
    options = arguments()
    logging.set_verbosity_error()
    options.out.mkdir(parents=True, exist_ok=True)
    device = options.device
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    shards, folder = shards_from(options)
    recipe, recorder = recipe_from(options), recorder_for(options, shards, folder)
    same_recipe(recipe, options.out / "recipe.json")
    finished = train(
        recipe,
        shards,
        options.out,
        torch.device(device),
        options.slice_minutes,
        recorder,
        options.compile,
    )
    export_model(options.out / "checkpoint", recipe, folder, options.out / "model")
    if not finished:
        print("Slice over. Run the same command again to go on.")
        return
    figures = evaluate_run(options.out, recipe, folder, torch.device(device))
    if not recipe.dense:
        write_card(options.out, figures, options.twin)
    print(f"Finished: the model is in {options.out / 'model'}.")


def write_card(out: Path, figures: dict, twin: Path | None) -> None:
    """MODEL_CARD.md and curves.svg beside the exported weights."""
    dense = json.loads((twin / "evaluation.json").read_text()) if twin else None
    moments, _ = read_emergence(out / "emergence.safetensors")
    write_whole(out / "model" / "MODEL_CARD.md", model_card(figures, moments, dense))
    write_whole(out / "model" / "curves.svg", curves_svg(read_log(out / "log.jsonl")))
    shutil.copy(out / "emergence.safetensors", out / "model")


if __name__ == "__main__":
    main()
