"""Make the atlas from a corpus of labelled documents; run as a command.

    python -m moeviz.corpora.make_atlas --corpus DIR --out moeviz/corpora

DIR holds `validation.jsonl.xz`, one document a line with text, language, domain, source and, for
translations of one another, the same `parallel`; and `manifest.json` with the sources' licences.
Nothing is random: the same documents give the same atlas.
"""

from __future__ import annotations

import argparse
import json
import lzma
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path

from moeviz.corpora.corpus import Source
from moeviz.store.whole import write_whole

PER_GROUP = 40  # passages of one language and domain
BYTES = 400  # of UTF-8 in a passage: 64 tokens of the demo model and some to spare
LEAST = 300  # a shorter rest is left out; of translations, the shortest is at least as long
LANGUAGES_LEAST = 10  # a text counts as parallel when so many translations agree line by line

BREAKS = ("\n\n", "\n", ". ", "。", "! ", "? ", "؟ ", "। ", "; ", "、", " ")


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m moeviz.corpora.make_atlas")
    parser.add_argument("--corpus", type=Path, required=True, help="folder of the documents")
    parser.add_argument("--out", type=Path, required=True, help="folder to write the atlas to")
    chosen = parser.parse_args(argv)
    documents = read_documents(chosen.corpus / "validation.jsonl.xz")
    passages = make_passages(documents)
    manifest = json.loads((chosen.corpus / "manifest.json").read_text())
    sources = used_sources(manifest, {passage["source"] for passage in passages})
    write_atlas(chosen.out, passages, sources)
    print(f"{len(passages)} passages from {len(sources)} sources")


def read_documents(path: Path) -> list[dict]:
    with lzma.open(path, "rt", encoding="utf-8") as lines:
        return [json.loads(line) for line in lines]


def make_passages(documents: list[dict]) -> list[dict]:
    """At most PER_GROUP passages of each language and domain, from as many documents as there are.

    Takes the first passage of every document before any second one.
    """
    shared = _parallel_cuts(documents)
    by_group: dict[tuple, list[list[dict]]] = defaultdict(list)
    for number, document in enumerate(documents):
        pieces = shared.get(number) or [(text, "") for text in cut(document["text"])]
        name = f"{document['source']}:{number}"
        rows = [
            {
                "text": text,
                "language": document["language"],
                "domain": document["domain"],
                "source": document["source"],
                "document": name,
                "family": document.get("parallel", name),
                "parallel": parallel,
            }
            for text, parallel in pieces
        ]
        by_group[document["language"], document["domain"]].append(rows)
    return [row for _, group in sorted(by_group.items()) for row in _first_of_each(group)]


def _first_of_each(group: list[list[dict]]) -> list[dict]:
    longest = max(map(len, group))
    group = sorted(group, key=lambda rows: not (rows and rows[0]["parallel"]))  # parallel first
    turns = [rows[turn] for turn in range(longest) for rows in group if turn < len(rows)]
    return sorted(turns[:PER_GROUP], key=lambda row: row["document"])


def cut(text: str) -> list[str]:
    """Pieces of about BYTES, cut behind a paragraph, line, sentence or word; no shorter rest."""
    pieces = []
    while len(text.encode()) >= LEAST:
        end = len(text.encode()[:BYTES].decode("utf-8", "ignore"))
        if end < len(text):
            end = _break(text, end)
        piece, text = text[:end].strip(), text[end:].lstrip()
        if len(piece.encode()) >= LEAST:
            pieces.append(piece)
    return pieces


def _break(text: str, end: int) -> int:
    """The best place to cut in the last quarter before `end`, or `end` itself."""
    for mark in BREAKS:
        place = text.rfind(mark, 3 * end // 4, end)
        if place >= 0:
            return place + len(mark)
    return end


def _parallel_cuts(documents: list[dict]) -> dict[int, list[tuple[str, str]]]:
    """By document number, its (text, parallel name) pieces, where translations agree by line."""
    families: dict[str, list[int]] = defaultdict(list)
    for number, document in enumerate(documents):
        if "parallel" in document:
            families[document["parallel"]].append(number)
    found = {}
    for family, members in families.items():
        lines = {number: documents[number]["text"].split("\n") for number in members}
        usual, count = Counter(map(len, lines.values())).most_common(1)[0]
        if count < LANGUAGES_LEAST:
            continue
        agreeing = {number: text for number, text in lines.items() if len(text) == usual}
        cuts = list(_even_cuts(list(agreeing.values())))
        for number, text in agreeing.items():
            found[number] = [
                ("\n".join(text[a:b]).strip(), f"{family}/{place}")
                for place, (a, b) in enumerate(cuts)
            ]
    return found


def _even_cuts(translations: list[list[str]]) -> Iterator[tuple[int, int]]:
    """(first, end) lines of passages, each long enough in every language."""
    start = 0
    for end in range(1, len(translations[0]) + 1):
        if min(len("\n".join(t[start:end]).strip().encode()) for t in translations) >= LEAST:
            yield start, end
            start = end


def used_sources(manifest: dict, names: set[str]) -> list[Source]:
    """The sources of that name in the manifest, in order of name."""
    facts = ("title", "origin", "licence", "attribution")
    rows = manifest["sources"]
    return [Source(name, *(rows[name][fact] for fact in facts)) for name in sorted(names)]


def write_atlas(folder: Path, passages: list[dict], sources: list[Source]) -> None:
    """atlas.jsonl.xz, atlas_sources.json, and for people ATLAS.md."""
    text = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in passages)
    packed = lzma.compress(text.encode(), preset=9 | lzma.PRESET_EXTREME)
    write_whole(folder / "atlas.jsonl.xz", packed)
    listed = json.dumps([asdict(source) for source in sources], ensure_ascii=False, indent=1)
    write_whole(folder / "atlas_sources.json", listed + "\n")
    write_whole(folder / "ATLAS.md", _page(passages, sources))


def _page(passages: list[dict], sources: list[Source]) -> str:
    counted = Counter(passage["source"] for passage in passages)
    rows = [
        f"| {s.name} | {s.title} | {s.origin} | {s.licence} | {s.attribution} | {counted[s.name]} |"
        for s in sources
    ]
    return _HEAD.format(passages=len(passages)) + "\n".join(rows) + "\n"


_HEAD = """# The atlas

{passages} short labelled passages in 19 languages, program code and 33 domains, none of which the
demo model was trained on. Every text was changed: cleaned of markup, notes and contact data, and
cut into passages. Passages whose family begins with `ntrex`, `sec101` or `gnome` and that share
`parallel` say the same in several languages.

Texts stay under the licences of their sources: those of ntrex-128, gnome-user-docs,
hindi-bible-fbi and sgd under CC BY-SA. Licence texts of software sources are in
`../demo_model/LICENSES.txt`; authors and translators of the Pratham Books stories in
`../demo_model/attribution-pratham-books.json`. CC licences:
<https://creativecommons.org/licenses/>.

| source | title | origin | licence | attribution | passages |
| --- | --- | --- | --- | --- | ---: |
"""


if __name__ == "__main__":
    main()
