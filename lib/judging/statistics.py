"""From one value a prompt to an estimate with a 95% interval.

An interval here answers one question: what would this figure be on more prompts of the same kind? Means, ratios and
correlations use the studentized bootstrap over prompts (Hall 1988, Annals of Statistics 16:927; DiCiccio & Efron 1996,
Statistical Science 11:189): resamples say how many of its standard errors a figure lies from the truth, so that skewed
values and few prompts are covered as promised (docs/evidence/COVERAGE.md). Shares of hits use the exact binomial
interval (Clopper & Pearson 1934), and shares of shares what it is a case of (Gaffke 2005, Mathematical Methods of
Statistics 14:451; Learned-Miller & Thomas 2019, arXiv 1905.06208). What is not sampled (a weight's property, say) is
`exact` and has no interval.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field, replace

import numpy as np
from scipy import stats
from torch import Tensor

CONFIDENCE = 0.95
_LOOKS: ContextVar[int] = ContextVar("looks", default=1)
RESAMPLES = 4999  # the interval's ends move by about 1% of its width from one seed to the next at this count
BINOMIAL = "exact binomial"
BOUNDED = "Gaffke's bounds"
AT_ONCE = 2**21  # numbers that resamples hold at a time, which is 16 MiB
# The fewest prompts on which means and ratios, and correlations, are covered as promised (docs/evidence/COVERAGE.md).
# On fewer there is a figure and no verdict. The interval of a share of hits holds on any number.
FEWEST_FOR_A_VERDICT = 16
FEWEST_FOR_A_CORRELATION = 24
RESOLUTION = 1e-4  # logits; of nothing, float32 makes some 1e-6 (docs/evidence/MACHINES.md)
# A resample without the one prompt that says otherwise than all others has hardly an error of its own, or none, and
# would lie any number of those off. None counts for more than this: so many errors away is the exact upper limit
# (Garwood 1936) of a rare thing seen once, at the confidence of two looks.
FARTHEST = float(stats.chi2.ppf(0.9875, 4)) / 2 - 1
# A figure from resampled values, prompts last, and its influences: what each prompt adds to it. Influences add up to
# zero, and the standard error of their mean is the figure's.
Statistic = Callable[..., tuple[np.ndarray, np.ndarray]]


@dataclass(frozen=True)
class Estimate:
    """A measured figure. low and high are the ends of its 95% interval; both equal value where nothing was sampled.

    per_prompt: what each prompt says of the figure, one number each with `value` as their mean; empty where nothing was
    sampled. Two runs on the same prompts are compared by these. fewest: on fewer prompts its interval may not hold what
    it promises.
    """

    value: float
    low: float
    high: float
    n: int
    method: str
    per_prompt: tuple[float, ...] = field(default=(), repr=False)
    fewest: int = field(default=FEWEST_FOR_A_VERDICT, repr=False)

    @property
    def of_all_names(self) -> bool:
        """Whether it is over the first names, of which there are no more."""
        return self.method.endswith("over names")

    @property
    def too_few(self) -> bool:
        """Whether its interval may not hold what it promises, for want of prompts."""
        return self.n < self.fewest

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


def mean_over_prompts(values: Tensor, *, of: str = "prompts") -> Estimate:
    """Mean of `values` [batch], one a prompt; or one of what else was drawn (`of`: "names", say)."""
    return _estimate(_mean, [_sample(values)], of=of)


def ratio_of_means(numerators: Tensor, denominators: Tensor) -> Estimate:
    """mean(numerators) / mean(denominators), both [batch] on the same prompts, resampled together.

    A ratio of means, never a mean of ratios: a prompt whose denominator is near zero would outweigh all others.
    """
    above, below = _sample(numerators), _sample(denominators)
    if above.shape != below.shape:
        raise ValueError(f"{len(above)} numerators and {len(below)} denominators: both need one value a prompt")
    if not below.mean():
        raise ValueError("the denominators' mean is zero: there is nothing to be a share of")
    return _estimate(_ratio, [above, below])


def correlation(x: Tensor, y: Tensor) -> Estimate:
    """Pearson's correlation of `x` and `y`, both [... point batch].

    Points of one prompt are resampled together, since they are not independent; several rows (leading axes) give the
    mean of their correlations. A row that does not vary in x or in y counts as 0: nothing in it follows anything. The
    interval is made on Fisher's scale (1921), the inverse hyperbolic tangent, where it cannot leave -1 to 1.
    """
    if x.shape != y.shape or x.ndim < 2:
        raise ValueError(f"{tuple(x.shape)} against {tuple(y.shape)}: a correlation takes two equal [... point batch]")
    rows = [_sample(values.flatten()).reshape(-1, *x.shape[-2:]) for values in (x, y)]  # row point batch
    value, influence = _correlation(*rows)
    on_scale = _estimate(_fishers_z, rows)
    by_prompt = tuple((value + influence).tolist())
    low, high = (float(np.tanh(end)) for end in (on_scale.low, on_scale.high))
    fewest = FEWEST_FOR_A_CORRELATION
    return replace(on_scale, value=float(value), low=low, high=high, per_prompt=by_prompt, fewest=fewest)


def share(hits: Tensor, *, of: str = "prompts") -> Estimate:
    """Share of hits [n], independent trials (`of`: what was drawn), with an interval that holds on few of them, too.

    A trial may be a share itself, of all heads that copy one name, say. Of such a share a mean's interval knows nothing
    but what was drawn: where one name in fifty is copied by nearly every head, 25 names are often all alike.
    """
    sample = _sample(hits)
    if not ((sample >= 0) & (sample <= 1)).all():
        raise ValueError("share() counts hits: give booleans, or shares between 0 and 1")
    whole = bool(((sample == 0) | (sample == 1)).all())
    low, high = (_clopper_pearson if whole else _gaffke)(sample, (1 - confidence(_LOOKS.get())) / 2)
    method = f"{BINOMIAL if whole else BOUNDED} over {of}"
    fewest = 1 if whole else FEWEST_FOR_A_VERDICT
    return Estimate(float(sample.mean()), low, high, len(sample), method, tuple(sample.tolist()), fewest=fewest)


def exact(value: float) -> Estimate:
    """A figure that was computed, not sampled: of weights in float64, of runs in the number type they ran in."""
    if not math.isfinite(value):
        raise ValueError(f"{value} is not a finite number")
    return Estimate(float(value), float(value), float(value), 1, "exact", fewest=1)


def strongest(means: Tensor) -> int:
    """Which of `means` [n], in logits, is the largest in size; of those within RESOLUTION of it, the first.

    Where all are nothing but rounding, the largest would be another one on each machine.
    """
    sizes = means.abs()
    return int((sizes >= sizes.max() - RESOLUTION).nonzero()[0])


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


def _clopper_pearson(hits: np.ndarray, beyond: float) -> tuple[float, float]:
    n, found = len(hits), float(hits.sum())
    low = float(stats.beta.ppf(beyond, found, n - found + 1)) if found else 0.0
    high = float(stats.beta.ppf(1 - beyond, found + 1, n - found)) if found < n else 1.0
    return low, high


def _gaffke(shares: np.ndarray, beyond: float) -> tuple[float, float]:
    """The mean under random weights that add up to 1, with one value more, the least or the most that there can be: 0
    for the low end, 1 for the high one. Of zeros and ones alone this is Clopper and Pearson's interval. That it holds
    what it promises of other shares too is a conjecture, which docs/evidence/COVERAGE.md tests."""
    rng, n, at_once = np.random.default_rng(0), len(shares) + 1, max(1, AT_ONCE // (len(shares) + 1))
    means, more = [], []
    for start in range(0, RESAMPLES, at_once):
        weights = rng.dirichlet(np.ones(n), size=min(at_once, RESAMPLES - start))
        means.append(weights[:, 1:] @ shares)
        more.append(weights[:, 0])
    low, high = np.concatenate(means), np.concatenate(means) + np.concatenate(more)
    return float(np.quantile(low, beyond)), float(np.quantile(high, 1 - beyond))


def _mean(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    mean = values.mean(-1, keepdims=True)
    return mean[..., 0], values - mean


def _ratio(above: np.ndarray, below: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    whole = below.mean(-1, keepdims=True)
    ratio = above.mean(-1, keepdims=True) / whole
    return ratio[..., 0], (above - ratio * below) / whole


def _correlation(x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Of [row point ... prompt], averaged over rows. Influences as in Devlin et al. 1975, Biometrika 62:531."""
    x, y = (_standardised(values) for values in (x, y))
    r = (x * y).mean((1, -1), keepdims=True)
    return r[:, 0, ..., 0].mean(0), (x * y - r * (x * x + y * y) / 2).mean((0, 1))


