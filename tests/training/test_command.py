"""One command from a corpus to a model with its card; a second one adds the dense twin."""

import json

import pytest
from transformers import AutoModelForCausalLM

from moeviz.training import __main__ as command


@pytest.fixture
def run(corpus, monkeypatch):
    def run(out, *options):
        words = ["training", "--out", out, "--corpus", corpus, "--size", "tiny", *options]
        monkeypatch.setattr("sys.argv", [str(word) for word in words])
        command.main()

    return run


def test_corpus_to_model_and_card(run, tmp_path, capsys):
    length = ("--tokens", "3e3", "--batch-tokens", "1024", "--device", "cpu")
    run(tmp_path / "twin", *length, "--dense")
    run(tmp_path / "moe", *length, "--slice-minutes", "0")
    assert "Slice over. Run the same command again to go on." in capsys.readouterr().out
    run(tmp_path / "moe", *length, "--twin", tmp_path / "twin")
    assert "Finished: the model is in" in capsys.readouterr().out

    model = tmp_path / "moe" / "model"
    assert AutoModelForCausalLM.from_pretrained(model).config.num_experts == 4
    assert (model / "curves.svg").exists() and (model / "emergence.safetensors").exists()
    figures = json.loads((tmp_path / "moe" / "evaluation.json").read_text())
    card = (model / "MODEL_CARD.md").read_text()
    assert (
        f"| this model | 0.03 M | 0.02 M | 0.0 M | {figures['all']['bits_per_byte']:.3f} |" in card
    )
    assert "| dense twin | 0.02 M | 0.02 M | 0.0 M |" in card
    assert figures["counters"]["step"] == 3


def test_shards_need_a_corpus(tmp_path, monkeypatch):
    monkeypatch.setattr("sys.argv", ["training", "--out", str(tmp_path), "--tokens", "1"])
    wording = r"shards has no token shards yet\. Give --corpus to make them\."
    with pytest.raises(SystemExit, match=wording):
        command.main()
