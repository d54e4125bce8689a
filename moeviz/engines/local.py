"""A corpus through a model on this machine: many passages a forward pass, counts kept.

Passages of like length share a forward pass, padded on the right. Padding is routed like text by
nearly every architecture, so it is never counted: the map from rows to tokens leaves it out. A
token never sees it: it stands behind the text in a model that was found causal, and elsewhere the
attention mask hides it. In float32 the counts are those of each passage run alone, but for exact
ties; in a lower precision padding can move a few choices, as any change of shape does: `alone=True`
then gives the passage-by-passage run. A model that drops tokens over a capacity of its own always
runs them alone, because neighbours in a batch would fill its experts, and so does one that was
found to route a text otherwise in a batch.
"""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from weakref import WeakKeyDictionary

import numpy as np
import torch
from torch.nn import functional

from moeviz.corpora.corpus import Corpus, CorpusError
from moeviz.corpora.parts import LabelWords
from moeviz.corpora.routing import CorpusRouting
from moeviz.engines.blocks import KINDS, MAX_TOKENS, Progress, Settings, clipped_note
from moeviz.engines.tally import Rows, Tally
from moeviz.models.choices import CaptureError
from moeviz.models.digest import weights_digest
from moeviz.models.generate import generate
from moeviz.models.inputs import cut, encode, pieces
from moeviz.models.load import LoadedModel
from moeviz.models.memory import running
from moeviz.models.proofs import ALONE, UNMASKED, batching
from moeviz.models.rows import batch_inputs
from moeviz.models.run import default_stack, in_order
from moeviz.models.tape import Tape
from moeviz.trace import EMPTY

BATCH_TOKENS = {"cpu": 2048, "cuda": 16384}
"""Padded tokens in one forward pass; larger ones are no faster."""

LOGIT_BYTES = 2**28
"""Most bytes of next-token logits in one forward pass, where predictions are counted."""

BLOCK = 1024
"""Passages cut into tokens at a time, and sorted by length among themselves."""


class CorpusCancelled(CorpusError):
    """The user stopped the run."""


def route_corpus(
    model: LoadedModel,
    corpus: Corpus,
    max_tokens: int = MAX_TOKENS,
    vocabulary: Sequence[str] = ("input", "next"),
    special: bool = False,
    alone: bool = False,
    stack: str = "",
    progress: Progress | None = None,
) -> CorpusRouting:
    """What `model` does with every passage of `corpus`, as counts ("prefill").

    max_tokens: a passage is read up to there. vocabulary: which tokens experts are counted
    against: the "input" token, the true "next" one, the "predicted" one (slower, as it needs the
    next-token logits). special: count tokens that the tokenizer adds too; otherwise they are routed
    but not counted. alone: one passage a forward pass. stack: as for `trace_text`.
    progress: told how far the run has come; it may raise CorpusCancelled.

    Memory: counts are [P, L, E]; the rest does not grow with the corpus. The model is free for
    others between forward passes. Raises CorpusError, or CaptureError as `trace_text` does.
    """
    run = _Run(model, corpus, max_tokens, _kinds(model, vocabulary, stack), special, stack)
    clipped = 0
    for batch in run.read(alone, progress):
        clipped += sum(text.clipped for text in batch)
    return run.result("prefill", clipped)


def route_written(
    model: LoadedModel,
    corpus: Corpus,
    new_tokens: int = 32,
    max_tokens: int = 128,
    special: bool = False,
    progress: Progress | None = None,
) -> CorpusRouting:
    """The same for the tokens that `model` itself writes after each passage ("decode").

    Each passage, up to `max_tokens`, is continued by `new_tokens` of the likeliest tokens (fewer
    where the model ends the text), one at a time as in generation; only those are counted.
    """
    run = _Run(model, corpus, max_tokens, ("input", "next"), special, "decoder")
    return run.result("decode", run.write(new_tokens, progress))


def count_block(
    model: LoadedModel,
    corpus: Corpus,
    settings: Settings,
    weights: str,
    progress: Progress | None = None,
) -> tuple[CorpusRouting, dict[str, LabelWords], int]:
    """What `route_corpus` or `route_written` counts of one block, its words by label, and how many
    of its passages were clipped; notes on the corpus are left to who puts blocks together.

    weights: the model's digest.
    """
    run = _Run(model, dataclasses.replace(corpus, sources=(), notes=()), settings.max_tokens,
               _kinds(model, settings.vocabulary, ""), settings.special, "")  # fmt: skip
    words = _Words(corpus, settings.labels, run.size)
    if settings.new_tokens:
        clipped = run.write(settings.new_tokens, progress)
        return run.result("decode", 0, weights), {}, clipped
    clipped = 0
    for batch in run.read(False, progress):
        words.add(batch)
        clipped += sum(text.clipped for text in batch)
    return run.result("prefill", 0, weights), words.total(), clipped


