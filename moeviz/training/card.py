"""What should a user of the model know? The model card, written from the measured figures."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Sequence

import numpy as np

from moeviz.training.emergence import saturation
from moeviz.training.recipe import Recipe
from moeviz.training.specialise import SPLITS


def model_card(figures: dict, moments: dict[str, np.ndarray], twin: dict | None = None) -> str:
    """The card as Markdown. `figures` and `twin` are from report.evaluate_run."""
    sections = (
        _what_it_is(figures),
        _how_it_was_trained(figures),
        _prediction(figures, twin),
        _balance(figures),
        _routing(figures),
        _emergence(moments, figures["recipe"]),
        _continuations(figures),
        LIMITS,
        DATA,
    )
    return "\n\n".join(sections) + "\n"


def table(head: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """A Markdown table; every column but the first is right-aligned."""
    lines = [head, ["---"] + ["---:"] * (len(head) - 1), *rows]
    return "\n".join("| " + " | ".join(str(cell) for cell in line) + " |" for line in lines)


def percent(share: float) -> str:
    return f"{100 * share:.1f} %"


def _what_it_is(figures: dict) -> str:
    shape = Recipe(size=figures["recipe"]["size"], minutes=1).shape
    intro = f"""A small Mixture-of-Experts language model, made so that MoEViz has something real to
        show without a download: {figures["parameters"] / 1e6:.2f} million parameters,
        {shape.layers} layers, each with {shape.experts} experts of which every token uses
        {shape.chosen}. It reads 19 languages and program code. It is a picture of how experts
        specialise, not an assistant: it knows little and makes things up."""
    return f"""# The demo model

{_filled(intro)}

    from transformers import AutoModelForCausalLM, AutoTokenizer
    model = AutoModelForCausalLM.from_pretrained("moeviz/demo_model", dtype="float32")
    tokenizer = AutoTokenizer.from_pretrained("moeviz/demo_model")

- class: `Qwen3MoeForCausalLM` of transformers, no remote code
- hidden size {shape.hidden}; experts {shape.expert_width} wide; attention with {shape.heads} query
  heads and {shape.key_value_heads} key-value head of {shape.head_dim}
- gates: softmax over all experts, the best {shape.chosen}, renormalised to sum 1
- vocabulary: {shape.vocab} byte-level BPE pieces; `<|endoftext|>` (id 0) starts every text
- longest text: {shape.longest} tokens
- stored in bfloat16, meant to be run in float32"""


def _how_it_was_trained(figures: dict) -> str:
    recipe, counters = figures["recipe"], figures["counters"]
    run = f"""{counters["tokens"] / 1e6:.1f} million tokens in {counters["step"]} steps of
        {recipe["batch_tokens"]} tokens, {counters["seconds"] / 60:.0f} minutes of wall
        clock on {figures["device"]}. Windows of {recipe["short_window"]} tokens, in the last
        {percent(recipe["long_share"])} of the time of {recipe["long_window"]}. Matrices inside the
        layers are moved by Muon (peak rate {recipe["rates"]["muon"]}), embeddings, norms and
        routers by AdamW ({recipe["rates"]["adam"]}); short warmup, then linear to zero. Languages
        and domains are mixed by size to the power {recipe["flatness"]}."""
    routers = f"""Besides the next-token loss there are two router terms: a balance loss of
        {recipe["balance"]} times E·Σ f·P, computed for each layer on its own over the
        mixed-language batch (f averaged over the last {1 / (1 - recipe["load_memory"]):.0f}
        batches), and a z-loss of {recipe["z_loss"]}."""
    return f"""## Training

{_filled(run)}

{_filled(routers)}

![Training loss and balance](curves.svg)

`python -m moeviz.training --help` tells how to train it again."""


def _filled(paragraph: str) -> str:
    """One paragraph with its lines broken anew."""
    return textwrap.fill(" ".join(paragraph.split()), 100)


def _prediction(figures: dict, twin: dict | None) -> str:
    paragraphs = [
        """## How well it predicts

Bits per byte on unseen documents (lower is better), each document read alone. Beside it, what
`xz -9e` needs when it packs all validation texts of the row as one file."""
    ]
    if twin:
        paragraphs.append(_against_twin(figures, twin))
    paragraphs.append(_score_table("language", [figures["all"], *figures["languages"]]))
    paragraphs.append(_score_table("domain", figures["domains"]))
    return "\n\n".join(paragraphs)


def _score_table(label: str, scores: list[dict]) -> str:
    rows = (
        (
            score["name"],
            score["documents"],
            f"{score['bits_per_byte']:.3f}",
            f"{score['xz_bits_per_byte']:.3f}",
        )
        for score in scores
    )
    return table((label, "documents", "model", "xz -9e"), rows)


def _against_twin(figures: dict, twin: dict) -> str:
    rows = (
        (
            name,
            f"{run['parameters'] / 1e6:.2f} M",
            f"{active_parameters(run) / 1e6:.2f} M",
            f"{run['counters']['tokens'] / 1e6:.1f} M",
            f"{run['all']['bits_per_byte']:.3f}",
        )
        for name, run in (("this model", figures), ("dense twin", twin))
    )
    head = ("", "parameters", "used per token", "tokens seen", "bits per byte, all")
    return f"""A dense twin has the same shape, but in place of the experts one block as wide as
