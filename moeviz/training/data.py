"""What does the demo model read, and in which proportion? Corpus -> token shards -> batches.

A shard folder holds the tokenised training text and, as it is, the validation text:

    tokenizer.json    the byte-level BPE
    shards.json       per group (language, domain): first token, tokens, documents, bytes
    tokens.bin.xz     all token ids as little-endian uint16, group after group;
                      every document starts with <|endoftext|>
    validation.jsonl.xz
"""

from __future__ import annotations

import json
import lzma
import random
import shutil
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from tokenizers import Tokenizer

from moeviz.store.whole import write_whole
from moeviz.training.tokenizer import load_tokenizer, train_tokenizer

VALIDATION = "validation.jsonl.xz"


@dataclass(frozen=True)
class Document:
    text: str
    language: str
    domain: str
    parallel: str | None = None  # translations of one text share this name


@dataclass(frozen=True)
class Group:
    """One (language, domain) and where its tokens lie in the shard."""

    language: str
    domain: str
    first: int
    tokens: int
    documents: int
    bytes: int


@dataclass(frozen=True)
class Shards:
    tokenizer: Tokenizer
    groups: tuple[Group, ...]
    tokens: np.ndarray  # uint16, all groups one after the other

    def of(self, group: Group) -> np.ndarray:
        """The tokens of one group, [group.tokens] uint16."""
        return self.tokens[group.first : group.first + group.tokens]


def read_documents(paths: Iterable[Path]) -> Iterator[Document]:
    """Every document of the given .jsonl or .jsonl.xz files, in file order."""
    for path in paths:
        opener = lzma.open if path.suffix == ".xz" else open
        with opener(path, "rt", encoding="utf-8") as lines:
            for line in lines:
                row = json.loads(line)
                yield Document(row["text"], row["language"], row["domain"], row.get("parallel"))


def validation_documents(folder: Path) -> list[Document]:
    """The unseen documents kept in a corpus or shard folder."""
    return list(read_documents([folder / VALIDATION]))


def training_files(corpus: Path) -> list[Path]:
    """The corpus files train-*.jsonl(.xz); an error in plain words if there are none."""
    files = sorted([*corpus.glob("train-*.jsonl.xz"), *corpus.glob("train-*.jsonl")])
    if not files:
        raise FileNotFoundError(
            f"{corpus} has no train-*.jsonl.xz. Give --corpus the folder with the training text."
        )
    return files


def group_documents(documents: Iterable[Document]) -> dict[tuple[str, str], list[str]]:
    """Texts by (language, domain), in sorted group order, shuffled with a fixed seed."""
    groups: dict[tuple[str, str], list[str]] = defaultdict(list)
    for document in documents:
        groups[document.language, document.domain].append(document.text)
    ordered = dict(sorted(groups.items()))
    for texts in ordered.values():
        random.Random(0).shuffle(texts)
    return ordered


def group_weights(sizes: np.ndarray, flatness: float) -> np.ndarray:
    """Share of each group in the mixture: sizes ** flatness, normalised; [groups], sums to 1.

    1 keeps the natural proportions, 0 makes all groups equal (Conneau et al. 2020,
    arXiv:1911.02116, section 3.1, there called alpha).
    """
    weights = np.asarray(sizes, dtype=np.float64) ** flatness
    return weights / weights.sum()


def tokenizer_sample(groups: dict[tuple[str, str], list[str]], budget: int) -> Iterator[str]:
    """Texts of about `budget` bytes for BPE training, the group shares flattened to size ** 0.5."""
    sizes = np.array([sum(len(t.encode()) for t in texts) for texts in groups.values()])
    shares = group_weights(sizes, 0.5) * budget
    for texts, share in zip(groups.values(), shares, strict=True):
        for text in texts:
            if share <= 0:
                break
            share -= len(text.encode())
            yield text


def build_shards(
    corpus: Path, folder: Path, vocab_size: int, sample_bytes: int = 40_000_000
) -> Shards:
    """Trains the tokenizer, tokenises the corpus once and keeps both in `folder`."""
    groups = group_documents(read_documents(training_files(corpus)))
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer = train_tokenizer(tokenizer_sample(groups, sample_bytes), vocab_size)
    tokenizer.save(str(folder / "tokenizer.json"))
    pieces, rows, first = [], [], 0
    for (language, domain), texts in groups.items():
        tokens = tokenise(tokenizer, texts)
        size = sum(len(text.encode()) for text in texts)
        rows.append(Group(language, domain, first, len(tokens), len(texts), size))
        pieces.append(tokens)
        first += len(tokens)
    shutil.copyfile(corpus / VALIDATION, folder / VALIDATION)
    shards = Shards(tokenizer, tuple(rows), np.concatenate(pieces))
    write_shards(shards, folder)
    return shards


def tokenise(tokenizer: Tokenizer, texts: list[str]) -> np.ndarray:
    """All texts as one run of ids, each after <|endoftext|>; uint16."""
    ids = [np.array(e.ids, dtype="<u2") for e in tokenizer.encode_batch_fast(texts)]
    return np.concatenate(ids)


def write_shards(shards: Shards, folder: Path) -> None:
    """Keeps the shard in `folder`; about a fifth of the text's size."""
    rows = [asdict(group) for group in shards.groups]
    tokens = lzma.compress(shards.tokens.astype("<u2").tobytes(), preset=6)
    write_whole(folder / "tokens.bin.xz", tokens)
    write_whole(folder / "shards.json", json.dumps({"groups": rows}, indent=0))


def load_shards(folder: Path) -> Shards:
    """The shard kept in `folder`; refuses one whose length does not fit its index."""
    rows = json.loads((folder / "shards.json").read_text())["groups"]
    groups = tuple(Group(**row) for row in rows)
    with lzma.open(folder / "tokens.bin.xz", "rb") as file:
        tokens = np.frombuffer(file.read(), dtype="<u2")
    expected = sum(group.tokens for group in groups)
    if len(tokens) != expected:
        raise ValueError(
            f"{folder}: shards.json promises {expected} tokens, tokens.bin.xz has {len(tokens)}."
        )
    return Shards(load_tokenizer(folder / "tokenizer.json"), groups, tokens)
