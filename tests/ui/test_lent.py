"""Long texts kept for a link: found by their whole key only, for a day, and not without bound."""

import hashlib

from moeviz.ui import lent as module
from moeviz.ui.lent import DAY, Lent

TEXT = "a text too long for an address " * 80


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def test_the_key_is_128_bits_of_the_texts_hash_and_nothing_less_opens_it():
    kept = Lent()
    key = kept.keep(TEXT)
    assert key == hashlib.sha256(TEXT.encode()).hexdigest()[:32]
    assert kept.get(key) == TEXT
    assert [kept.get(k) for k in (key[:-1], key[:24], "", "0" * 32)] == [None] * 4


def test_a_day_later_the_text_is_gone():
    clock = Clock()
    kept = Lent(clock)
    key = kept.keep(TEXT)
    clock.now = DAY - 1
    assert kept.get(key) == TEXT
    clock.now = DAY + 1
    assert kept.get(key) is None


def test_asking_again_starts_a_new_day():
    clock = Clock()
    kept = Lent(clock)
    key = kept.keep(TEXT)
    clock.now = DAY - 1
    kept.keep(TEXT)
    clock.now = DAY + 1
    assert kept.get(key) == TEXT


def test_the_oldest_makes_room_by_number_and_by_size(monkeypatch):
    monkeypatch.setattr(module, "MOST_TEXTS", 3)
    kept = Lent()
    keys = [kept.keep(f"{n} {TEXT}") for n in range(4)]
    assert [kept.get(k) is not None for k in keys] == [False, True, True, True]
    monkeypatch.setattr(module, "MOST_CHARACTERS", 2 * len(TEXT) + 10)
    assert [kept.get(k) is not None for k in keys] == [False, False, True, True]
