"""Coefficients and error of the fit of two signals, against the published table of six cells."""

import pytest
import torch

from ioi_fixtures.circuits.signals import fit_error, signal_coefficient
from tests.support.rounding import EQUAL, agree

# Wang et al. 2022, App. A, Fig. 9: token signal, position signal -> logit difference.
PUBLISHED = {
    ("original", "original"): 3.55,
    ("original", "inverted"): -0.99,
    ("random", "original"): 2.45,
    ("random", "inverted"): -1.96,
    ("inverted", "original"): 1.77,
    ("inverted", "inverted"): -3.16,
}


def spread(table):
    """Two prompts, one above and one below each cell's mean."""
    return {cell: torch.tensor([mean - 1.0, mean + 1.0], dtype=torch.float64) for cell, mean in table.items()}


def test_the_published_table_has_the_published_coefficients():
    position, token = (signal_coefficient(spread(PUBLISHED), signal).mean() for signal in ("position", "token"))
    assert (position, token) == pytest.approx((2.31, 0.99), abs=0.005)


def test_the_published_table_has_the_published_error():
    error = fit_error(spread(PUBLISHED)).mean() / PUBLISHED["original", "original"]
    assert error.item() == pytest.approx(0.07, abs=0.01)


def test_signals_that_add_up_leave_no_error_and_one_that_works_alone_does():
    values = {"original": 1, "random": 0, "inverted": -1}
    linear = {cell: 0.5 * values[cell[0]] + 2.0 * values[cell[1]] for cell in PUBLISHED}
    assert agree(fit_error(spread(linear)).mean(), 0.0, EQUAL)
    only_together = {cell: float(cell == ("original", "original")) for cell in PUBLISHED}
    assert fit_error(spread(only_together)).mean() > 0.1


def test_errors_of_opposite_sign_do_not_cancel():
    values = {"original": 1, "random": 0, "inverted": -1}
    errors = spread({cell: 0.3 * values[cell[0]] * values[cell[1]] for cell in PUBLISHED})  # no signal by itself
    assert agree(sum(error.mean() for error in errors.values()), 0.0, EQUAL)
    assert fit_error(errors).mean().item() == pytest.approx(0.3 * 4 / 6)


def test_another_signal_is_refused():
    with pytest.raises(ValueError, match="'token' or 'position'"):
        signal_coefficient(spread(PUBLISHED), "order")
