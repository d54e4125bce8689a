"""How a model's tokenizer spells token ids that another program recorded."""

from __future__ import annotations

from collections.abc import Sequence

from transformers import AutoTokenizer

from moeviz.models.errors import ModelError, first_line
from moeviz.models.plan import plan_load


def token_texts(model: str, ids: Sequence[int]) -> list[str]:
    """The text of each id, as the tokenizer of `model` decodes it alone; no weights are fetched.

    Half a character is a replacement sign. Raises ModelError where there is no tokenizer.
    """
    plan = plan_load(model)
    try:
        tokenizer = AutoTokenizer.from_pretrained(plan.where, trust_remote_code=False)
        return [tokenizer.decode([token]) for token in ids]
    except (OSError, ValueError, TypeError, OverflowError, KeyError) as error:
        raise ModelError(f"{model} has no tokenizer for these ids: {first_line(error)}") from error