def _standardised(values: np.ndarray) -> np.ndarray:
    """Each row's points over all prompts with mean 0 and variance 1; zeros where they do not vary."""
    values = values - values.mean((1, -1), keepdims=True)
    size = np.sqrt((values * values).mean((1, -1), keepdims=True))
    return np.divide(values, size, out=np.zeros_like(values), where=size > 0)


def _fishers_z(x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    r, influence = _correlation(x, y)
    r = np.clip(r, -1 + 1e-12, 1 - 1e-12)  # a perfect correlation is infinitely far up the scale
    return np.arctanh(r), influence / (1 - r * r)[..., None]


def _estimate(statistic: Statistic, samples: Sequence[np.ndarray], *, of: str = "prompts") -> Estimate:
    value, influence = (part.astype(float) for part in statistic(*samples))
    n, by_prompt = len(influence), tuple((value + influence).tolist())
    if n == 1 or np.ptp(influence) == 0:
        return Estimate(float(value), float(value), float(value), n, f"no spread over {of}", by_prompt)
    error = _error(influence)
    resampled, errors = _resampled(statistic, samples)
    with np.errstate(divide="ignore", invalid="ignore"):
        off = np.clip(np.nan_to_num((resampled - value) / errors), -FARTHEST, FARTHEST)
    beyond = (1 - confidence(_LOOKS.get())) / 2
    least, most = np.quantile(off, [beyond, 1 - beyond])
    return Estimate(
        float(value),
        float(value - most * error),
        float(value - least * error),
        n,
        f"studentized bootstrap over {of}",
        by_prompt,
    )


def _error(influence: np.ndarray) -> np.ndarray:
    """The standard error of a figure from its influences [... prompt]."""
    return influence.std(-1, ddof=1) / influence.shape[-1] ** 0.5


def _resampled(statistic: Statistic, samples: Sequence[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """The figure and its standard error in each of RESAMPLES, the same ones for the same number of prompts."""
    rng, n = np.random.default_rng(0), samples[0].shape[-1]
    at_once = max(1, AT_ONCE // max(sample.size for sample in samples))
    figures, errors = [], []
    for start in range(0, RESAMPLES, at_once):
        drawn = rng.integers(n, size=(min(at_once, RESAMPLES - start), n))
        figure, influence = statistic(*(sample[..., drawn] for sample in samples))
        figures.append(figure)
        errors.append(_error(influence))
    return np.concatenate(figures), np.concatenate(errors)
