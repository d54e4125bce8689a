"""What the Specialise page finds, in plain English and beside chance."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

import numpy as np

from moeviz.charts.words import percent, plural
from moeviz.corpora.atlas import LANGUAGES
from moeviz.corpora.routing import CorpusRouting
from moeviz.metrics.apart import Apart
from moeviz.metrics.card import ExpertCard
from moeviz.metrics.clusters import Purity
from moeviz.metrics.emergence import Growth
from moeviz.metrics.languages import LanguageDivergence
from moeviz.metrics.map import Placed
from moeviz.metrics.specialisation import Specialisation


def label_word(label: str) -> str:
    """A label as a reader would say it: "de" is German, "programming_docs" two words."""
    return LANGUAGES.get(label, label.replace("_", " ") or "no label")


def selection_sentence(routing: CorpusRouting, chosen: np.ndarray) -> str:
    """How many passages, and what most of them are."""
    count = int(chosen.sum())
    parts = [_most(routing.labels[name][chosen]) for name in routing.labels if name != "source"]
    of = f"{plural(count, 'passage')} of {len(chosen):,}"
    return f"{of}: {'; '.join(parts)}." if parts else f"{of}."


def _most(values: np.ndarray, most: int = 3) -> str:
    """ "German 92 %, Dutch 8 %" """
    counted = Counter(values.tolist()).most_common()
    shown = [(label, n) for label, n in counted[:most] if n >= 0.01 * len(values)] or counted[:1]
    words = [f"{label_word(label)} {percent(n / len(values))}" for label, n in shown]
    left = len(counted) - len(shown)
    return ", ".join(words) + (f" and {left} more" if left > 0 else "")


def apart_sentence(found: Apart) -> str:
    """How many experts set some passages apart, beside how many chance would."""
    count, of = int(found.stands_out.sum()), found.stands_out.size
    if not count:
        return (
            f"No expert is used differently than in the other passages, as far as {found.passages} "
            f"can show beside {found.draws} random sets of as many."
        )
    return (
        f"{count} of {plural(of, 'expert')} are used differently than in the other passages; in 19 "
        f"of 20 random sets of as many, none would be. Those used more, strongest first:"
    )


def expert_words(found: Apart, row: int, expert: int) -> str:
    """One expert's share among some passages and elsewhere."""
    lift = found.lift[row, expert]
    times = f"{lift:.1f} ×" if np.isfinite(lift) else "only here"
    elsewhere = percent(found.rest[row, expert])
    return f"{percent(found.share[row, expert])}, elsewhere {elsewhere} ({times})"


def placed_sentence(
    routing: CorpusRouting, texts: Sequence[str], found: Placed, tokens: int, short: int = 24
) -> str:
    """Where one new text landed, what its neighbours are, and how far to trust it."""
    near = found.neighbours[0]
    alike = []
    for name in (n for n in routing.labels if n != "source"):
        label, count = Counter(routing.labels[name][near].tolist()).most_common(1)[0]
        alike.append(f"{count} of {len(near)} nearest are {label_word(label)}")
    where = f"Your text ({plural(tokens, 'token')}) is the star"
    where += f": {'; '.join(alike)}." if alike else "."
    nearest = " ".join(texts[near[0]][:160].split())[:90]
    notes = ""
    if found.unlike[0]:
        notes = " It is routed unlike anything on the map, so its place means little."
    elif tokens < short:
        usual = int(np.median(routing.tokens))
        notes = f" So few tokens make a rough guess: passages here have about {usual}."
    return f"{where} The nearest begins “{nearest}…”.{notes}"


def labels_sentence(found: Specialisation, row: int, layer: str) -> str:
    """How many experts of a layer favour some label, and the clearest case."""
    share, lift = found.share[row], found.lift[row]
    above = found.share_band.above
    sure = np.isfinite(lift) if above is None else above[row]
    if not sure.any():
        return (
            f"In layer {layer}, no expert reads any one {found.label} more than dealt labels would "
            "show."
        )
    best = int(np.argmax(np.where(sure, lift, -1)))
    name, expert = divmod(best, lift.shape[1])
    who = label_word(str(found.names[name]))
    count = int(sure.any(axis=0).sum()) if above is not None else 0
    clear = (
        f"{count} of {plural(int(np.isfinite(share[0]).sum()), 'expert')} read some {found.label} "
        "more than chance explains; the clearest"
        if above is not None
        else "the clearest case"
    )
    text = (
        f"In layer {layer}, {clear} is expert {expert} for {who}: "
        f"{percent(share[name, expert])} of its tokens choose it, {lift[name, expert]:.1f} × the "
        f"mean of all {found.label}s."
    )
    return text


def layers_sentence(found: Specialisation, names: Sequence[str]) -> str:
    """Where in the model a label is told apart most and least."""
    bits = found.divergence
    top, low = int(bits.argmax()), int(bits.argmin())
    rises = found.divergence_band.above
    chance = ""
    if rises is not None:
        count = int(np.sum(rises))
        chance = (
            " Every layer is above chance." if count == len(bits) else
            f" {count} of {plural(len(bits), 'layer')} are above chance."
        )  # fmt: skip
    return (
        f"{found.label.capitalize()}s part most in layer {names[top]} ({bits[top]:.2f} bits) and "
        f"least in layer {names[low]} ({bits[low]:.2f}).{chance}"
    )


def divergence_read(found: Specialisation) -> str:
    """How to read the curve of the divergence."""
    chance = (
        f"Grey: {found.label}s dealt anew over whole {found.unit}, {found.draws} times."
        if found.draws
        else "Only totals were published, so there is no chance band from dealt labels."
    )
    return (
        "Generalised Jensen–Shannon divergence: the bits that one choice of an expert tells on "
        f"the {found.label} of its token, 0 where all {found.label}s share the experts alike. "
        f"{chance} Click a layer to see its experts."
    )