def label_words(
    model: LoadedModel,
    corpus: Corpus,
    labels: Sequence[str],
    max_tokens: int = MAX_TOKENS,
    special: bool = False,
) -> dict[str, np.ndarray]:
    """By label, [G, V] counts of the tokens that `route_corpus` counts, for its G values in order.

    For `words_explain`; the model is not run. Passages without the label are left out.
    """
    run = _Run(model, corpus, max_tokens, (), special, "")
    codes, found = {}, {}
    for label in labels:
        names, codes[label] = np.unique(corpus.column(label), return_inverse=True)
        found[label] = np.zeros((len(names), run.size), np.int64)
    for start in range(0, len(corpus), BLOCK):
        for text in run.texts(start, start + BLOCK):
            for label, counts in found.items():
                np.add.at(counts[codes[label][text.passage]], text.ids[text.counted], 1)
    return {
        label: counts[1:] if (corpus.column(label) == "").any() else counts
        for label, counts in found.items()
    }


def corpus_batches(
    model: LoadedModel, corpus: Corpus, max_tokens: int = MAX_TOKENS
) -> list[list[np.ndarray]]:
    """The token ids of the passages as `route_corpus` batches them, to measure against."""
    run = _Run(model, corpus, max_tokens, (), False, "")
    return [[text.ids for text in batch] for batch in run.batches(_batching(model) == ALONE)]


@dataclass(frozen=True, eq=False)
class _Text:
    """One passage as the model reads it: ids [S], which of them count [S]."""

    passage: int
    ids: np.ndarray
    counted: np.ndarray
    clipped: bool


