"""Which pieces does the demo model read? A byte-level BPE that no text can defeat."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, processors, trainers
from transformers import PreTrainedTokenizerFast

END_OF_TEXT = "<|endoftext|>"

# Words with one leading space, single digits, runs of punctuation, runs of white space.
# \p{M} counts as part of a word: without it Hindi and Arabic words break at every vowel sign.
WORDS = Regex(
    r"'(?:[sdmt]|ll|ve|re)(?![\p{L}\p{M}])"
    r"|[^\r\n\p{L}\p{M}\p{N}]?[\p{L}\p{M}]+"
    r"|\p{N}"
    r"| ?[^\s\p{L}\p{M}\p{N}]+[\r\n]*"
    r"|\s*[\r\n]+"
    r"|\s+(?!\S)"
    r"|\s+"
)


def train_tokenizer(texts: Iterable[str], vocab_size: int) -> Tokenizer:
    """A byte-level BPE with `vocab_size` entries, `<|endoftext|>` first (id 0).

    All 256 bytes are in the alphabet, so every text has a tokenisation and decodes to itself.
    Offsets are exact character spans: no prefix space, no trimming.
    """
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(WORDS, behavior="isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size,
        special_tokens=[END_OF_TEXT],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    tokenizer.post_processor = _start_every_text(tokenizer.token_to_id(END_OF_TEXT))
    return tokenizer


def _start_every_text(end_of_text: int) -> processors.PostProcessor:
    """Puts `<|endoftext|>` before a text: training windows start with it, so must prompts."""
    return processors.Sequence(
        [
            processors.ByteLevel(add_prefix_space=False, trim_offsets=False),
            processors.TemplateProcessing(
                single=f"{END_OF_TEXT} $A",
                pair=f"{END_OF_TEXT} $A {END_OF_TEXT} $B",
                special_tokens=[(END_OF_TEXT, end_of_text)],
            ),
        ]
    )


def load_tokenizer(path: Path) -> Tokenizer:
    """The tokenizer kept in `path` (a tokenizer.json)."""
    return Tokenizer.from_file(str(path))


def as_transformers(tokenizer: Tokenizer, longest: int) -> PreTrainedTokenizerFast:
    """The same tokenizer in the class that `AutoTokenizer.from_pretrained` gives back.

    `longest` is the number of tokens of the longest text the model was trained for.
    """
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        bos_token=END_OF_TEXT,
        eos_token=END_OF_TEXT,
        pad_token=END_OF_TEXT,
        model_max_length=longest,
        clean_up_tokenization_spaces=False,
    )
