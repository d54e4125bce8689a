"""Things that take turns."""

import pytest

from moeviz.bench import timing


@pytest.mark.parametrize(("allowed", "rounds"), [(3600, 5), (0, timing.FEWEST_ROUNDS)])
def test_rounds_end_early_when_the_time_is_used_up(monkeypatch, allowed, rounds):
    monkeypatch.setattr(timing, "MOST_SECONDS", allowed)
    calls = []
    things = {name: lambda name=name: calls.append(name) for name in "ab"}
    took = timing.take_turns(things, 5)
    assert {name: len(seconds) for name, seconds in took.items()} == {"a": rounds, "b": rounds}
    assert "".join(calls) == ("ab" + "baab" * 3)[: 2 * (rounds + 1)], "order turns every round"
