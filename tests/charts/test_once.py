"""Worked out once per object, and forgotten with it."""

import gc

from moeviz.charts.once import once


class Thing:
    pass


def test_each_thing_is_asked_once_and_let_go():
    asked = []

    @once
    def name(thing):
        """The name of a thing."""
        asked.append(id(thing))
        return f"thing {len(asked)}"

    first, second = Thing(), Thing()
    assert [name(first), name(second), name(first)] == ["thing 1", "thing 2", "thing 1"]
    assert asked == [id(first), id(second)]
    assert name.__doc__ == "The name of a thing."
    del first
    gc.collect()
    third = Thing()  # may take the place of the first in memory
    assert name(third) == "thing 3"
