"""All that a corpus run tells, in one go, and the same as tidy tables."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from moeviz.corpora.corpus import LANGUAGE, CorpusError
from moeviz.corpora.routing import CorpusRouting
from moeviz.metrics.centroid import Recall, routing_recall
from moeviz.metrics.coactivation import coactivation_chance, corpus_coactivation
from moeviz.metrics.languages import LanguageDivergence, language_divergence
from moeviz.metrics.repetition import Repetition, corpus_repetition
from moeviz.metrics.shuffle import DRAWS
from moeviz.metrics.specialisation import Specialisation, specialisation
from moeviz.metrics.words import (
    VocabularySpecialisation,
    expert_words,
    vocabulary_specialisation,
    words_explain,
)

WORDS = 20
"""Tokens an expert that go into the table of words."""


@dataclass(frozen=True, eq=False)
class Findings:
    """What could be computed; what could not is a sentence in `missing`.

    labels, recall: by label column. languages: on parallel text, or None. repetition: of all
    passages and of each value of the first label. vocabulary: by kind of token.
    explained: by label, [L, G, E] shares that the label's words alone would give (`words_explain`).
    """

    routing: CorpusRouting
    labels: dict[str, Specialisation]
    recall: dict[str, Recall]
    languages: LanguageDivergence | None
    repetition: dict[str, Repetition]
    vocabulary: dict[str, VocabularySpecialisation]
    explained: dict[str, np.ndarray]
    missing: tuple[str, ...]


def findings(
    routing: CorpusRouting,
    labels: Sequence[str] | None = None,
    draws: int = DRAWS,
    seed: int = 0,
    words: Mapping[str, np.ndarray] | None = None,
) -> Findings:
    """Every metric on a corpus run, for the label columns given (all of them if None).

    words: by label, [G, V] counts of its tokens, as `label_words` gives them with the names of the
    values in order; without them nothing is said on what vocabulary explains.
    """
    columns = list(routing.labels) if labels is None else list(labels)
    for label in columns:
        routing.column(label)
    missing: list[str] = []

    def tried(make: Callable, *args, **options):
        try:
            return make(*args, **options)
        except CorpusError as error:
            missing.append(str(error))
            return None

    found = {label: tried(specialisation, routing, label, draws, seed) for label in columns}
    told = {
        label: tried(routing_recall, routing, label, _beside(label, columns)) for label in columns
    }
    repeated = tried(corpus_repetition, routing) or {}
    for label in columns[:1] if repeated else ():
        repeated |= tried(corpus_repetition, routing, label) or {}
    kinds = {kind: tried(vocabulary_specialisation, routing, kind) for kind in routing.vocabulary}
    return Findings(
        routing=routing,
        labels=_present(found),
        recall=_present(told),
        languages=tried(language_divergence, routing, draws=draws, seed=seed)
        if LANGUAGE in routing.labels
        else None,
        repetition=repeated,
        vocabulary=_present(kinds),
        explained={
            label: words_explain(routing, counts)
            for label, counts in (words or {}).items()
            if found.get(label) is not None
        },
        missing=tuple(dict.fromkeys(missing)),
    )


def _beside(label: str, columns: list[str]) -> str:
    """Language beside everything else, and the first other column beside language."""
    if label != LANGUAGE and LANGUAGE in columns:
        return LANGUAGE
    return next((column for column in columns if column != label), "")


def _present(found: dict) -> dict:
    return {name: value for name, value in found.items() if value is not None}


def corpus_summary(found: Findings) -> dict:
    """The main figures as plain values for JSON; None is unknown."""
    routing = found.routing
    return {
        "model": routing.model,
        "corpus": routing.corpus,
        "phase": routing.phase,
        "passages": len(routing.tokens),
        "tokens": int(routing.tokens.sum()),
        "notes": list(routing.notes),
        "labels": [
            {"label": label, "draws": told.draws, "dealt": told.unit, "layers": _layers(told)}
            for label, told in found.labels.items()
        ],
        "recall": [
            {
                "label": label,
                "recall": round(told.accuracy, 4),
                "chance": round(told.chance, 4),
                "classes": len(told.names),
                "passages": told.passages,
            }
            for label, told in found.recall.items()
        ],
        "missing": list(found.missing),
    }


def _layers(told: Specialisation) -> list[dict]:
    """By layer: bits, chance, and how many experts tell on the label more than chance would."""
    band, above = told.divergence_band, told.selectivity_band.above
    return [
        {
            "layer": layer,
            "bits": round(float(told.divergence[row]), 4),
            "chance_low": round(float(band.low[row]), 4) if told.draws else None,
            "chance_high": round(float(band.high[row]), 4) if told.draws else None,
            "above_chance": None if above is None else int(above[row].sum()),
        }
        for row, layer in enumerate(told.layers)
    ]


def corpus_tables(found: Findings) -> dict[str, pd.DataFrame]:
    """Tidy tables by name; one row a fact, layers numbered as in the model. No text is in them."""
    tables = {
        "passages": _passages(found.routing),
        "counts": _counts(found.routing),
        "specialisation": _joined(
            _shares(found.routing, told, found.explained.get(label))
            for label, told in found.labels.items()
        ),
        "selectivity": _joined(_selectivity(found.routing, s) for s in found.labels.values()),
        "divergence": _joined(_divergence(s) for s in found.labels.values()),
        "recall": _joined(_recall(label, told) for label, told in found.recall.items()),
        "languages": pd.DataFrame() if found.languages is None else _languages(found.languages),
        "repetition": _joined(
            _repetition(found.routing, name, told) for name, told in found.repetition.items()
        ),
        "coactivation": _coactivation(found.routing),
        "words": _words(found.routing),
        "sources": pd.DataFrame([vars(source) for source in found.routing.sources]),
    }
    return {name: table for name, table in tables.items() if len(table)}


def _joined(parts) -> pd.DataFrame:
    parts = list(parts)
    return pd.concat(parts, ignore_index=True) if parts else pd.DataFrame()


def _passages(routing: CorpusRouting) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "passage": np.arange(len(routing.tokens)),
            **routing.labels,
            "document": routing.documents,
            "family": routing.families,
            "parallel": routing.parallel,
            "tokens": routing.tokens,
        }
    )


def _counts(routing: CorpusRouting) -> pd.DataFrame:
    passage, row, expert = np.nonzero(routing.counts)
    table = pd.DataFrame(
        {
            "passage": passage,
            "layer": np.array(routing.layers)[row],
            "expert": expert,
            "count": routing.counts[passage, row, expert],
        }
    )
    if routing.gates is not None:
        table["gates"] = routing.gates[passage, row, expert]
    return table


def _shares(
    routing: CorpusRouting, found: Specialisation, explained: np.ndarray | None
) -> pd.DataFrame:
    layers, groups, experts = found.share.shape
    row, group, expert = (axis.ravel() for axis in np.indices((layers, groups, experts)))
    band = found.share_band
    table = pd.DataFrame(
        {
            "label": found.label,
            "value": found.names[group],
            "layer": np.array(routing.layers)[row],
            "expert": expert,
            "share": found.share.ravel(),
            "base": found.base[row, expert],
            "lift": found.lift.ravel(),
            "even": found.chance[row],
            "chance_low": band.low.ravel(),
            "chance_high": band.high.ravel(),
            "above_chance": pd.NA if band.above is None else band.above.ravel(),
        }
    )
    if explained is not None:
        table["explained_by_words"] = explained.ravel()
        table["lift_beyond_words"] = table["share"] / table["explained_by_words"]
    return table.dropna(subset="share").reset_index(drop=True)


def _selectivity(routing: CorpusRouting, found: Specialisation) -> pd.DataFrame:
    row, expert = (axis.ravel() for axis in np.indices(found.selectivity.shape))
    band = found.selectivity_band
    table = pd.DataFrame(
        {
            "label": found.label,
            "layer": np.array(routing.layers)[row],
            "expert": expert,
            "bits": found.selectivity.ravel(),
            "corrected_bits": found.corrected.ravel(),
            "chance_low": band.low.ravel(),
            "chance_high": band.high.ravel(),
            "above_chance": pd.NA if band.above is None else band.above.ravel(),
        }
    )
    return table.dropna(subset="bits").reset_index(drop=True)


def _divergence(found: Specialisation) -> pd.DataFrame:
    band = found.divergence_band
    return pd.DataFrame(
        {
            "label": found.label,
            "layer": found.layers,
            "bits": found.divergence,
            "chance_low": band.low,
            "chance_high": band.high,
            "above_chance": pd.NA if band.above is None else band.above,
            "draws": found.draws,
            "dealt": found.unit,
        }
    )


def _recall(label: str, told: Recall) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "label": label,
            "value": told.names,
            "recall": told.recall,
            "passages": told.confusion.sum(axis=1),
            "chance": told.chance,
        }
    )


def _languages(found: LanguageDivergence) -> pd.DataFrame:
    layers, groups, _ = found.pairs.shape
    row, one, other = (axis.ravel() for axis in np.indices((layers, groups, groups)))
    table = pd.DataFrame(
        {
            "layer": np.array(found.layers)[row],
            "language": found.names[one],
            "other": found.names[other],
            "divergence": found.pairs.ravel(),
            "mean": found.mean[row],
            "chance_low": found.low[row],
            "chance_high": found.high[row],
        }
    )
    return table[table["language"] < table["other"]].reset_index(drop=True)


def _repetition(routing: CorpusRouting, name: str, told: Repetition) -> pd.DataFrame:
    return pd.DataFrame({"value": name, "layer": routing.layers, **vars(told)})


def _coactivation(routing: CorpusRouting) -> pd.DataFrame:
    if routing.together is None:
        return pd.DataFrame()
    parts = []
    for row, layer in enumerate(routing.layers):
        share = corpus_coactivation(routing, row)
        script = corpus_coactivation(routing, row, "script")
        one, other = np.nonzero(np.nan_to_num(share))
        size, chosen = int(routing.experts[row]), int(routing.chosen[row])
        parts.append(
            pd.DataFrame(
                {
                    "layer": layer,
                    "expert": one,
                    "other": other,
                    "share": share[one, other],
                    "script_share": script[one, other],
                    "chance": coactivation_chance(size, chosen),
                    "script_chance": coactivation_chance(size, chosen, "script"),
                }
            )
        )
    return _joined(parts)


def _words(routing: CorpusRouting) -> pd.DataFrame:
    parts = []
    for kind in routing.vocabulary:
        for row, layer in enumerate(routing.layers):
            for expert in range(int(routing.experts[row])):
                found = expert_words(routing, row, expert, kind)
                parts.append(
                    pd.DataFrame(
                        {
                            "kind": kind,
                            "layer": layer,
                            "expert": expert,
                            "token_id": found.ids[:WORDS],
                            "piece": found.pieces[:WORDS],
                            "times": found.times[:WORDS],
                            "share": found.share[:WORDS],
                            "base": found.base,
                            "lift": found.lift[:WORDS],
                            "above_chance": found.above[:WORDS],
                        }
                    )
                )
    return _joined(parts)
