"""Lesson on what experts are for: measured on the atlas, against chance; language or domain?"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import streamlit as st

from moeviz.charts import specialise_words as words
from moeviz.charts.specialise import layer_lines
from moeviz.corpora.atlas import load_atlas
from moeviz.corpora.bundled import bundled
from moeviz.corpora.routing import CorpusRouting
from moeviz.lessons.quizzes import labels_quiz
from moeviz.metrics.specialisation import Specialisation, specialisation
from moeviz.trace import RoutingTrace
from moeviz.ui.lessons.parts import ask, draw, go_on, say
from moeviz.ui.terms import inform

DRAWS = 40
"""Deals of labels behind each band; few, so that the lesson opens at once."""


@dataclass(frozen=True)
class Measured:
    """The demo model on the atlas: by language, and by domain with languages held fixed."""

    routing: CorpusRouting
    language: Specialisation
    domain: Specialisation


def purpose(trace: RoutingTrace) -> None:
    """Experts are no tiny professors: language against domain, with chance and with the papers."""
    say(
        "It is tempting to imagine an expert for law and one for poetry. Nobody told them to be "
        "that: they only reduce the loss. What they really divide among themselves is measured: "
        "how many bits does one choice of an expert tell on the language of a text, and how many "
        "on its domain (law, chess, program code), with the language known?"
    )
    found = measured()
    if found is None:
        inform("The measurement that ships with the demo model belongs to other weights.")
        return
    gain = [above_chance(part) for part in (found.language, found.domain)]
    if not ask("purpose", labels_quiz(*gain)):
        return
    left, right = st.columns(2)
    top = float(max(found.language.divergence.max(), found.domain.divergence.max()))
    names = [str(layer) for layer in found.routing.layers]
    for place, part in ((left, found.language), (right, found.domain)):
        with place:
            draw(_lines(found.routing, part, names, top), f"lesson_{part.label}")
    say(
        "**The papers disagree, and both are right about their models.** ST-MoE "
        "(arXiv:2202.08906) found experts of tokens such as punctuation or verbs, and none of "
        "languages, in a model trained with a strong balance loss over mixed batches. Studies of "
        "newer multilingual models (arXiv:2510.04694) find languages apart in the first and last "
        "layers and together in the middle. In OLMoE (arXiv:2409.02060) topics part, in Mixtral "
        "(arXiv:2401.04088) hardly at all. So ask of every such claim: which model, which layer, "
        "against which chance?"
    )
    go_on("See more, layer by layer, on the Specialise page", "specialise",
          {"section": "layers", "by": "language"})  # fmt: skip


@st.cache_resource(show_spinner="Measuring")
def measured() -> Measured | None:
    """What the lesson measures; None where the counts that ship belong to other weights."""
    shipped = bundled(load_atlas())
    if shipped is None:
        return None
    routing = shipped.routing
    return Measured(
        routing,
        specialisation(routing, "language", draws=DRAWS),
        specialisation(routing, "domain", draws=DRAWS, within="language"),
    )


def above_chance(found: Specialisation) -> float:
    """Bits above what dealt labels give, mean over layers."""
    return float(np.maximum(found.divergence - found.divergence_band.mean, 0).mean())


def _lines(routing: CorpusRouting, found: Specialisation, names: list[str], top: float):
    band = np.stack([found.divergence_band.low, found.divergence_band.high], axis=1)
    read = words.divergence_read(found).removesuffix(" Click a layer to see its experts.")
    return layer_lines(
        routing, names, found.divergence, band, f"What an expert tells on the {found.label}",
        "Divergence", "bits", read, int(found.divergence.argmax()), top,
    )  # fmt: skip