class _Run:
    def __init__(
        self,
        model: LoadedModel,
        corpus: Corpus,
        max_tokens: int,
        vocabulary: Sequence[str],
        special: bool,
        stack: str,
    ):
        if model.tokenizer is None:
            raise CorpusError(f"{model.name} was adopted without a tokenizer, so it reads no text.")
        if max_tokens < 1:
            raise CorpusError(f"max_tokens must be at least 1, not {max_tokens}.")
        self.model, self.corpus, self.special = model, corpus, special
        self.stack = stack or default_stack(model)
        self.max_tokens = min(max_tokens, model.max_tokens or max_tokens)
        self.sites = [site for site in model.sites if site.stack == self.stack]
        self.size = _vocabulary_size(model)
        traits = [model.traits[site.name] for site in self.sites]
        self.experts = np.array([trait.experts for trait in traits])
        self.chosen = np.array([trait.chosen for trait in traits])
        self.tally = Tally(
            len(corpus),
            len(self.sites),
            int(self.experts.max()),
            dict.fromkeys(vocabulary, self.size),
        )
        self.seen: set[int] = set()
        self.tape = Tape(model.network, model.sites)
        self.options = self._keep()

    def read(self, alone: bool, progress: Progress | None) -> Iterator[list[_Text]]:
        """Each batch, once it is counted."""
        done = 0
        for batch in self.batches(alone or _batching(self.model) == ALONE):
            self.tally.add(self.rows(batch))
            done += len(batch)
            yield batch
            if progress is not None:
                progress(done, len(self.corpus))

    def write(self, new_tokens: int, progress: Progress | None) -> int:
        """Counts what the model writes after each passage; how many of those were clipped."""
        clipped = 0
        for number, text in enumerate(self.corpus.texts):
            tokens = encode(self.model.tokenizer, text)
            clipped += len(tokens) > self.max_tokens
            prompt = cut(tokens, self.max_tokens).source
            *_, last = generate(self.model, prompt, new_tokens, logits=False)
            self.tally.add(self.written(number, last.trace))
            if progress is not None:
                progress(number + 1, len(self.corpus))
        return clipped

    def batches(self, alone: bool) -> Iterator[list[_Text]]:
        """The passages, like lengths together, each batch within the budget of tokens."""
        budget = 0 if alone else self._budget()
        for start in range(0, len(self.corpus), BLOCK):
            texts = sorted(self.texts(start, start + BLOCK), key=lambda text: len(text.ids))
            batch: list[_Text] = []
            for text in texts:
                if batch and (len(batch) + 1) * len(text.ids) > budget:
                    yield batch
                    batch = []
                batch.append(text)
            yield batch

    def rows(self, texts: list[_Text]) -> Rows:
        """One forward pass over `texts`, and what was chosen for the tokens that count."""
        batch = batch_inputs(self.model.network, [text.ids for text in texts])
        if len(texts) > 1 and _batching(self.model) == UNMASKED:
            del batch.inputs["attention_mask"]
        with running(self.model, sum(len(text.ids) for text in texts)):
            output, step = self.tape.run(batch.inputs | self.options)
        shift = len(batch.rows[self.stack][0]) - len(texts[0].ids)  # the decoder's start token
        places = [
            rows.numpy()[shift:][text.counted]
            for rows, text in zip(batch.rows[self.stack], texts, strict=True)
        ]
        position = np.concatenate([np.flatnonzero(text.counted) for text in texts])
        where = np.concatenate(places)
        ids, gates = self._choices(step, where)
        return Rows(
            passage=np.repeat([text.passage for text in texts], [len(place) for place in places]),
            position=position,
            ids=ids,
            gates=gates,
            tokens=self._tokens(texts, output, where),
        )

    def written(self, passage: int, trace) -> Rows:
        """The generated tokens of a trace."""
        kept = trace.tokens.generated & (self.special | ~trace.tokens.special)
        following = np.append(trace.tokens.ids[1:], -1)
        self.seen.update(trace.tokens.ids[kept].tolist(), following[kept].tolist())
        return Rows(
            passage=np.full(int(kept.sum()), passage),
            position=np.flatnonzero(kept),
            ids=trace.experts[:, kept].astype(np.int64),
            gates=trace.gates[:, kept],
            tokens={"input": trace.tokens.ids[kept], "next": following[kept]},
        )

    def result(self, phase: str, clipped: int, weights: str = "") -> CorpusRouting:
        model, corpus = self.model, self.corpus
        return CorpusRouting(
            model=model.name,
            revision=model.revision,
            weights=weights or weights_digest(model.network),
            corpus=corpus.name,
            phase=phase,
            layers=tuple(site.layer for site in self.sites),
            experts=self.experts,
            chosen=self.chosen,
            labels=corpus.labels,
            documents=corpus.documents,
            families=corpus.families,
            parallel=corpus.parallel,
            pieces=pieces(model.tokenizer, np.array(sorted(self.seen - {-1}))),
            sources=corpus.sources,
            notes=(
                *model.warnings,
                *corpus.notes,
                *clipped_note(clipped, len(corpus), self.max_tokens),
            ),
            **self.tally.totals(),
        )

    def texts(self, start: int, end: int) -> Iterator[_Text]:
        """The passages of these rows, cut into tokens."""
        coded = self._coded(list(self.corpus.texts[start:end]))
        pairs = zip(coded["input_ids"], coded["special_tokens_mask"], strict=True)
        for passage, (ids, special) in enumerate(pairs, start):
            if not ids:
                raise CorpusError(
                    f"{self.model.name} makes no tokens of text {passage + 1} of "
                    f"{self.corpus.name}. Leave it out."
                )
            kept = np.array(ids[: self.max_tokens], np.int64)
            counted = np.ones(len(kept), bool)
            if not self.special:
                counted = np.array(special[: len(kept)]) == 0
            self.seen.update(ids[: self.max_tokens])
            yield _Text(passage, kept, counted, len(ids) > len(kept))

    def _coded(self, texts: list[str]) -> dict:
        for text in texts:
            try:
                text.encode("utf-8")
            except UnicodeEncodeError:
                raise CorpusError(
                    f"A text of {self.corpus.name} holds broken characters (lone surrogates): "
                    f"{text[:20].encode('utf-8', 'replace').decode()!r}. Leave it out."
                ) from None
        return self.model.tokenizer(
            texts, return_special_tokens_mask=True, return_attention_mask=False, verbose=False
        )

    def _budget(self) -> int:
        device = self.model.device.partition(":")[0]
        budget = BATCH_TOKENS.get(device, BATCH_TOKENS["cpu"])
        if "predicted" in self.tally.kinds:
            budget = min(budget, max(1, LOGIT_BYTES // (4 * self.size)))
        return budget

    def _keep(self) -> dict:
        """Leaves next-token logits out where nobody looks at them."""
        takes = inspect.signature(self.model.network.forward).parameters
        unused = "predicted" not in self.tally.kinds and "logits_to_keep" in takes
        return {"logits_to_keep": 1} if unused else {}

    def _choices(self, step, where: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """ids and gates [L, R, K] of the rows `where`, layers with fewer slots filled up.

        All layers are put in order and fetched from the device at once.
        """
        heard = {site.name: choice for site, choice in zip(self.model.sites, step, strict=True)}
        most, ids, gates = int(self.chosen.max()), [], []
        for site in self.sites:
            choice = heard[site.name]
            if choice is None:
                raise CaptureError(f"{site.name} did not run, so its routing is not known.")
            spare = (0, most - choice.ids.shape[-1])
            weights = choice.gates.float() * self.model.traits[site.name].after
            ids.append(functional.pad(choice.ids, spare, value=EMPTY))
            gates.append(functional.pad(weights, spare))
        device = ids[0].device  # a model may be spread over several
        found = in_order(*(torch.stack([x.to(device) for x in part]) for part in (ids, gates)))
        return tuple(part.cpu().numpy().take(where, axis=1) for part in found)

    def _tokens(self, texts: list[_Text], output, where: np.ndarray) -> dict[str, np.ndarray]:
        kinds = self.tally.kinds
        found = {"input": np.concatenate([text.ids[text.counted] for text in texts])}
        if "next" in kinds:
            following = [np.append(text.ids[1:], -1)[text.counted] for text in texts]
            found["next"] = np.concatenate(following)
        if "predicted" in kinds:
            found["predicted"] = _likeliest(output.logits)[where]
            self.seen.update(np.unique(found["predicted"]).tolist())
        return found


class _Words:
    """The tokens of a block by the values of its labels; passages without a label left out."""

    def __init__(self, corpus: Corpus, labels: Sequence[str], vocabulary: int):
        self._vocabulary = vocabulary
        self._codes = {label: np.unique(corpus.column(label), return_inverse=True)
                       for label in labels}  # fmt: skip
        self._keys: dict[str, list[np.ndarray]] = {label: [] for label in labels}

    def add(self, texts: list[_Text]) -> None:
        for label, (names, codes) in self._codes.items():
            self._keys[label] += [
                codes[text.passage] * self._vocabulary + text.ids[text.counted]
                for text in texts
                if names[codes[text.passage]]
            ]

    def total(self) -> dict[str, LabelWords]:
        found = {}
        for label, (names, _) in self._codes.items():
            none = np.zeros(0, np.int64)
            keys, counts = np.unique(np.concatenate([none, *self._keys[label]]), return_counts=True)
            found[label] = LabelWords(tuple(names.tolist()), keys, counts)
        return found


def _kinds(model: LoadedModel, vocabulary: Sequence[str], stack: str) -> tuple[str, ...]:
    unknown = [kind for kind in vocabulary if kind not in KINDS]
    if unknown:
        raise CorpusError(f"{unknown[0]!r} is not one of {', '.join(KINDS)}.")
    writes = model.network.can_generate() and (stack or default_stack(model)) == "decoder"
    return tuple(kind for kind in KINDS if kind in vocabulary and (writes or kind != "predicted"))


def _likeliest(logits: torch.Tensor) -> np.ndarray:
    """The token with the highest logit of every row; on a CPU numpy finds it thrice as fast."""
    rows = logits.reshape(-1, logits.shape[-1])
    if rows.device.type == "cpu" and rows.dtype == torch.float32:
        return rows.numpy().argmax(-1)
    return rows.argmax(-1).cpu().numpy()


_BATCHING: WeakKeyDictionary[LoadedModel, str] = WeakKeyDictionary()


def _batching(model: LoadedModel) -> str:
    """`batching`, tried once for each model; alone where it has a capacity of its own, which a
    batch would share.
    """
    if model not in _BATCHING:
        drops = any(router.capacity for router in model.routers.values())
        _BATCHING[model] = ALONE if drops else batching(model)
    return _BATCHING[model]


def _vocabulary_size(model: LoadedModel) -> int:
    return max(model.network.get_input_embeddings().num_embeddings, len(model.tokenizer))
