"""Long texts read piece by piece: the same routes as in one pass, and what is said of them."""

import dataclasses
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import tiny

import moeviz
from moeviz.models import long
from moeviz.models.inputs import TextError, encode
from moeviz.models.run import trace_text, trace_tokens
from moeviz.rules.interventions import Mute
from moeviz.trace import Tokens

TEXT = "the router sends é 路 to experts, " * 3


@pytest.fixture(scope="module")
def model():
    return dataclasses.replace(moeviz.adopt(tiny.olmoe(), tiny.tokenizer(), "tiny"), max_tokens=40)


@pytest.fixture
def short(monkeypatch):
    """Texts of more than 16 tokens are long, and read seven tokens at a time."""
    monkeypatch.setattr("moeviz.models.run.LONG", 16)
    monkeypatch.setattr(long, "LONG", 16)
    monkeypatch.setattr(long, "PIECE", 7)


def test_pieces_route_as_one_pass_does(model, monkeypatch):
    tokens = encode(model.tokenizer, TEXT)
    whole = trace_tokens(model, tokens)
    monkeypatch.setattr("moeviz.models.run.LONG", 16)
    monkeypatch.setattr(long, "PIECE", 7)
    passes = []
    pieces = trace_tokens(
        model, tokens, logits=True, progress=lambda done, all: passes.append((done, all))
    )
    assert passes[:2] == [(7, len(tokens)), (14, len(tokens))]
    assert passes[-1] == (len(tokens), len(tokens))
    np.testing.assert_array_equal(pieces.experts, whole.experts)
    np.testing.assert_allclose(pieces.gates, whole.gates, rtol=1e-4)
    np.testing.assert_allclose(pieces.logits, whole.logits, rtol=1e-3, atol=1e-5)
    np.testing.assert_allclose(pieces.loss, whole.loss, rtol=1e-4)


def test_logits_of_a_long_text_are_kept_only_when_asked_for(model, short):
    assert trace_text(model, "abc").logits is not None
    tokens = encode(model.tokenizer, TEXT)
    bare = trace_tokens(model, tokens)
    assert bare.logits is None
    count = len(tokens)
    assert bare.source.notes[-1] == (
        f"Router logits were left out: for {count} tokens they take {3 * count * 8 * 4 / 1e6:.1f} "
        "MB. Ask for them with logits=True, or --logits on the command line."
    )
    assert trace_tokens(model, tokens, logits=True).logits.shape == (3, count, 8)
    quiet = trace_tokens(model, tokens, logits=False)
    assert (quiet.logits, quiet.source.notes) == (None, ())


def test_the_size_is_known_before(model):
    needs = moeviz.trace_size(model, 32_768)
    assert (needs.choices, needs.logits) == (3 * 32_768 * 2 * 6, 3 * 32_768 * 8 * 4)
    assert str(needs) == ("32,768 tokens: choices and gates take 1.2 MB, router logits 3.1 MB.")
    trace = trace_text(model, TEXT[:9])
    again = moeviz.trace_size(model, len(trace.tokens))
    assert again.choices == trace.experts.nbytes + trace.gates.nbytes
    assert again.logits == trace.logits.nbytes


def test_logits_that_do_not_fit_are_refused_before_anything_runs(model, short, monkeypatch):
    monkeypatch.setattr(long, "free_memory", lambda device: 1000.0)
    tokens = encode(model.tokenizer, TEXT)
    with pytest.raises(TextError, match=r"^The router logits of \d+ tokens take 0\.0 MB, and"):
        trace_tokens(model, tokens, logits=True)


