"""Several visitors at once, while somebody lets the model write: each sees their own text alone.

A smaller version of `moeviz bench crowd`, which checks every answer before it is timed.
"""

from moeviz.bench.crowd import crowd


def test_everybody_gets_their_own_routing_and_nothing_of_others(app_url):
    assert len(crowd(app_url, people=6, actions=4)) == 24
