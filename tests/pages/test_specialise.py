"""The Specialise page's own logic, driven without a browser, on what ships."""

from pathlib import Path

import numpy as np
import pytest
from reading import read
from streamlit.testing.v1 import AppTest

from moeviz.charts.words import percent
from moeviz.corpora.atlas import load_atlas
from moeviz.corpora.bundled import bundled
from moeviz.metrics.apart import set_apart
from moeviz.metrics.clusters import purity, sphere_clusters
from moeviz.metrics.coactivation import company
from moeviz.metrics.map import pca_map, place, routing_features, with_layout
from moeviz.metrics.phases import phase_specialisation
from moeviz.metrics.specialisation import specialisation
from moeviz.metrics.words import layer_words, vocabulary_specialisation
from moeviz.ui.maps import text_counts

APP = Path(__file__).parent.parent.parent / "app.py"


@pytest.fixture(scope="module")
def shipped():
    return bundled(load_atlas())


@pytest.fixture
def page():
    """The app in this process, turned to the Specialise page when it first runs."""
    app = AppTest.from_file(APP, default_timeout=300)
    app.switch_page("pages/specialise.py")
    return app


def opened(page, **link: str):
    for name, value in link.items():
        page.query_params[name] = value
    page.run()
    assert not page.exception
    return page


def said(page) -> str:
    return read(m.value for m in page.markdown)


def components(page) -> list[str]:
    return [c.proto.component_name for c in page.get("bidi_component")]


def press(page, label: str):
    return next(b for b in page.button if b.label == label).click().run()


def test_the_first_visit_shows_the_map_at_once(page):
    opened(page)
    assert components(page) == ["moeviz_cloud", "moeviz_tint"]
    assert not page.error
    assert page.query_params == {}


def test_a_selection_says_what_it_is_and_what_sets_it_apart(page, shipped):
    opened(page)
    routing = shipped.routing
    german = np.flatnonzero(routing.labels["language"] == "de")
    key = pca_map(routing_features(routing.counts)).key
    page.session_state["selected"] = ("passages", key, german)
    page.run()
    assert f"{len(german)} passages of {len(routing.tokens):,}: German 100 %" in said(page)
    found = set_apart(routing, routing.labels["language"] == "de")
    count = int(found.stands_out.sum())
    assert f"{count} of 96 experts are used differently" in said(page)
    row, expert = found.best(1)[0]
    button = next(b for b in page.button if b.key == f"selection-{row}-{expert}")
    assert percent(found.share[row, expert]) in button.label
    button.click().run()
    assert page.query_params["section"] == "experts"
    assert (page.query_params["layer"], page.query_params["expert"]) == (str(row), str(expert))
    assert f"Layer {row}, expert {expert}" in [h.value for h in page.header]


def test_a_placed_text_lands_where_its_routing_does(page, shipped):
    import moeviz

    opened(page)
    text = "Der Mieter haftet dem Vermieter für jeden Schaden, den er schuldhaft verursacht hat."
    page.text_area(key="place_text").set_value(text)
    press(page, "Place it")
    assert not page.exception
    trace = moeviz.trace_text(moeviz.load_model("demo"), text)
    kept = ~trace.tokens.special
    made = pca_map(routing_features(shipped.routing.counts))
    features = routing_features(text_counts(trace, kept)[None])
    near = place(with_layout(made, shipped.passages, shipped.seed), features).neighbours[0]
    german = int((shipped.routing.labels["language"][near] == "de").sum())
    assert german >= 4
    assert f"Your text ({kept.sum()} tokens) is the star: {german} of 5 nearest are German" in said(
        page
    )
    page.text_area(key="place_text").set_value(" ")
    press(page, "Place it")
    assert "is the star" in said(page) or not page.exception


def test_the_search_box_answers_from_the_metrics(page, shipped):
    opened(page)
    page.text_input(key="search").set_value("Which experts fire on German law?").run()
    labels = shipped.routing.labels
    chosen = (labels["language"] == "de") & (labels["domain"] == "law")
    found = set_apart(shipped.routing, chosen)
    assert f"German law: {chosen.sum()} passages of {found.families} texts." in said(page)
    row, expert = found.best(1)[0]
    wider = set_apart(shipped.routing, labels["language"] == "de")
    button = next(b for b in page.button if b.key == f"answer-{row}-{expert}")
    assert f"all German: {wider.lift[row, expert]:.1f} ×" in button.label
    assert page.query_params["ask"] == "Which experts fire on German law?"
    page.text_input(key="search").set_value("Turkish law").run()
    assert "No passage is Turkish law. Texts of law are there in: German, Greek," in said(page)
    page.text_input(key="search").set_value("nonsense").run()
    assert (
        "I look for labels by name and found none in this question. I know these languages: "
        "Arabic, program code, German," in said(page)
    )


def test_a_link_opens_an_experts_card(page, shipped):
    opened(page, layer="5", expert="15")
    routing = shipped.routing
    chose = int(routing.counts[:, 5, 15].sum())
    assert f"{chose:,} of {routing.tokens.sum():,} tokens chose it" in said(page)
    found = specialisation(routing, "language")
    best = int(np.argmax(np.where(found.share_band.above[5, :, 15], found.lift[5, :, 15], -1)))
    assert found.names[best] == "de"
    assert f"It favours German ({found.lift[5, best, 15]:.1f} × the mean language" in said(page)
    tables = [frame.value for frame in page.dataframe]
    assert tables[0].iloc[0]["language"] == "German"
    assert tables[2].iloc[0]["lift"] > 5
    assert not any("Ġ" in token for token in tables[2]["token"])
    link = page.get("page_link")[0].proto
    assert link.page == "what-if"
    assert "rule=mute+5%3A15" in link.query_string