def test_windows_are_texts_of_their_own(model):
    trace = trace_text(model, TEXT * 2, long="windows")
    count = len(trace.tokens)
    assert count > 80
    for start in range(0, count, 40):
        part = slice(start, start + 40)
        columns = {
            n: getattr(trace.tokens, n)[part] for n in ("ids", "spans", "special", "generated")
        }
        alone = trace_tokens(model, Tokens(trace.tokens.source, **columns))
        np.testing.assert_array_equal(trace.experts[:, part], alone.experts)
        np.testing.assert_allclose(trace.gates[:, part], alone.gates, rtol=1e-5)
        np.testing.assert_allclose(trace.loss[part][:-1], alone.loss[:-1], rtol=1e-4)
    assert np.isfinite(trace.loss[:-1]).all()
    assert trace.source.notes == (
        f"The text was read in {-(-count // 40)} windows of up to 40 tokens, the most that tiny "
        "takes: a token sees only what comes before it in its own window.",
    )


def test_beyond_its_positions_a_rotary_model_reads_on_and_says_so(model):
    trace = trace_text(model, TEXT, long="beyond")
    same = trace_tokens(model, trace.tokens)
    np.testing.assert_array_equal(trace.experts, same.experts)
    assert trace.source.notes == (
        "tiny was made for texts of up to 40 tokens: from token 41 on it does what it was never "
        "trained for.",
    )


def test_a_way_that_there_is_not_is_named(model):
    with pytest.raises(TextError) as caught:
        trace_text(model, TEXT, long="somehow")
    assert str(caught.value) == (
        "There is no way 'somehow' to read a long text; choose windows or beyond."
    )


def test_positions_in_a_table_end_with_it(model, monkeypatch):
    monkeypatch.setattr(type(model.network), "named_buffers", lambda self: [])
    with pytest.raises(TextError) as caught:
        trace_text(model, TEXT, long="beyond")
    assert str(caught.value) == (
        "tiny looks positions up in a table of 40, so it cannot read beyond them. Read the text in "
        "windows, or allow it to be cut."
    )


def test_a_rule_is_in_force_over_the_whole_text(model, short):
    tokens = encode(model.tokenizer, TEXT)
    trace = trace_tokens(model, tokens, Mute(3), logits=False)
    assert not (trace.experts == 3).any()
    assert trace.source.rule == str(Mute(3))


def test_a_cache_that_forgets_is_noticed(model):
    assert long.reads_in_pieces(model)
    forgetful = dataclasses.replace(model)
    own = forgetful.network.forward
    try:
        forgetful.network.forward = lambda past_key_values=None, **rest: own(**rest)
        assert not long.reads_in_pieces(forgetful)
    finally:
        del forgetful.network.forward


PEAK = """
import json, resource, sys
import numpy as np
from moeviz.models import load_model, trace_size, trace_text
from moeviz.models.inputs import encode
from moeviz.models.run import trace_tokens
from moeviz.trace import Tokens
def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3
model = load_model("demo", device="cpu")
trace_text(model, "The lighthouse keeper counted the ships. " * 50)
before, count = peak(), int(sys.argv[1])
ids = np.random.default_rng(0).integers(300, 8000, count)
none = np.zeros(count, bool)
tokens = Tokens("", ids, np.full((count, 2), -1), none, none)
trace = trace_tokens(model, tokens, logits=sys.argv[2] == "logits", long="beyond")
print(json.dumps({"before": before, "grew": peak() - before, "shape": trace.shape,
    "logits": 0 if trace.logits is None else trace.logits.nbytes / 1e6}))
"""


@pytest.mark.slow
@pytest.mark.parametrize(("keep", "most"), [("choices", 700), ("logits", 740)])
def test_32k_tokens_stay_within_bounds(keep, most):
    """Megabytes over what the loaded model takes. Predictions of every token at once would be
    1,074, and an attention mask of every pair 4,295.
    """
    done = subprocess.run(
        [sys.executable, "-c", PEAK, "32768", keep], capture_output=True, text=True, check=True,
        cwd=Path(__file__).parent.parent.parent,
    )  # fmt: skip
    told = json.loads(done.stdout)
    assert told["shape"] == [6, 32_768, 16, 2]
    assert told["logits"] == (0 if keep == "choices" else pytest.approx(12.6, abs=0.1))
    assert told["grew"] < most, told
