"""The tokenizer's spelling of token ids, as columns that a file holds and opens at once."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np


class Vocabulary(Mapping):
    """Spelling by token id, decoded when asked for; reads as a dict[int, str].

    ids [V] int32 ascend. ends [V] int32: where in `letters` [bytes] uint8, all spellings in UTF-8
    one after the other, each ends.
    """

    def __init__(self, ids: np.ndarray, ends: np.ndarray, letters: np.ndarray):
        self.ids, self.ends, self.letters = ids, ends, letters

    @classmethod
    def of(cls, pieces: Mapping[int, str]) -> Vocabulary:
        """The same as columns."""
        if isinstance(pieces, cls):
            return pieces
        ids = sorted(pieces)
        spelled = [pieces[i].encode() for i in ids]
        return cls(
            np.array(ids, np.int32),
            np.cumsum([len(piece) for piece in spelled], dtype=np.int32),
            np.frombuffer(b"".join(spelled), np.uint8),
        )

    def columns(self) -> dict[str, np.ndarray]:
        """The three arrays by name."""
        return {"ids": self.ids, "ends": self.ends, "letters": self.letters}

    def fits(self) -> bool:
        """Whether ids ascend and every spelling is whole and valid UTF-8."""
        ids, ends, letters = self.ids, self.ends, self.letters
        starts = np.concatenate([[0], ends])
        if ids.ndim != 1 or ids.shape != ends.shape or (np.diff(ids) <= 0).any():
            return False
        if (np.diff(starts) < 0).any() or starts[-1] != len(letters):
            return False
        inside = letters[starts[starts < len(letters)]] & 0xC0 == 0x80  # within a character
        try:
            letters.tobytes().decode()
        except UnicodeDecodeError:
            return False
        return not inside.any()

    def __getitem__(self, token_id: int) -> str:
        at = int(np.searchsorted(self.ids, token_id))
        if at == len(self.ids) or self.ids[at] != token_id:
            raise KeyError(token_id)
        start = int(self.ends[at - 1]) if at else 0
        return self.letters[start : int(self.ends[at])].tobytes().decode()

    def __iter__(self) -> Iterator[int]:
        return iter(self.ids.tolist())

    def __len__(self) -> int:
        return len(self.ids)