def test_labels_and_layers_say_what_rises_above_chance(page, shipped):
    opened(page, section="labels", by="domain", layer="2")
    found = specialisation(shipped.routing, "domain")
    count = int(found.share_band.above[2].any(axis=0).sum())
    assert f"In layer 2, {count} of 16 experts read some domain" in said(page)
    page.button_group(key="ask_section").set_value("layers").run()
    assert not page.exception
    top = int(found.divergence.argmax())
    assert f"Domains part most in layer {top} ({found.divergence[top]:.2f} bits)" in said(page)
    assert components(page).count("moeviz_plot") == 3


def test_clusters_say_their_purity_beside_chance(page, shipped):
    opened(page, section="clusters", groups="12")
    reduced = pca_map(routing_features(shipped.routing.counts)).reduced
    pure = purity(sphere_clusters(reduced, 12), shipped.routing.labels["language"])
    assert (
        f"12 groups by routing alone: {percent(pure.share)} of passages have their group's most "
        f"frequent language; shuffled labels give {percent(pure.low)} to {percent(pure.high)}."
    ) in said(page)


def test_training_can_be_moved_through(page):
    opened(page, section="training", moment="0")
    assert "After 0 tokens (loss 9.05 nats)" in said(page)
    assert "within what shuffled labels give" in said(page)
    page.select_slider(key="ask_moment").set_value("10.4 M").run()
    assert "has made 100 % of its final choices (chance 12 %)" in said(page)
    assert page.query_params["section"] == "training"
    assert components(page).count("moeviz_plot") == 3


def test_published_counts_of_two_models_stand_side_by_side(page):
    opened(page, data="olmoe", section="map", layer="0")  # there is no map of counts
    assert "In layer 0, OLMoE sends 98 % of arxiv to expert 0 (7.8 × even), Mixtral" in said(page)
    assert components(page) == ["moeviz_grid", "moeviz_grid", "moeviz_plot"]
    notes = " ".join(read([caption.value]) for caption in page.caption)
    assert "Muennighoff et al. 2024" in notes and "Apache-2.0" in notes
    page.button_group(key="ask_section").set_value("layers").run()
    assert "domains part from 0.167 to 0.501 bits in OLMoE and from" in said(page)
    page.text_input(key="search").set_value("github").run()
    assert "github, from OLMoE's published totals; the strongest first:" in said(page)
    page.button_group(key="ask_section").set_value("experts").run()
    page.button_group(key="ask_published").set_value("mixtral").run()
    assert page.query_params["data"] == "mixtral"
    assert "Expert (0 to 7)" in [n.label for n in page.number_input]
    page.button_group(key="ask_section").set_value("texts").run()
    assert len(page.dataframe[0].value) == 2


def test_nonsense_in_a_link_is_passed_over(page):
    names = ("data", "section", "of", "view", "by", "seed", "layer", "expert", "groups", "moment")
    opened(page, **dict.fromkeys(names, "<nonsense>"))
    assert components(page)[0] == "moeviz_cloud"
    assert page.query_params.keys() <= {"by", "layer"}


def test_attribution_of_every_source_is_shown(page):
    opened(page, section="texts")
    table = page.dataframe[0].value
    sources = load_atlas().sources
    assert table["attribution"].tolist() == [source.attribution for source in sources]
    assert set(table.columns) >= {"title", "origin", "licence"}


def test_habits_stand_beside_chance(page, shipped):
    routing = shipped.routing
    opened(page, section="habits", layer="3")
    count = int(company(routing, 3).above.sum())
    assert f"In layer 3, {count} of 240 pairs of experts fire together" in said(page)
    assert any("both count the same" in read([caption.value]) for caption in page.caption)
    page.button_group(key="ask_habit").set_value("words").run()
    places = ("where it is read", "where it comes next", "where the model predicts it")
    for kind, where in zip(("input", "next", "predicted"), places, strict=True):
        found = vocabulary_specialisation(routing, kind)
        told = f"{percent(found.favourite[3])} {where} (chance {percent(found.high[3])})"
        assert told in said(page)
    page.button_group(key="ask_kind").set_value("next").run()
    expert, _, times, *_ = layer_words(routing, 3, "next")[0]
    first = page.dataframe[0].value.iloc[0]
    assert (first["expert"], first["times"]) == (expert, times)
    page.button_group(key="ask_habit").set_value("phases").run()
    found = phase_specialisation(routing, shipped.written, shipped.rows)
    top = int(found.divergence.argmax())
    assert f"most in layer {top} ({found.divergence[top]:.3f} bits)" in said(page)
    assert components(page) == ["moeviz_grid", "moeviz_plot"]
    assert page.query_params["habit"] == "phases"


def test_experts_are_coloured_by_their_load_against_even(page, shipped):
    opened(page, of="experts", by="load")
    counts = shipped.routing.counts.sum(axis=0)
    busiest = float((counts / counts.mean(axis=1, keepdims=True)).max())
    tint = next(c for c in page.get("bidi_component") if c.proto.component_name == "moeviz_tint")
    assert f"{busiest:.1f} ×".encode() in bytes(tint.proto.bytes)
    assert b"Load, 1" in bytes(tint.proto.bytes)
    assert [n.label for n in page.number_input] == ["Seed of the layout"]  # no expert to choose
