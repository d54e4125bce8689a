"""What is worked out once for as long as the thing it is about is in use."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import TypeVar
from weakref import WeakKeyDictionary

Owner, Found = TypeVar("Owner"), TypeVar("Found")


def once(make: Callable[[Owner], Found]) -> Callable[[Owner], Found]:
    """`make`, called once per object and forgotten with it.

    For objects that nobody changes, such as traces; the result must not hold the object itself.
    """
    found: WeakKeyDictionary = WeakKeyDictionary()

    @wraps(make)
    def wrapped(owner):
        if owner not in found:
            found[owner] = make(owner)
        return found[owner]

    return wrapped
