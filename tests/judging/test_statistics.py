"""Intervals cover what they promise, and verdicts follow from them."""

import math

import numpy as np
import pytest
import torch
from scipy import stats

from lib.judging import statistics
from lib.judging.references import Band
from lib.judging.statistics import (
    FEWEST_FOR_A_CORRELATION,
    FEWEST_FOR_A_VERDICT,
    RESOLUTION,
    confidence,
    correlation,
    looks,
    mean_over_prompts,
    ratio_of_means,
    share,
    strongest,
)


def test_a_mean_and_its_interval_agree_with_the_normal_one_on_normal_data():
    values = torch.tensor(np.random.default_rng(0).normal(3.0, 1.5, size=400))
    estimate = mean_over_prompts(values)
    arm = 1.96 * values.std().item() / math.sqrt(400)
    assert estimate.value == pytest.approx(values.mean().item())
    assert (estimate.low, estimate.high) == pytest.approx((estimate.value - arm, estimate.value + arm), abs=0.02)


def mean_of_a_skewed_sample(rng, n):
    return mean_over_prompts(torch.tensor(rng.exponential(size=n))), 1.0


def ratio_of_two_that_depend_on_each_other(rng, n):
    x, y = torch.tensor(rng.normal(size=(2, n)))
    return ratio_of_means(x + 2, x + y + 3), 2 / 3


def correlation_near_one(rng, n):
    x, y = torch.tensor(rng.normal(size=(2, 1, n)))
    return correlation(x, 0.95 * x + math.sqrt(1 - 0.95**2) * y), 0.95


@pytest.mark.parametrize("times", [1, 2])
@pytest.mark.parametrize(
    ("draw", "n"),
    [
        (mean_of_a_skewed_sample, FEWEST_FOR_A_VERDICT),
        (ratio_of_two_that_depend_on_each_other, FEWEST_FOR_A_VERDICT),
        (mean_of_a_skewed_sample, 25),
        (ratio_of_two_that_depend_on_each_other, 25),
        (correlation_near_one, FEWEST_FOR_A_CORRELATION),
    ],
)
def test_intervals_cover_a_known_truth_as_often_as_they_promise(draw, n, times, monkeypatch):
    """Means of values as skewed as these, and correlations near 1, were covered in 85 to 92 of 100 by percentiles."""
    monkeypatch.setattr(statistics, "RESAMPLES", 499)
    rng, draws, promised = np.random.default_rng(n), 400, confidence(times)
    with looks(times):
        estimates = [draw(rng, n) for _ in range(draws)]
    held = sum(one.low <= truth <= one.high for one, truth in estimates) / draws
    chance = 3 * math.sqrt(promised * (1 - promised) / draws)  # three standard errors
    assert promised - 0.02 - chance < held < promised + 0.02 + chance


def test_an_interval_leans_to_where_the_truth_may_be():
    """A mean of values with a long tail upward may be further below the truth than above it."""
    estimate = mean_over_prompts(torch.tensor(np.random.default_rng(4).exponential(size=25)))
    assert estimate.high - estimate.value > 1.3 * (estimate.value - estimate.low)


@pytest.mark.parametrize("noise", [0.0, 1e-6])
def test_one_prompt_that_differs_from_all_others_widens_the_interval_as_far_as_a_rare_thing_seen_once(noise):
    """Also where the others differ a little, so that resamples without that one have an error next to none."""
    values = noise * torch.rand(100, generator=torch.Generator().manual_seed(0))
    values[3] = 1.0
    upper = mean_over_prompts(values).high
    exactly = stats.chi2.ppf(0.975, 4) / 2 / 100  # Garwood's limit for one in a hundred
    assert exactly < upper < 1.3 * exactly


def test_what_else_than_prompts_was_drawn_is_said():
    values = torch.tensor([1.0, 2.0, 3.0])
    assert mean_over_prompts(values).method == "studentized bootstrap over prompts"
    assert mean_over_prompts(values, of="names").method == "studentized bootstrap over names"


def mean(values):
    return mean_over_prompts(values)


def ratio(values):
    return ratio_of_means(values, values + 1)


def correlated(values):
    return correlation(values[None], values[None] ** 2)


@pytest.mark.parametrize("missing", [1, 5, 14, 15])
@pytest.mark.parametrize(("figure", "fewest"), [(mean, 16), (ratio, 16), (correlated, 24)])
def test_on_too_few_prompts_there_is_no_verdict(figure, fewest, missing):
    n = fewest - missing
    estimate = figure(torch.tensor(np.random.default_rng(5).normal(3.0, 0.1, size=n)))
    for band in (Band(above=-100.0), Band(below=-100.0)):  # far inside, far outside
        assert band.judge(estimate) == "inconclusive"
        assert f"{n} are too few" in band.advice(estimate)
        assert f"at least {fewest} prompts" in band.advice(estimate)


