"""Intervals cover what they promise, and verdicts follow from them."""

import math

import numpy as np
import pytest
import torch
from scipy import stats

from lib.judging.references import Band
from lib.judging.statistics import (
    Estimate,
    correlation,
    exact,
    mean_over_prompts,
    prompts_needed,
    ratio_of_means,
    share,
)


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


def related(rho, *, n, seed=0, points=1):
    """Two normal samples [point batch] whose true correlation is rho."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(points, n))
    return torch.tensor(x), torch.tensor(rho * x + math.sqrt(1 - rho**2) * rng.normal(size=(points, n)))


def test_a_correlation_is_pearsons_and_its_interval_is_about_fishers():
    x, y = related(0.8, n=300)
    estimate, reference = correlation(x, y), stats.pearsonr(x[0], y[0])
    fisher = reference.confidence_interval(0.95)
    assert estimate.value == pytest.approx(reference.statistic)
    assert (estimate.low, estimate.high) == pytest.approx((fisher.low, fisher.high), abs=0.02)
    assert estimate.n == 300


def test_a_correlations_interval_covers_the_truth_about_19_times_in_20():
    covered = 0
    for seed in range(100):
        estimate = correlation(*related(0.8, n=100, seed=seed))
        covered += estimate.low <= 0.8 <= estimate.high
    assert 88 <= covered <= 99  # Binomial(100, .95) lies in 89..99 with probability .99


def test_the_points_of_a_prompt_are_resampled_together():
    x, y = related(0.5, n=60)
    twice = correlation(torch.cat([x, x]), torch.cat([y, y]))  # a second point that adds nothing
    once = correlation(x, y)
    assert (twice.value, twice.low, twice.high) == pytest.approx((once.value, once.low, once.high))
    apart = correlation(torch.cat([x, x], 1), torch.cat([y, y], 1))  # as prompts of their own: too narrow
    assert apart.high - apart.low < 0.8 * (once.high - once.low)


def test_points_of_all_prompts_make_one_correlation_and_rows_are_averaged():
    x, y = related(0.6, n=80, points=2)
    pooled = stats.pearsonr(x.flatten(), y.flatten()).statistic
    assert correlation(x, y).value == pytest.approx(pooled)
    assert correlation(torch.stack([x, x]), torch.stack([y, -y])).value == pytest.approx(0.0)
    assert correlation(torch.stack([x, x]), torch.stack([y, y])).value == pytest.approx(pooled)


def test_what_does_not_vary_follows_nothing():
    x, _ = related(0.6, n=30)
    silent, constant = torch.zeros_like(x), torch.full_like(x, 0.1)
    assert correlation(x, silent).value == correlation(silent, x).value == 0
    assert correlation(x, constant).value == pytest.approx(0, abs=1e-9)  # but for rounding


@pytest.mark.parametrize(
    ("call", "says"),
    [
        (lambda: correlation(torch.ones(5), torch.ones(5)), r"\(5,\) against \(5,\)"),
        (lambda: correlation(torch.ones(1, 5), torch.ones(1, 4)), r"two equal \[... point batch\]"),
        (lambda: correlation(torch.ones(1, 1), torch.ones(1, 1)), "two equal"),
        (lambda: correlation(torch.full((1, 2), math.nan), torch.ones(1, 2)), "2 of 2 values are not finite"),
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
