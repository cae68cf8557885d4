"""Steps by the name of their schedule."""

from lib.schedules import every, linear, log


def test_every_step_of_so_many():
    assert every(500, first=0, last=1400) == (0, 500, 1000)


def test_evenly_spaced_steps_hold_both_ends():
    assert linear(5, first=0, last=143000, multiple=1000) == (0, 36000, 72000, 107000, 143000)


def test_log_spaced_steps_grow_by_the_same_ratio_and_are_there_once():
    assert log(4, first=1, last=8) == (1, 2, 4, 8)
    assert log(6, first=1, last=4) == (1, 2, 3, 4)


def test_a_step_is_not_rounded_to_none():
    assert log(3, first=100, last=10_000, multiple=1000) == (1000, 10_000)
