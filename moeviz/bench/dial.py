"""How long from a move of the capacity dial until every figure shows the new factor?"""

from __future__ import annotations

import tempfile
from pathlib import Path

import torch
from transformers import AutoTokenizer, OlmoeConfig, OlmoeForCausalLM

from moeviz.bench.screen import chromium, open_app, running_app, settle, share_of, text_of
from moeviz.bench.timing import Ratio
from moeviz.models.plan import DEMO_FOLDER

FIGURES = 5
"""Figures of the Capacity page that depend on the factor."""

FACTORS = [0.3, 2.0, 0.5, 1.0, 3.0, 0.8, 1.75, 0.65, 2.6, 1.4, 0.45, 3.6, 0.9, 1.2, 2.3]

_MOVE = """([factor, figures]) => {
  window.painted = null;
  const [dial] = inShadows('input[type=range]');
  const roots = inShadows('.root[data-mark]');
  const mark = ` ${factor} by `;
  const start = performance.now();
  const look = () => {
    const told = roots.filter((r) => r.dataset.mark.includes(mark));
    if (told.length >= figures)
      requestAnimationFrame(() => { window.painted = performance.now() - start; });
    else requestAnimationFrame(look);
  };
  dial.value = factor;
  dial.dispatchEvent(new Event('input'));
  look();
}"""


def dial_speed(tokens: int = 4096, layers: int = 16, experts: int = 64) -> list[Ratio]:
    """A move of the dial on the Capacity page, for a random model of this shape, top-8.

    The trace is a real one of a tiny model; every factor is new, so that no cache answers.
    """
    with tempfile.TemporaryDirectory() as folder:
        _save_model(Path(folder), tokens, layers, experts)
        with running_app(model=folder) as url, chromium() as browser:
            page = browser.new_page(viewport={"width": 1280, "height": 900})
            page.set_default_timeout(180_000)
            open_app(page, url, "capacity")
            area = page.get_by_label("Text", exact=True)
            area.fill(text_of(tokens))
            area.press("Control+Enter")
            count = f"of {tokens * 8:,} assignments"
            page.locator("h4").filter(has_text=count).wait_for()
            settle(page)
            turns = [time_turn(page, factor) for factor in FACTORS]
    what = f"dial moved to all figures painted, {tokens:,} tokens x {layers} layers x {experts}"
    return [share_of(what, turns[1:], 0.2)]  # the first of a kind warms up


def time_turn(page, factor: float, figures: int = FIGURES) -> float:
    """Milliseconds from a new position of the dial until `figures` figures show that factor."""
    page.evaluate(
        "window.inShadows ??= (s) => [...document.querySelectorAll('*')]"
        ".flatMap((e) => (e.shadowRoot ? [...e.shadowRoot.querySelectorAll(s)] : []))"
    )
    page.evaluate(_MOVE, [factor, figures])
    page.wait_for_function("() => window.painted !== null")
    took = float(page.evaluate("() => window.painted"))
    settle(page)
    return took


def _save_model(folder: Path, tokens: int, layers: int, experts: int) -> None:
    tokenizer = AutoTokenizer.from_pretrained(DEMO_FOLDER)
    torch.manual_seed(0)
    config = OlmoeConfig(
        vocab_size=len(tokenizer),
        hidden_size=64,
        intermediate_size=32,
        num_hidden_layers=layers,
        num_attention_heads=4,
        num_key_value_heads=4,
        num_experts=experts,
        num_experts_per_tok=8,
        max_position_embeddings=2 * tokens,
        bos_token_id=0,
        eos_token_id=0,
    )
    OlmoeForCausalLM(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
