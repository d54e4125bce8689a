"""What to see on the Models page: one model's make-up, all known models, and claims."""

from __future__ import annotations

import pandas as pd
import streamlit as st

from moeviz.charts.facts import facts_sentence, parts_picture, published_sentence, router_sentence
from moeviz.corpora.models import (
    KnownModel,
    ReportedModel,
    always_on,
    known_facts,
    known_models,
    reported_models,
)
from moeviz.rules.claims import FITS, IMPOSSIBLE, MISSING, OTHERS, STRANGE, Claim, check
from moeviz.rules.facts import BITS, ModelFacts, from_json
from moeviz.rules.words import short_bytes, short_count
from moeviz.trace import MoevizError
from moeviz.ui.at_hand import cached_models
from moeviz.ui.components import packed, plot
from moeviz.ui.hosted import check_model
from moeviz.ui.house import offered_models
from moeviz.ui.markdown import plain
from moeviz.ui.served import on_server
from moeviz.ui.sheets import sheet
from moeviz.ui.terms import explained, headline, lead, note, tell

FIRST = "Mixtral 8x7B"
"""The model that the page opens with: the one most people have heard of."""

LARGEST_CONFIG = 2_000_000
"""Bytes of a config.json beyond which it is some other file."""

SIGNS = {FITS: st.success, STRANGE: st.warning, IMPOSSIBLE: st.error, MISSING: st.info}


def pick() -> ModelFacts | None:
    """The model that the visitor chose: from the list, by name, or by its config.json."""
    names = [model.name for model in known_models()]
    state = st.session_state
    if "known" not in state:
        linked = st.query_params.get("of", FIRST)
        state["known"] = linked if linked in names else FIRST
    with st.container(horizontal=True, vertical_alignment="bottom"):
        known = st.selectbox("Model", names, key="known", on_change=_forget_others)
        with st.popover("Another model"):
            _named()
            st.file_uploader("Or its config.json", type="json", key=_file_key())
            note("Only the configuration is read; no weights are fetched.")
    try:
        other = _other_model()
    except MoevizError as error:
        st.error(plain(str(error)))
        other = None
    if other is not None:
        st.query_params.clear()
        return other
    st.query_params["of"] = known
    return from_json(known_facts()[known])


def _forget_others() -> None:
    st.session_state["facts_of"] = ""
    _forget_file()


def _forget_file() -> None:
    """A file stays in its field until the field is another one."""
    st.session_state["config_turn"] = st.session_state.get("config_turn", 0) + 1


def _file_key() -> str:
    return f"config_file_{st.session_state.get('config_turn', 0)}"


def _named() -> None:
    """A field for a model's name, or the choice of those that a hosted server offers."""
    offered = offered_models()
    if offered is not None:
        models = [name for name in offered if not on_server(name)]
        st.selectbox("A model of this server", ["", *models], key="facts_of",
                     on_change=_forget_file)  # fmt: skip
        return
    _cached()
    st.text_input("Hub id or local folder", key="facts_of",
                  placeholder="allenai/OLMoE-1B-7B-0924", on_change=_forget_file)  # fmt: skip


def _cached() -> None:
    """The models of the Hugging Face cache on this machine, one pick away."""
    state, names = st.session_state, [model.name for model in cached_models()]
    if not names:
        return
    typed = state.get("facts_of", "").strip()
    state["facts_cached"] = typed if typed in names else None
    st.selectbox(
        "In this machine's Hugging Face cache", names, key="facts_cached",
        placeholder=f"Choose one of {len(names)}", on_change=_take_cached,
    )  # fmt: skip


def _take_cached() -> None:
    st.session_state["facts_of"] = st.session_state["facts_cached"] or ""
    _forget_file()


def _other_model() -> ModelFacts | None:
    file, name = st.session_state.get(_file_key()), st.session_state.get("facts_of", "").strip()
    if not file and not name:
        return None
    with st.spinner("Reading the configuration"):
        if file:
            if file.size > LARGEST_CONFIG:
                size = short_bytes(file.size)
                raise MoevizError(f"{file.name} has {size}; a config.json is far smaller.")
            return _facts_of_file(file.getvalue(), file.name)
        return _facts_of_name(name)


def _facts_of_name(name: str) -> ModelFacts:
    check_model(name)
    return _known_facts(name)


@st.cache_resource(max_entries=32, show_spinner=False)
def _known_facts(name: str) -> ModelFacts:
    from moeviz.models.facts import model_facts  # late: torch takes seconds

    return model_facts(name)


@st.cache_resource(max_entries=8, scope="session", show_spinner=False)
def _facts_of_file(data: bytes, name: str) -> ModelFacts:
    from moeviz.models.facts import config_file_facts  # late: torch takes seconds

    return config_file_facts(data, name)