def asked_words(asked: Mapping[str, Sequence[str]]) -> str:
    """The labels a question named, as a reader would say them: "German law"."""
    parts = [" or ".join(label_word(value) for value in values) for values in asked.values()]
    said = " ".join(parts)
    return said[:1].upper() + said[1:]


def texts_words(found: Apart) -> str:
    """ "40 passages of 20 texts" """
    return f"{plural(found.passages, 'passage')} of {plural(found.families, 'text')}"


def unknown_sentence(known: Mapping[str, Sequence[str]]) -> str:
    """What can be asked for, when nothing in a question was understood."""
    lists = [
        f"{name}s: {', '.join(label_word(value) for value in values if value)}"
        for name, values in known.items()
    ]
    return (
        "I look for labels by name and found none in this question. I know these "
        f"{'; '.join(lists)}."
    )


def nothing_both(routing: CorpusRouting, asked: Mapping[str, Sequence[str]]) -> str:
    """That no passage has all that was asked for, and what there is instead."""
    column, values = list(asked.items())[-1]
    other = next((name for name in asked if name != column), column)
    there = np.unique(routing.labels[other][np.isin(routing.labels[column], values)])
    have = ", ".join(label_word(str(value)) for value in there)
    what = " or ".join(label_word(value) for value in values)
    return f"No passage is {asked_words(asked)}. Texts of {what} are there in: {have}."


def share_words(share: float, lift: float, label: str) -> str:
    """One expert's share of a label's tokens and how far above the mean that is."""
    return f"{percent(share)} of its tokens, {lift:.1f} × the mean of all {label}s"


def purity_sentence(found: Purity, label: str, count: int) -> str:
    """How far groups follow a label, beside shuffled labels."""
    return (
        f"{count} groups by routing alone: {percent(found.share)} of passages have their group's "
        f"most frequent {label}; shuffled labels give {percent(found.low)} to "
        f"{percent(found.high)}."
    )


def card_sentence(card: ExpertCard, summary: Mapping[str, tuple[str, float, int] | None]) -> str:
    """An expert in one sentence: its load, its clearest labels, and how sure that is."""
    load = (
        f"{card.count:,} of {plural(card.tokens, 'token')} chose it ({percent(card.base)}; even "
        f"would be {percent(card.even)})."
    )
    if not card.count:
        return f"{load} Nothing more can be said of it."
    clear, unclear, tested = [], [], True
    for label, best in summary.items():
        if best is None:
            unclear.append(label)
            continue
        value, lift, count = best
        more = f", the clearest of {count}" if count > 1 else ""
        clear.append(f"{label_word(value)} ({lift:.1f} × the mean {label}{more})")
        tested = tested and count > 0
    sure = "beyond chance" if tested else "by totals alone, without a test against chance"
    said = f" It favours {' and '.join(clear)}, {sure}." if clear else ""
    if unclear:
        said += f" By {' and '.join(unclear)} it is not beyond chance."
    return load + said


def growth_sentence(
    parts: Mapping[str, Growth], loss: np.ndarray, seen: Sequence[str], moment: int, row: int,
    label: str,
) -> str:  # fmt: skip
    """Where training stands at one moment, in one layer."""
    bits, made = parts["divergence"], parts["saturation"]
    value, high = bits.values[moment, row], bits.chance[moment, 1]
    beside = "above" if value > high else "within"
    return (
        f"After {seen[moment]} tokens (loss {loss[moment]:.2f} nats), layer {row} has made "
        f"{percent(made.values[moment, row])} of its final choices (chance "
        f"{percent(made.chance[moment, 0])}), and its choices tell {value:.2f} bits of the "
        f"{label}, {beside} what shuffled labels give (up to {high:.2f})."
    )


def growth_words(name: str, label: str) -> tuple[str, str]:
    """(title, how to read it) of a figure over training."""
    return {
        "divergence": (
            f"How far {label}s part",
            f"Bits that one choice tells on the {label} (generalised Jensen–Shannon divergence). "
            "Grey: the same passages with shuffled labels, all layers together.",
        ),
        "saturation": (
            "When the routes settled",
            "Router saturation: the share of the final choices already made at each moment. "
            "Chance is K / E.",
        ),
        "balance": (
            "Balance",
            "MaxVio: the busiest expert over the mean, minus one; 0 is perfect. Grey: routers that "
            "choose at random.",
        ),
    }[name]


def parallel_sentence(found: LanguageDivergence, names: Sequence[str]) -> str:
    """Where languages part most and least when they say the same."""
    top, low = int(found.mean.argmax()), int(found.mean.argmin())
    above = int((found.mean > found.high).sum())
    return (
        f"Saying the same in {len(found.names)} languages, they part most in layer {names[top]} "
        f"({found.mean[top]:.2f}) and least in layer {names[low]} ({found.mean[low]:.2f}); "
        f"{above} of {plural(len(names), 'layer')} are above chance."
    )


def parallel_read(found: LanguageDivergence) -> str:
    """How to read the curve over parallel texts."""
    return (
        f"{found.passages} passages in {len(found.names)} languages, translations of one another: "
        "the Jensen–Shannon divergence of two languages' expert shares over the most their "
        "entropies allow, mean of all pairs; 0 is the same route. Large multilingual models show a "
        f"U: apart at both ends, together in the middle (arXiv:2510.04694). Grey: languages of "
        f"each passage dealt anew, {found.draws} times."
    )
