"""The labelled texts on the Specialise page and what the model did with them.

The atlas by the demo model is there at once. Any other pair is run in the background, with a bar
and a way to stop. A visitor's own texts stay in that visitor's session.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np
import streamlit as st

from moeviz.charts.words import model_name, plural
from moeviz.corpora.atlas import load_atlas
from moeviz.corpora.bundled import Bundled, bundled
from moeviz.corpora.corpus import Corpus
from moeviz.corpora.published import published_corpus
from moeviz.corpora.routing import CorpusRouting
from moeviz.metrics.phases import to_continue
from moeviz.trace import MoevizError
from moeviz.ui import ask, session
from moeviz.ui.inquiry import PUBLISHED
from moeviz.ui.jobs import Job
from moeviz.ui.markdown import plain
from moeviz.ui.shelf import shelf
from moeviz.ui.terms import inform
from moeviz.ui.upload import own_corpus

GLANCE = 0.7
"""Seconds between two looks at a run."""

MOST_KEPT = 3
"""Corpus runs kept in one session; of 20,000 passages and 1,024 experts each takes 250 MB."""


@dataclass(frozen=True, eq=False)
class DataSet:
    """Routing to look at. texts: [P], or () where only counts are known. shipped: its layouts.

    kind: "atlas", "olmoe", "mixtral" or "own". key: the same only for the same routing.
    model: the name to load the model by, "" where it is not at hand.
    """

    kind: str
    key: str
    model: str
    routing: CorpusRouting
    texts: tuple[str, ...] = ()
    shipped: Bundled | None = None

    @property
    def published(self) -> bool:
        return self.kind in PUBLISHED

    @property
    def private(self) -> bool:
        return self.kind == "own"


def kept(most: int):
    """A decorator: what `make(key, ..., _data)` finds of a data set is worked out once.

    Call it as found(data, ...). What belongs to a visitor's own texts is kept in that visitor's
    session and ends with it; the rest is shared by all.
    """

    def wrap(make: Callable) -> Callable:
        keep = partial(st.cache_resource, max_entries=most, show_spinner=False)
        shared, own = keep()(make), keep(scope="session")(make)

        def found(data: DataSet, *facts: object):
            return (own if data.private else shared)(data.key, *facts, data)

        return found

    return wrap


def data_set(kind: str) -> DataSet | None:
    """The data set `kind` by the model on screen, or None after saying what is still to do."""
    if kind in PUBLISHED:
        return DataSet(kind, f"published-{kind}", "", published_corpus(kind))
    corpus = load_atlas() if kind == "atlas" else own_corpus()
    if corpus is None:
        return None
    model = session.asked()[0]
    found = _shipped() if kind == "atlas" and model == "demo" else None
    if found:
        return DataSet("atlas", f"demo-{corpus.key}", model, found.routing, corpus.texts, found)
    return _routed(kind, corpus, model)


@st.cache_resource(show_spinner=False)
def _shipped() -> Bundled | None:
    return bundled(load_atlas())


def written(data: DataSet) -> tuple[np.ndarray, CorpusRouting] | None:
    """(rows of passages, what the model wrote after each), or None while there is something to do.

    Of the passages that `to_continue` picks; the atlas by the demo model ships with it.
    """
    if data.shipped:
        return data.shipped.rows, data.shipped.written
    rows = to_continue(len(data.texts))
    corpus = Corpus(data.routing.corpus, tuple(data.texts[row] for row in rows))
    name, size = plain(model_name(data.model)), plural(len(rows), "passage")
    found = _worked_out(
        (data.model, f"{data.key}-written"), _write(corpus, data.model),
        f"{name} has not written anything yet. It continues {size} in the background, one token "
        "after another, which takes longer than reading; you can stop it at any time.",
        "Let it write",
    )  # fmt: skip
    return None if found is None else (rows, found)


def _routed(kind: str, corpus: Corpus, model: str) -> DataSet | None:
    """The corpus by `model`: from this session's runs, or after the visitor asks for a run."""
    name, size = plain(model_name(model)), plural(len(corpus), "passage")
    routing = _worked_out(
        (model, corpus.key), _run(corpus, model),
        f"{name} has not read these texts yet. It reads {size} in the background; the page stays "
        "usable, and you can stop it at any time.",
        "Read them",
    )  # fmt: skip
    if routing is None:
        return None
    return DataSet(kind, f"{routing.weights}-{corpus.key}", model, routing, corpus.texts)


def _worked_out(
    key: tuple[str, str], make: Callable, invitation: str, button: str
) -> CorpusRouting | None:
    """A run of model key[0], from this session or under way, or None after offering to start it."""
    runs: dict[tuple[str, str], CorpusRouting] = st.session_state.setdefault("corpus_runs", {})
    if key in runs:
        return runs[key]
    jobs: dict[tuple[str, str], Job] = st.session_state.setdefault("corpus_jobs", {})
    if key in jobs:
        _watch(jobs, key)
        return None
    if not _loaded(key[0]):
        return None
    inform(invitation)
    if st.button(button, type="primary", key="read_corpus"):
        jobs[key] = Job(make, _cancelled())
        st.rerun()
    return None


def _loaded(model: str) -> bool:
    """Loads the model if need be; False after a sentence when it cannot be had."""
    slot = st.empty()
    try:
        ask.get_ready(slot)(model)
        if model not in shelf():
            with slot, st.spinner("Loading the model"):
                session.loaded(model)
            slot.empty()
        return True
    except MoevizError as error:
        slot.error(plain(str(error)))
        return False


def _run(corpus: Corpus, model: str) -> Callable:
    def run(progress: Callable[[int, int], None]) -> CorpusRouting:
        from moeviz.engines.local import KINDS, route_corpus  # late: torch takes seconds

        return route_corpus(shelf().take(model), corpus, vocabulary=KINDS, progress=progress)

    return run


def _write(corpus: Corpus, model: str) -> Callable:
    def run(progress: Callable[[int, int], None]) -> CorpusRouting:
        from moeviz.engines.local import route_written  # late: torch takes seconds

        return route_written(shelf().take(model), corpus, progress=progress)

    return run


def _cancelled() -> type:
    from moeviz.engines.local import CorpusCancelled

    return CorpusCancelled


@st.fragment(run_every=GLANCE)
def _watch(jobs: dict, key: tuple[str, str]) -> None:
    """The bar of a run, and what came of it."""
    job = jobs.get(key)
    if job is None:
        return
    share = job.look()
    if not job.over:
        st.progress(share, f"{job.done:,} of {plural(job.of, 'passage')} done{job.sharing.words()}")
        if st.button("Stop", key="stop_corpus"):
            job.cancel()
        return
    if job.result is not None:
        del jobs[key]
        runs = st.session_state["corpus_runs"]
        runs[key] = job.result
        while len(runs) > MOST_KEPT:
            del runs[next(iter(runs))]
        st.rerun()
    st.error(plain(job.trouble)) if job.trouble else inform("The run was stopped.")
    if st.button("Try again", key="retry_corpus"):
        del jobs[key]
        st.rerun()
