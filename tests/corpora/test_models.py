"""The bundled table of models: complete, sourced, and honest about what nobody can check."""

import subprocess
import sys

from moeviz.corpora.models import always_on, known_facts, known_models, reported_models


def test_every_model_has_facts_and_a_source():
    models = known_models()
    assert {model.name for model in models} == set(known_facts())
    assert all(model.source for model in models)
    families = {model.config["model_type"] for model in models}
    known = "mixtral olmoe qwen2_moe qwen3_moe deepseek_v2 deepseek_v3 gpt_oss phimoe granitemoe"
    assert families >= {"switch_transformers", *known.split()}


def test_closed_models_are_marked():
    by_name = {model.name: model for model in reported_models()}
    for name in ("GPT-4", "Gemini 1.5 Pro"):
        closed = by_name[name]
        assert closed.verifiable == "no"
        assert (closed.total, closed.active, closed.experts) == (None, None, None)


def test_what_every_token_uses_is_a_small_part_of_known_models():
    low, high = always_on()
    assert 0 < low < 0.05 < high < 0.5


def test_the_table_opens_without_torch():
    code = "import sys, moeviz.corpora.models as m; m.known_facts(); print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
