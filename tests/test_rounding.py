"""The bound that tolerances are taken from holds for sums in any order, and is not so wide that anything passes."""

import math

import pytest
import torch

from tests.support.rounding import DEVIATION, EQUAL, agree, reported_in, rounding


def sums(numbers):
    """The same numbers added up one after the other, backwards, in pairs, and in blocks of 16."""
    forwards = numbers.cumsum(0)[-1]
    backwards = numbers.flip(0).cumsum(0)[-1]
    pairs = numbers
    while len(pairs) > 1:
        pairs = pairs[0::2] + pairs[1::2]
    blocks = numbers.view(16, -1).cumsum(0)[-1].cumsum(0)[-1]
    return torch.stack([forwards, backwards, pairs[0], blocks])


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("terms", [256, 4096])
def test_sums_in_any_order_agree_and_one_that_lacks_a_term_does_not(terms, dtype):
    generator = torch.Generator().manual_seed(0)
    for _ in range(50):
        numbers = torch.randn(terms, generator=generator, dtype=torch.float64).to(dtype)
        allowed = rounding(dtype, terms=terms, size=float(numbers.abs().sum()))
        exact = math.fsum(numbers.tolist())
        assert all(agree(one, exact, allowed) for one in sums(numbers))
        assert not agree(sums(numbers), exact - float(numbers.abs().max()), allowed)


def test_float64_is_told_from_float32():
    assert not agree(torch.tensor(1 / 3), 1 / 3, EQUAL)
    assert agree(torch.tensor(1 / 3, dtype=torch.float64), 1 / 3, EQUAL)


def test_what_is_not_a_number_agrees_with_nothing():
    assert not agree(torch.tensor([1.0, math.nan]), torch.tensor([1.0, math.nan]), 1.0)


def test_a_test_s_report_says_how_far_apart_and_of_how_much():
    properties = []
    with reported_in(properties):
        found = agree(torch.tensor([1.0, 2.5]), torch.tensor([1.0, 2.0]), 0.25)
    assert properties == [(DEVIATION, [0.5, 0.25])]
    assert repr(found) == "0.5 apart, where 0.25 is allowed"
    agree(1.0, 1.0, EQUAL)
    assert len(properties) == 1
