"""Takes docs/pictures/ and writes docs/charts.md from the running app, with the demo model.

python docs/pictures.py            needs tests/requirements.txt and Chromium
"""

import io
import re
import sys
import unicodedata
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from PIL import Image

DOCS = Path(__file__).parent
sys.path.insert(0, str(DOCS.parent))

from moeviz.bench.screen import chromium, running_app, settle  # noqa: E402

PATIENCE = 60_000
"""Milliseconds that a page may take; this machine may be busy."""

WIDE = 1280
SHARP = 2  # pixels of a picture per pixel of the page: read well on any screen
QUALITY = 82  # of WebP


@dataclass(frozen=True)
class Visit:
    """One state of the app. page: the heading it belongs under. address: the rest of its link.
    ready: a selector that is there when all is drawn. act: what to do before it is looked at.
    """

    page: str
    address: str
    ready: str = "section.card"
    act: Callable = field(default=lambda page: None)


def press(*names: str) -> Callable:
    """Presses buttons one after the other, once the page has answered to the one before."""

    def act(page) -> None:
        for name in names:
            page.get_by_role("button", name=name, exact=True).first.click()
            settle(page)

    return act


def choose(name: str) -> Callable:
    """Takes one of several choices."""

    def act(page) -> None:
        page.get_by_role("radio", name=name, exact=True).click()
        settle(page)

    return act


def sweep(page) -> None:
    page.get_by_role("button", name=re.compile("Mute each of the")).click()
    page.get_by_text("costs most").first.wait_for(timeout=PATIENCE)
    settle(page)


def answer(page) -> None:
    page.locator("[class*=st-key-quiz] [role=radiogroup] label").first.click()
    page.locator("[data-testid=stAlert]").first.wait_for(timeout=PATIENCE)
    settle(page)


VISITS = (
    Visit("Explore", "explore?token=12", ".strip .t"),
    Visit("Explore", "explore?layer=3&expert=5&look=expert", ".strip .t"),
    Visit("Explore", "explore?layer=3&look=layer", ".strip .t"),
    Visit("Explore", "explore?token=4&until=20&look=flow", ".strip .t"),
    Visit("Generate", "generate?prompt=The+keeper&most=60&seed=3", ".root[data-state=finished]"),
    Visit("Compare", "compare", ".root[data-side=B]"),
    Visit("Capacity", "capacity?factor=1", ".root[data-plot]"),
    Visit("Specialise", "specialise", ".root[data-cloud][data-scale]"),
    Visit("Specialise", "specialise?layer=3&expert=5", ".root[data-columns]"),
    Visit("Specialise", "specialise", ".root[data-cloud][data-scale]", choose("Layer by layer")),
    Visit("Specialise", "specialise", ".root[data-cloud][data-scale]", choose("Habits")),
    Visit("Contrast", "contrast?pair=Code+and+prose", ".root[data-columns]"),
    Visit("What if", "what-if?rule=mute+2:0-5&layer=2&token=12", ".root[data-key]", sweep),
    Visit("Lab", "lab", ".root[data-columns]", press("Expert choice")),
    Visit("Models", "models"),
    Visit("Learn", "learn?lesson=router", "h2", answer),
    Visit("Learn", "learn?lesson=balance", "h2", answer),
    Visit("Learn", "learn?lesson=capacity", "h2", answer),
)


def main() -> None:
    (DOCS / "pictures").mkdir(exist_ok=True)
    charts: dict[str, dict[str, str]] = {}
    with running_app() as url, chromium() as browser:
        for scheme in ("light", "dark"):
            context = browser.new_context(
                viewport={"width": WIDE, "height": 900}, color_scheme=scheme,
                device_scale_factor=SHARP,
            )  # fmt: skip
            page = context.new_page()
            page.set_default_timeout(PATIENCE)
            for visit in VISITS if scheme == "light" else VISITS[:1]:
                print(visit.address, file=sys.stderr)
                look(page, url, visit)
                take(page, name_of(visit.page, "" if scheme == "light" else scheme))
                if scheme == "light":
                    collect(page, visit, charts)
            context.close()
    (DOCS / "charts.md").write_text(charts_page(charts), encoding="utf-8")


def look(page, url: str, visit: Visit) -> None:
    """Open the state, and wait until it is drawn."""
    page.goto(f"{url}/{visit.address}")
    page.locator(visit.ready).first.wait_for(timeout=PATIENCE)
    settle(page)
    visit.act(page)
    page.mouse.move(2, 2)  # off every figure
    page.evaluate("() => document.querySelector('[data-testid=stMain]').scrollTo(0, 0)")


def collect(page, visit: Visit, charts: dict[str, dict[str, str]]) -> None:
    """How to read each figure of the page that no earlier visit showed; its picture."""
    known = charts.setdefault(visit.page, {})
    for card in page.locator("section.card").all():
        title, read = card.locator("h3").first, card.locator(".read").first
        if not (card.is_visible() and title.count() and read.count()):
            continue
        words = general(title.inner_text())
        if words not in known:
            known[words] = read.inner_text().strip()
            name = name_of(visit.page, words)
            save(card.screenshot(), DOCS / "pictures" / f"{name}.webp", WIDE)


def general(title: str) -> str:
    """The heading of a figure without what belongs to one text only: numbers, quotes."""
    return re.sub(r"\s+", " ", title.split(":")[0].replace("\n", " ")).strip()


def take(page, name: str) -> None:
    """What fits on the screen, unless an earlier visit took that page already."""
    file = DOCS / "pictures" / f"{name}.webp"
    if file not in TAKEN:
        TAKEN.add(file)
        save(page.screenshot(), file, WIDE)


TAKEN: set[Path] = set()


def save(picture: bytes, file: Path, wide: int) -> None:
    """As WebP, at most `wide` pixels wide, which keeps words sharp and the file small."""
    image = Image.open(io.BytesIO(picture)).convert("RGB")
    if image.width > wide * SHARP * 0.75:
        image = image.resize(
            (int(wide * 1.5), round(image.height * wide * 1.5 / image.width)), Image.LANCZOS
        )
    image.save(file, quality=QUALITY, method=6)


def name_of(*words: str) -> str:
    """A file name of letters, digits and hyphens."""
    plain = unicodedata.normalize("NFKD", " ".join(words)).lower()
    return re.sub(r"[^a-z0-9]+", "-", plain).strip("-")


def charts_page(charts: dict[str, dict[str, str]]) -> str:
    """Every figure with its picture and how to read it."""
    parts = [
        "# How to read each chart",
        "Taken from the running app by `docs/pictures.py`: the demo model on the texts that the "
        "pages start with. In the app the same line stands under each figure. Figures follow the "
        "light or dark theme, save as PNG, SVG or HTML, and have their numbers as a table.",
        "Words that all of them use: a *share* runs from 0 to 1 and is shown in percent; *chance* "
        "is what the same number of tokens would give if a router chose experts blindly (or labels "
        "were dealt at random), as a band that 95 of 100 such deals fall into; an expert is always "
        "one layer's expert: expert 3 of layer 2 and expert 3 of layer 4 have nothing in common.",
    ]
    for page, figures in charts.items():
        parts.append(f"## {page}")
        for title, read in figures.items():
            picture = f"pictures/{name_of(page, title)}.webp"
            parts += [f"### {title}", f"![{title}]({picture})", read]
    return "\n\n".join(parts) + "\n"


if __name__ == "__main__":
    main()
