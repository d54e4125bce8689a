"""Right answers are computed: checked here by another road."""

import numpy as np
import pytest
from sklearn.metrics import mutual_info_score

import moeviz
from moeviz.corpora.atlas import load_atlas
from moeviz.corpora.bundled import bundled
from moeviz.corpora.models import known_facts
from moeviz.lessons import quizzes
from moeviz.lessons.committee import contest
from moeviz.lessons.stored import lesson_trace
from moeviz.lessons.toy import train
from moeviz.rules.facts import from_json
from moeviz.ui.examples import MIXED
from moeviz.ui.lessons.purpose import above_chance, measured


@pytest.fixture(scope="module")
def trace():
    return lesson_trace()


def right(quiz) -> str:
    assert len(set(quiz.choices)) == len(quiz.choices) >= 2
    return quiz.choices[quiz.answer]


def test_the_stored_trace_is_what_the_demo_model_does(trace):
    fresh = moeviz.trace_text(moeviz.load_model("demo", device="cpu"), MIXED)
    assert np.array_equal(fresh.experts, trace.experts)
    assert np.array_equal(fresh.tokens.ids, trace.tokens.ids)
    assert fresh.logits == pytest.approx(trace.logits, abs=1e-4)
    assert fresh.gates == pytest.approx(trace.gates, abs=1e-4)


def test_active_parameters():
    quiz = quizzes.active_quiz(from_json(known_facts()["Mixtral 8x7B"]))
    assert right(quiz) == "12.9 B"
    assert set(quiz.choices) == {"12.9 B", "46.7 B", "5.84 B", "11.7 B"}


def test_where_a_token_goes(trace):
    for row, token in ((0, 5), (3, 8), (5, 100)):
        experts = sorted(trace.experts[row, token].tolist())
        assert right(quizzes.chosen_quiz(trace, row, token)) == (
            f"experts {experts[0]} and {experts[1]}"
        )


def test_probability_of_the_chosen(trace):
    logits = trace.logits[2].astype(np.float64)
    p = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    held = np.take_along_axis(p, trace.experts[2].astype(int), axis=1).sum(axis=1).mean()
    assert right(quizzes.mass_quiz(trace, 2)) == f"about {100 * held:.0f} %"


def test_lost_at_the_even_share(trace):
    """115 tokens, top-2 of 16: round(115 / 8) = 14 places an expert."""
    counts = np.bincount(trace.experts[3].ravel(), minlength=16)
    lost = np.maximum(counts - 14, 0).sum() / counts.sum()
    assert right(quizzes.lost_quiz(trace, 3)) == f"about {100 * lost:.0f} %"


def test_what_can_write_word_by_word(trace):
    assert right(quizzes.causal_quiz(trace, 3)) == "Token choice and Hash of the token"


def test_collapse():
    quiz = quizzes.collapse_quiz([train("none", seed) for seed in (0, 1, 2)])
    assert right(quiz) == "A few experts take most tokens, others starve"
    even = quizzes.collapse_quiz([train("bias", 0)])
    assert right(even) == "The experts share the work evenly by themselves"


def test_the_best_of_those_that_ask_one():
    found = contest(0)
    errors = {m.name: m.error for m in found.members if m.asked == 1}
    assert right(quizzes.contest_quiz(found)) == min(errors, key=errors.get)


def test_language_or_domain():
    """By scikit-learn's mutual information of label and expert, on the same counts."""
    routing = bundled(load_atlas()).routing
    told = {}
    for label in ("language", "domain"):
        named, codes = np.unique(routing.labels[label], return_inverse=True)
        tables = np.zeros((len(routing.layers), len(named), routing.shape[2]))
        np.add.at(tables, (slice(None), codes), routing.counts.transpose(1, 0, 2))
        told[label] = [mutual_info_score(None, None, contingency=table) for table in tables]
    assert min(told["language"]) > max(told["domain"])
    found = measured()
    gain = [above_chance(part) for part in (found.language, found.domain)]
    assert right(quizzes.labels_quiz(*gain)) == "Its language"
    assert right(quizzes.labels_quiz(0.1, 0.2)) == "Its domain"
    assert right(quizzes.labels_quiz(0.0, 0.0)).startswith("Neither")


def test_reading_a_batch():
    assert right(quizzes.read_quiz(0.94, 64, 0.125)) == "about 94 %"