def make_up(facts: ModelFacts) -> None:
    """One model: its sentence, where its parameters are, and what they need."""
    headline(facts_sentence(facts))
    known = next((model for model in known_models() if model.name == facts.name), None)
    if known is not None:
        _published(facts, known)
    tell(router_sentence(facts))
    left, right = st.columns([3, 2], gap="medium")
    with left:
        plot(packed(parts_picture(facts)), "model_parts", lambda: None)
    with right:
        _needs(facts)


def _published(facts: ModelFacts, known: KnownModel) -> None:
    sentence = published_sentence(facts, known.total, known.active)
    words = [sentence, known.note, f"Source: {known.source}."]
    tell(" ".join(word for word in words if word))


def _needs(facts: ModelFacts) -> None:
    rows = [
        (name, short_bytes(facts.memory(bits)), short_bytes(facts.touched(bits)))
        for name, bits in BITS.items()
    ]
    table = pd.DataFrame(rows, columns=["Number format", "All weights", "Read for one token"])
    st.markdown("**What it needs**")
    st.table(table, hide_index=True)
    cache = facts.cache(1000)
    if cache is None:
        lead("How much its keys and values take, its configuration does not tell.")
    else:
        lead(
            f"Keys and values of 1,000 tokens take {short_bytes(cache)} in 16 bits, if every "
            "layer keeps all of them."
        )
    note(
        "Memory follows from all parameters, the speed of one text from those that a token uses: "
        "an MoE is quick for its size, not small. With many texts at once nearly every expert is "
        "read, and that gain shrinks. Scales of compressed formats are left out."
    )


def table() -> None:
    """All known models side by side, and those of which only reports exist."""
    st.header("Models side by side", anchor=False)
    rows = [_row(model, from_json(known_facts()[model.name])) for model in known_models()]
    frame = pd.DataFrame(rows)
    sheet(
        frame,
        "models",
        height="content",
        column_config={
            "Total, B": st.column_config.NumberColumn(format="%.3g"),
            "For a token, B": st.column_config.NumberColumn(format="%.3g"),
            "Share": st.column_config.ProgressColumn(
                "Used by a token", format="percent", min_value=0, max_value=1
            ),
        },
    )
    note("Counted from each configuration; click a column's head to sort by it.")
    st.markdown("**Known from reports only**")
    for model in reported_models():
        mark = " :red-badge[not verifiable]" if model.verifiable == "no" else ""
        text = f"{_reported(model)}, according to {model.by}. {model.note}"
        st.markdown(f"- **{plain(model.name)}**{mark}: {plain(text)}")


def _reported(model: ReportedModel) -> str:
    said = [
        short_count(model.total) + " parameters" if model.total else "",
        short_count(model.active) + " for a token" if model.active else "",
        f"top-{model.chosen} of {model.experts} experts" if model.experts else "",
    ]
    return ", ".join(part for part in said if part) or "no numbers"


def _row(model: KnownModel, facts: ModelFacts) -> dict:
    return {
        "Model": model.name,
        "Total, B": facts.total / 1e9,
        "For a token, B": facts.active / 1e9,
        "Share": facts.active / facts.total,
        "Experts": facts.experts,
        "Chosen": facts.chosen,
        "Routed layers": f"{facts.routed_layers} of {facts.layers}",
        "Scoring": facts.scoring or "not tried",
        "Groups": str(facts.groups or "none"),
        "Shared experts": "yes" if facts.parts["shared experts"] else "no",
        "bf16": short_bytes(facts.memory(16)),
        "int4": short_bytes(facts.memory(4)),
    }


def claims() -> None:
    """A form for what a vendor says, and what can be said of it."""
    st.header("Does a claim add up?", anchor=False)
    lead(
        "Type what is said of a model. From total, active, experts and top-k follows how much of "
        "it every token must use, and that can be impossible."
    )
    with st.container(horizontal=True):
        total = _number("Total, billions", 46.7, "claim_total")
        active = _number("For a token, billions", 12.9, "claim_active")
        experts = _number("Experts a layer", 8, "claim_experts")
        chosen = _number("Top-k", 2, "claim_chosen")
    claim = Claim(
        total=total and total * 1e9,
        active=active and active * 1e9,
        experts=experts and int(experts),
        chosen=chosen and int(chosen),
    )
    for finding in check(claim, always_on()):
        ask = f" **Ask:** {plain(finding.ask)}" if finding.ask else ""
        SIGNS[finding.verdict](explained(plain(finding.sentence)) + ask)
    with st.expander("What to ask of any MoE"):
        lead("\n".join(f"- {plain(question)}" for question in OTHERS))


def _number(label: str, first: float, key: str) -> float | None:
    whole = isinstance(first, int)
    st.session_state.setdefault(key, first)
    least, step = (1, 1) if whole else (0.001, 0.1)
    return st.number_input(label, min_value=least, value=None, step=step, key=key, width=180)