the two that a token uses. Trained by the same recipe on as many tokens:

{table(head, rows)}"""


def active_parameters(figures: dict) -> int:
    """Parameters one token passes through: all but the experts it did not choose."""
    shape = Recipe(size=figures["recipe"]["size"], minutes=1).shape
    idle = 0 if figures["recipe"]["dense"] else shape.experts - shape.chosen
    return figures["parameters"] - shape.layers * idle * 3 * shape.hidden * shape.expert_width


def _balance(figures: dict) -> str:
    rows = (
        (layer["layer"], f"{layer['max_violation']:.2f}", layer["starved"])
        for layer in figures["balance"]
    )
    return f"""## Balance

MaxVio is the busiest expert's load over the mean, minus one (0 is perfect), over all validation
text mixed as in training. An expert counts as starved below a tenth of its fair share.

{table(("layer", "MaxVio", "starved experts"), rows)}"""


def _routing(figures: dict) -> str:
    pairs = zip(figures["answers"], figures["answers_untrained"], strict=True)
    rows = (
        (
            answer["question"],
            percent(answer["right"]),
            percent(untrained["right"]),
            percent(answer["right_chance"]),
            percent(answer["accuracy"]),
            percent(untrained["accuracy"]),
            f"{percent(1 / answer['classes'])} ({answer['classes']} classes)",
            answer["passages"],
        )
        for answer, untrained in pairs
    )
    head = (
        "question", "passages right", "before training", "chance",
        "mean over classes", "before training", "chance", "passages",
    )  # fmt: skip
    return f"""## What routing alone tells

A passage of 64 tokens is turned into nothing but how often and how strongly each expert of each
layer was chosen: square roots of both shares, whitened. The nearest centroid, one for each pair of
language and domain, fitted on half of the validation documents, then names the other half
(`moeviz.metrics.centroid`; mean of {SPLITS} ways to halve; the metric was chosen on these texts).
Before training the routers are random, but different words already take different routes: that
column is what vocabulary alone gives away.

{table(head, rows)}"""


def _emergence(moments: dict[str, np.ndarray], recipe: dict) -> str:
    shape = Recipe(size=recipe["size"], minutes=1).shape
    shares = saturation(moments["experts"])
    rows = (
        (f"{seen / 1e6:.2f} M", f"{loss:.2f}", *(percent(share) for share in layers))
        for seen, loss, layers in zip(moments["seen"], moments["loss"], shares, strict=True)
    )
    layers = [f"layer {layer}" for layer in range(shape.layers)]
    intro = f"""`emergence.safetensors` keeps the routing of {moments["experts"].shape[2]} fixed
        passages, one for each language and domain, at {len(shares)} moments of the run (layout:
        `moeviz/training/emergence.py`). The table shows the loss on them and the share of the
        final choices already made (chance {percent(shape.chosen / shape.experts)})."""
    return f"""## When the routes settled

{_filled(intro)}

{table(("tokens seen", "loss, nats", *layers), rows)}"""


def _continuations(figures: dict) -> str:
    rows = (
        f"- **{row['language']}** `{_inline(row['prompt'])}` → `{_inline(row['text'])}`"
        for row in figures["continuations"]
    )
    return "## Unedited samples\n\nTemperature 0.7, seed 0, 40 tokens.\n\n" + "\n".join(rows)


def _inline(text: str) -> str:
    """text fit for a code span on one line."""
    return text.replace("\n", "⏎").replace("`", "ˋ")


LIMITS = """## Limits

- The model is tiny and saw little text. Sentences are often wrong, facts are invented, and what it
  writes must not be relied on.
- Its specialisation is real but shallow: much of it follows the script and the vocabulary of a
  text. Do not conclude from it how large models divide their work.
- Texts mirror their sources: old novels, statutes, manuals, program code. Prejudices of those texts
  are in it.
- Near ties between experts can fall differently in another precision: compare runs in float32."""

DATA = """## Data and licences

`DATA.md` lists every source with origin, licence and attribution; `LICENSES.txt` holds the licence
texts of software sources; `attribution-pratham-books.json` names authors and translators of the
children's stories. Each text was cleaned and cut into documents; none of it is shipped, but for the
48-token passages in `emergence.safetensors`, which stay under the licences of their sources. The
weights carry the licence of this repository."""
