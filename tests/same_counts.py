"""When two corpus runs counted the same."""

import numpy as np

COUNTS = ("tokens", "counts", "first", "same_first", "shared", "neighbours",
          "together", "ranked", "positions")  # fmt: skip


def same_counts(one, other) -> bool:
    """Whether two runs counted exactly the same, sums of gates aside."""
    equal = [np.array_equal(getattr(one, name), getattr(other, name)) for name in COUNTS]
    for kind, words in one.vocabulary.items():
        theirs = other.vocabulary[kind]
        equal += [np.array_equal(words.keys, theirs.keys),
                  np.array_equal(words.counts, theirs.counts),
                  np.array_equal(words.tokens, theirs.tokens)]  # fmt: skip
    return all(equal)
