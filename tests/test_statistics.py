"""Intervals cover what they promise, and verdicts follow from them."""

import math

import numpy as np
import pytest
import torch
from scipy import stats

from lib.references import Band
from lib.statistics import Estimate, exact, mean_over_prompts, prompts_needed, ratio_of_means, share


def test_a_mean_and_its_interval_agree_with_the_normal_one_on_normal_data():
    values = torch.tensor(np.random.default_rng(0).normal(3.0, 1.5, size=400))
    estimate = mean_over_prompts(values)
    arm = 1.96 * values.std().item() / math.sqrt(400)
    assert estimate.value == pytest.approx(values.mean().item())
    assert (estimate.low, estimate.high) == pytest.approx((estimate.value - arm, estimate.value + arm), abs=0.02)


def test_the_bootstrap_interval_covers_the_truth_about_19_times_in_20():
    rng = np.random.default_rng(1)
    covered = 0
    for _ in range(200):
        estimate = mean_over_prompts(torch.tensor(rng.normal(1.0, 2.0, size=60)))
        covered += estimate.low <= 1.0 <= estimate.high
    # Binomial(200, .95) lies in 180..199 with probability .998; the percentile bootstrap covers slightly less.
    assert 176 <= covered <= 199


def test_a_share_has_the_clopper_pearson_interval():
    estimate = share(torch.tensor([True] * 99 + [False]))
    low = stats.beta.ppf(0.025, 99, 2)
    high = stats.beta.ppf(0.975, 100, 1)
    assert (estimate.value, estimate.low, estimate.high) == pytest.approx((0.99, low, high))


def test_a_perfect_share_still_has_an_interval():
    assert share(torch.ones(100, dtype=torch.bool)).low == pytest.approx(0.025 ** (1 / 100))


def test_a_ratio_is_of_means_and_resamples_prompts_together():
    below = torch.tensor(np.random.default_rng(2).uniform(0.5, 6.0, size=100))
    estimate = ratio_of_means(0.9 * below, below)
    assert estimate.value == pytest.approx(0.9)
    assert estimate.high - estimate.low < 1e-9  # apart, the two would vary by several percent


def test_a_ratio_of_means_is_not_led_by_one_small_denominator():
    estimate = ratio_of_means(torch.tensor([1.0, 1.0, 1.0]), torch.tensor([1.0, 1.0, 1e-6]))
    assert estimate.value == pytest.approx(1.5, rel=1e-5)


@pytest.mark.parametrize(
    ("call", "says"),
    [
        (lambda: mean_over_prompts(torch.ones(2, 3)), r"\(2, 3\).*one value a prompt"),
        (lambda: mean_over_prompts(torch.tensor([])), "at least one"),
        (lambda: mean_over_prompts(torch.tensor([1.0, math.nan])), "1 of 2 values are not finite"),
        (lambda: share(torch.tensor([0.5])), "counts hits"),
        (lambda: ratio_of_means(torch.ones(3), torch.ones(2)), "3 numerators and 2 denominators"),
    ],
)
def test_what_is_no_sample_is_refused(call, says):
    with pytest.raises(ValueError, match=says):
        call()


@pytest.mark.parametrize(
    ("low", "high", "verdict"),
    [
        (2.6, 3.4, "pass"),
        (1.0, 2.4, "fail"),
        (4.6, 5.0, "fail"),
        (2.4, 3.0, "inconclusive"),
        (2.0, 5.0, "inconclusive"),
    ],
)
def test_the_whole_interval_decides(low, high, verdict):
    assert Band(above=2.5, below=4.5).judge(Estimate((low + high) / 2, low, high, 100, "test")) == verdict


def test_an_inconclusive_verdict_says_how_many_more_prompts():
    estimate = Estimate(3.0, 2.5, 3.5, 100, "test")
    # The arm of .5 has to shrink to the distance of .25: (.5 / .25)^2 = 4 times the prompts.
    assert prompts_needed(estimate, 2.75) == 400
    assert "300 more prompts" in Band(above=2.75).advice(estimate)


def test_more_prompts_do_settle_what_they_are_said_to_settle():
    values = torch.tensor(np.random.default_rng(3).normal(3.0, 2.0, size=4000))
    few = mean_over_prompts(values[:50])
    band = Band(above=few.value - 0.4)
    assert band.judge(few) == "inconclusive"
    needed = int(prompts_needed(few, band.above) * 1.2)
    assert band.judge(mean_over_prompts(values[:needed] - values[:needed].mean() + few.value)) == "pass"


def test_a_value_on_the_edge_is_not_promised_a_verdict():
    assert "no reasonable number" in Band(above=3.0).advice(Estimate(3.0, 2.5, 3.5, 100, "test"))


def test_an_exact_figure_is_never_inconclusive():
    assert Band(above=3.0).judge(exact(3.0)) == "pass"
    assert Band(above=3.0).judge(exact(2.999)) == "fail"
