"""Claims on a model's size, checked against arithmetic by hand."""

import pytest

from moeviz.rules.claims import FITS, IMPOSSIBLE, MISSING, STRANGE, Claim, ClaimError, check, split

USUAL = (0.02, 0.27)


def test_total_and_active_imply_what_every_token_uses():
    """total = a + r, active = a + r / 4: with 100 and 40, r = 80 and a = 20."""
    parts = split(Claim(100, 40, 8, 2))
    assert parts.routed == pytest.approx(80)
    assert parts.always == pytest.approx(20)


@pytest.mark.parametrize(
    "claim", [Claim(100, 40, 8), Claim(100, None, 8, 2), Claim(100, 100, 8, 8)]
)
def test_too_little_is_said_to_imply_anything(claim):
    assert split(claim) is None


def test_a_usual_claim_fits():
    (finding,) = check(Claim(46.7e9, 12.9e9, 8, 2), USUAL)
    assert finding.verdict == FITS
    assert finding.sentence == (
        "The numbers imply 45.1 B in experts and 1.63 B (3.5%) that every token uses: attention, "
        "embeddings, shared experts. That is usual, so the numbers fit together."
    )


def test_fewer_active_than_the_experts_alone_is_impossible():
    (finding,) = check(Claim(100e9, 5e9, 8, 2), USUAL)
    assert finding.verdict == IMPOSSIBLE
    assert finding.sentence == (
        "2 of 8 experts are 25.0% of the experts, so a token uses at least 25 B if all parameters "
        "sat in experts. 5 B is less."
    )


def test_rounding_is_not_called_impossible():
    assert [f.verdict for f in check(Claim(100e9, 24.9e9, 8, 2), USUAL)] == [STRANGE]


def test_much_in_the_part_that_all_tokens_use_is_strange():
    (finding,) = check(Claim(600e9, 300e9, 16, 2), USUAL)
    assert finding.verdict == STRANGE
    assert "257 B (42.9%)" in finding.sentence
    assert "In the models listed here that share is 2.0% to 27.0%." in finding.sentence


def test_swapped_numbers_are_noticed():
    found = check(Claim(8e9, 47e9, 2, 8), USUAL)
    assert [f.sentence for f in found] == [
        "A token cannot use 47 B of 8 B.",
        "A router cannot choose 8 of 2 experts.",
    ]


def test_choosing_every_expert_is_dense():
    (finding,) = check(Claim(10e9, 10e9, 8, 8), USUAL)
    assert finding.sentence == "Every expert is used for every token, so this is a dense model."


def test_what_is_not_said_becomes_a_question():
    found = check(Claim(total=1.8e12), USUAL)
    assert {f.verdict for f in found} == {MISSING}
    assert [f.sentence for f in found] == [
        "Not said: the active parameters.",
        "Not said: the number of experts.",
        "Not said: the experts a token uses.",
    ]
    assert all(f.ask.endswith(("?", ".")) for f in found)


def test_numbers_below_one_are_refused():
    with pytest.raises(ClaimError) as error:
        Claim(total=-3)
    assert str(error.value) == "total is -3; leave it empty or give a number above 0."
