"""From one value a prompt to an estimate with a 95% interval.

An interval here answers one question: what would this figure be on more prompts of the same kind? Means, ratios and
correlations use the percentile bootstrap over prompts (Efron 1979), shares the exact binomial interval (Clopper &
Pearson 1934), both from scipy. What is not sampled (a weight's property, say) is `exact` and has no interval.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field

import numpy as np
from scipy import stats
from torch import Tensor

CONFIDENCE = 0.95
_LOOKS: ContextVar[int] = ContextVar("looks", default=1)
RESAMPLES = 4999  # the interval's ends move by about 1% of its width from one seed to the next at this count


@dataclass(frozen=True)
class Estimate:
    """A measured figure. low and high are the ends of its 95% interval; both equal value where nothing was sampled.

    per_prompt: what each prompt says of the figure, one number each with `value` as their mean; empty where nothing was
    sampled. Two runs on the same prompts are compared by these.
    """

    value: float
    low: float
    high: float
    n: int
    method: str
    per_prompt: tuple[float, ...] = field(default=(), repr=False)

    def __str__(self) -> str:
        if self.low == self.high:
            return f"{self.value:.4g} (exact)" if self.method == "exact" else f"{self.value:.4g} (N = {self.n})"
        return f"{self.value:.4g} [{self.low:.4g}, {self.high:.4g}] (N = {self.n})"


@contextmanager
def looks(times: int) -> Iterator[None]:
    """While the block lasts, intervals are those of figures that may be looked at `times` times, on ever more prompts:
    the intervals of all looks together hold with 95%."""
    token = _LOOKS.set(times)
    try:
        yield
    finally:
        _LOOKS.reset(token)


def confidence(looks: int) -> float:
    """The confidence of each of so many looks' intervals (Bonferroni). 1 -> 0.95, 2 -> 0.975"""
    return 1 - (1 - CONFIDENCE) / looks


def mean_over_prompts(values: Tensor) -> Estimate:
    """Mean of `values` [batch], with a bootstrap interval over prompts."""
    sample = _sample(values)
    return _bootstrap((sample,), np.mean, float(sample.mean()), sample)


def ratio_of_means(numerators: Tensor, denominators: Tensor) -> Estimate:
    """mean(numerators) / mean(denominators), both [batch] on the same prompts, resampled together.

    A ratio of means, never a mean of ratios: a prompt whose denominator is near zero would outweigh all others.
    """
    above, below = _sample(numerators), _sample(denominators)
    if above.shape != below.shape:
        raise ValueError(f"{len(above)} numerators and {len(below)} denominators: both need one value a prompt")

    def ratio(a: np.ndarray, b: np.ndarray, axis: int = -1) -> np.ndarray:
        return a.mean(axis=axis) / b.mean(axis=axis)

    value = float(ratio(above, below))
    # The ratio's linear part in each prompt (the delta method): their mean is the ratio, their spread is its error.
    return _bootstrap((above, below), ratio, value, value + (above - value * below) / below.mean())


def correlation(x: Tensor, y: Tensor) -> Estimate:
    """Pearson's correlation of `x` and `y`, both [... point batch], with a bootstrap interval over prompts.

    Points of one prompt are resampled together, since they are not independent; several rows (leading axes) give the
    mean of their correlations. A row that does not vary in x or in y counts as 0: nothing in it follows anything.
    """
    if x.shape != y.shape or x.ndim < 2 or x.shape[-1] < 2:
        raise ValueError(f"{tuple(x.shape)} against {tuple(y.shape)}: a correlation takes two equal [... point batch]")
    n = x.shape[-1]
    rows = [_sample(values.flatten()).reshape(-1, *x.shape[-2:]) for values in (x, y)]  # row point batch

    def mean_correlation(prompts: np.ndarray, axis: int = -1) -> np.ndarray:
        # row point ... prompt, points and prompts made one axis: row ... (point prompt)
        drawn = [np.concatenate(np.moveaxis(row[..., prompts], 1, 0), -1) for row in rows]
        a, b = (values - values.mean(-1, keepdims=True) for values in drawn)
        size = np.sqrt((a * a).sum(-1) * (b * b).sum(-1))
        return np.divide((a * b).sum(-1), size, out=np.zeros_like(size), where=size > 0).mean(0)

    everyone = np.arange(n)
    value = float(mean_correlation(everyone))
    # Jackknife: what each prompt adds is n times the whole less n - 1 times what the others give.
    influence = np.array([n * value - (n - 1) * float(mean_correlation(np.delete(everyone, i))) for i in everyone])
    # A hundred resamples at a time: with a row a head, all at once would take a gigabyte.
    return _bootstrap((everyone,), mean_correlation, value, influence - influence.mean() + value, batch=100)


def share(hits: Tensor) -> Estimate:
    """Share of true values in `hits` [n] (independent trials), with the exact binomial interval."""
    sample = _sample(hits)
    if not np.isin(sample, (0.0, 1.0)).all():
        raise ValueError("share() counts hits: give booleans, or use mean_over_prompts for values between 0 and 1")
    interval = stats.binomtest(int(sample.sum()), len(sample)).proportion_ci(confidence(_LOOKS.get()), method="exact")
    return Estimate(
        float(sample.mean()),
        float(interval.low),
        float(interval.high),
        len(sample),
        "exact binomial",
        tuple(sample.tolist()),
    )


def exact(value: float) -> Estimate:
    """A figure that was computed, not sampled."""
    if not math.isfinite(value):
        raise ValueError(f"{value} is not a finite number")
    return Estimate(float(value), float(value), float(value), 1, "exact")


def prompts_needed(estimate: Estimate, edge: float) -> float:
    """About how many prompts in all would narrow the interval until it no longer holds `edge`.

    An interval narrows with the square root of N; infinite where the estimate sits on the edge itself.
    """
    arm = estimate.high - estimate.value if edge > estimate.value else estimate.value - estimate.low
    distance = abs(edge - estimate.value)
    return math.ceil(estimate.n * (arm / distance) ** 2) if distance else math.inf


def _sample(values: Tensor) -> np.ndarray:
    if values.ndim != 1 or not len(values):
        raise ValueError(f"values has shape {tuple(values.shape)}: statistics take one value a prompt, at least one")
    sample = values.detach().double().cpu().numpy()
    if not np.isfinite(sample).all():
        raise ValueError(f"{int((~np.isfinite(sample)).sum())} of {len(sample)} values are not finite numbers")
    return sample


def _bootstrap(
    samples: tuple[np.ndarray, ...],
    statistic: object,
    value: float,
    per_prompt: np.ndarray,
    *,
    batch: int | None = None,
) -> Estimate:
    n = len(samples[0])
    if n == 1 or all(np.ptp(sample) == 0 for sample in samples):
        return Estimate(value, value, value, n, "no spread over prompts", tuple(per_prompt.tolist()))
    interval = stats.bootstrap(
        samples,
        statistic,
        paired=len(samples) > 1,
        n_resamples=RESAMPLES,
        batch=batch,
        confidence_level=confidence(_LOOKS.get()),
        method="percentile",
        rng=np.random.default_rng(0),  # the same values give the same interval
    ).confidence_interval
    low, high = float(interval.low), float(interval.high)
    return Estimate(value, low, high, n, "bootstrap over prompts", tuple(per_prompt.tolist()))
