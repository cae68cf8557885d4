"""How often do intervals hold a truth that is known? Samples are drawn from known distributions, whose figure is known.

Intervals decide verdicts, and whatever breaks them (points in their place, pairs torn apart) leaves every figure as it
was. docs/evidence/COVERAGE.md has more distributions, sizes and samples.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType

import numpy as np
import torch
from torch import Tensor

from lib.judging import statistics
from lib.judging.statistics import Estimate, looks

SAMPLES = 400
SIZE = 25  # prompts of the first look


def _skewed(rng: np.random.Generator) -> Estimate:
    return statistics.mean_over_prompts(_tensor(rng.exponential(size=SIZE)))


def _dependent(rng: np.random.Generator) -> Estimate:
    one, other = rng.normal(size=(2, SIZE))
    return statistics.ratio_of_means(_tensor(one + 2), _tensor(one + other / 2 + 3))


def _correlated(rng: np.random.Generator) -> Estimate:
    one, other = rng.normal(size=(2, SIZE))
    return statistics.correlation(_tensor(one)[None], _tensor(0.8 * one + 0.6 * other)[None])


def _hits(rng: np.random.Generator) -> Estimate:
    return statistics.share(torch.from_numpy(rng.random(SIZE) < 0.5))


# Each kind of figure, from one sample, with what it is in truth.
KNOWN: Mapping[str, tuple[Callable[[np.random.Generator], Estimate], float]] = MappingProxyType(
    {"mean": (_skewed, 1.0), "ratio": (_dependent, 2 / 3), "correlation": (_correlated, 0.8), "share": (_hits, 0.5)}
)


def share_of_intervals_that_hold(kind: str) -> float:
    """The share of SAMPLES samples of SIZE whose 95% interval holds the truth; the same samples each time."""
    rng = np.random.default_rng(0)
    figure, truth = KNOWN[kind]
    with looks(1):
        estimates = [figure(rng) for _ in range(SAMPLES)]
    return sum(one.low <= truth <= one.high for one in estimates) / SAMPLES


def _tensor(values: np.ndarray) -> Tensor:
    return torch.from_numpy(values)