@pytest.mark.parametrize(("figure", "fewest"), [(mean, 16), (ratio, 16), (correlated, 24)])
def test_on_just_enough_prompts_there_is_a_verdict(figure, fewest):
    estimate = figure(torch.tensor(np.random.default_rng(5).normal(3.0, 0.1, size=fewest)))
    assert Band(above=0.1).judge(estimate) == "pass"
    assert Band(above=4.0).judge(estimate) == "fail"


def test_an_exact_interval_gives_a_verdict_on_any_number():
    assert Band(above=0.5).judge(share(torch.ones(8, dtype=torch.bool))) == "pass"
    assert Band(above=0.9).judge(share(torch.ones(8, dtype=torch.bool))) == "inconclusive"


def test_a_share_has_the_clopper_pearson_interval():
    estimate = share(torch.tensor([True] * 99 + [False]))
    low = stats.beta.ppf(0.025, 99, 2)
    high = stats.beta.ppf(0.975, 100, 1)
    assert (estimate.value, estimate.low, estimate.high) == pytest.approx((0.99, low, high))


def test_shares_within_a_prompt_have_an_interval_though_all_are_alike():
    """A mean of 25 prompts that all have 1 would be certain, which it is not."""
    assert share(torch.ones(25, dtype=torch.float64)).low == pytest.approx(0.025 ** (1 / 25))
    half = share(torch.full((100,), 0.5, dtype=torch.float64))
    assert half.method == "Gaffke's bounds over prompts"
    one_more = 1 - 0.025 ** (1 / 100)  # the weight that a value not drawn, 0 or 1, may have
    assert (half.value, half.low, half.high) == pytest.approx((0.5, 0.5 - one_more / 2, 0.5 + one_more / 2), abs=1e-3)


def test_an_interval_of_shares_of_whole_hits_is_clopper_and_pearsons():
    """The one is a case of the other, so that a share next to a hit changes next to nothing."""
    hits = torch.tensor([1.0] * 20 + [0.0] * 80, dtype=torch.float64)
    nearly = hits.clone()
    nearly[0] -= 1e-9
    one, other = share(hits), share(nearly)
    assert (one.method, other.method) == ("exact binomial over prompts", "Gaffke's bounds over prompts")
    assert (other.low, other.high) == pytest.approx((one.low, one.high), abs=2e-3)


@pytest.mark.parametrize("times", [1, 2])
@pytest.mark.parametrize("n", [8, 25, 100])
def test_an_interval_of_shares_knows_of_rare_ones_that_were_not_drawn(n, times, monkeypatch):
    """Of 25 such shares, three in five samples are all alike: a mean's interval held the truth in two of five."""
    monkeypatch.setattr(statistics, "RESAMPLES", 499)
    rng, draws, truth = np.random.default_rng(n), 300, 0.02 * 0.9 + 0.98 * 0.1
    with looks(times):
        estimates = [share(torch.tensor(np.where(rng.random(n) < 0.02, 0.9, 0.1))) for _ in range(draws)]
    assert sum(one.low <= truth <= one.high for one in estimates) / draws > confidence(times) - 0.01


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
        (lambda: correlation(torch.full((1, 2), math.nan), torch.ones(1, 2)), "2 of 2 values are not finite"),
        (lambda: mean_over_prompts(torch.ones(2, 3)), r"\(2, 3\).*one value a prompt"),
        (lambda: mean_over_prompts(torch.tensor([])), "at least one"),
        (lambda: mean_over_prompts(torch.tensor([1.0, math.nan])), "1 of 2 values are not finite"),
        (lambda: share(torch.tensor([1.5])), "counts hits"),
        (lambda: share(torch.tensor([-0.1])), "counts hits"),
        (lambda: ratio_of_means(torch.ones(3), torch.zeros(3)), "denominators' mean is zero"),
        (lambda: ratio_of_means(torch.ones(3), torch.ones(2)), "3 numerators and 2 denominators"),
    ],
)
def test_what_is_no_sample_is_refused(call, says):
    with pytest.raises(ValueError, match=says):
        call()


def test_the_strongest_is_the_largest_in_size():
    assert strongest(torch.tensor([0.1, -0.5, 0.3])) == 1


def test_of_what_is_nothing_but_rounding_the_first_is_taken():
    means = torch.tensor([1e-6, -3e-6, 2e-6])
    assert strongest(means) == strongest(means.flip(0)) == 0
    assert strongest(torch.tensor([0.2, 0.2 + RESOLUTION / 2, 0.2 - 2 * RESOLUTION])) == 0
    assert strongest(torch.tensor([0.2, 0.2 + 2 * RESOLUTION])) == 1
