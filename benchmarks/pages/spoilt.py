"""What can go wrong around a right model: prompts that are not what they should be, a library that reports what is not.

A control on prompts that hold no answer fails on no model, because both names are drawn alike; and what holds of any
model is about the tools. These are what such claims have to fail on.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType
from typing import NamedTuple

import numpy as np
import pytest
import torch

from ioi_fixtures.controls import faults
from ioi_fixtures.sentences import variants
from lib.judging import statistics
from lib.judging.statistics import Estimate
from lib.models.model import DTYPES

Patch = pytest.MonkeyPatch
SOURCES = (Path(__file__), Path(faults.__file__))


class Spoilt(NamedTuple):
    """What is wrong, the file of the claims that are there to notice, and how it is brought about."""

    says: str
    family: str
    spoil: Callable[[Patch], object]


def _names_not_fresh(patch: Patch) -> None:
    patch.setattr(variants, "_fresh", lambda uniform, prompt, count: [prompt.io, prompt.s1, prompt.s2][:count])


def _points(patch: Patch) -> None:
    """Intervals of no width around every figure that has one, shares among them."""

    def points(estimate: Callable[..., Estimate]) -> Callable[..., Estimate]:
        def point(*given: object, **options: object) -> Estimate:
            figure = estimate(*given, **options)
            return replace(figure, low=figure.value, high=figure.value)

        return point

    for name in ("_estimate", "share"):
        patch.setattr(statistics, name, points(getattr(statistics, name)))


def _pairs_apart(patch: Patch) -> None:
    """Each of several samples is resampled by itself."""
    resampled = statistics._resampled

    def apart(statistic: statistics.Statistic, samples: Sequence[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
        shuffled = [np.random.default_rng(i).permutation(sample, axis=-1) for i, sample in enumerate(samples)]
        return resampled(statistic, shuffled)

    patch.setattr(statistics, "_resampled", apart)


def _late_edits_lost(patch: Patch) -> None:
    """Edits of prompts after the twelfth of a batch are lost."""
    kept = faults.edits_become("", lambda x, new: torch.cat([new[:12], x[12:]]))
    kept(patch, lambda: None)


def _incident(id: str) -> Callable[[Patch], object]:
    """The same fault as in tests/whole_suite/test_incidents.py, which loads a model for it; here the claims do."""
    return lambda patch: faults.FAULTS[id](patch, lambda: None)


SPOILT: Mapping[str, Spoilt] = MappingProxyType(
    {
        "names_not_fresh": Spoilt(
            "The model is right, but names that should be drawn afresh are those of the prompt.",
            "test_behaviour.py",
            _names_not_fresh,
        ),
        "mask_finite": Spoilt(
            "The model is right, but the library masks attention in its first layers with -10.",
            "test_generated_prompts.py",
            _incident("27 (TL#385)"),
        ),
        "outputs_unreported": Spoilt(
            "The model is right, but the library reports what heads write as 0.",
            "test_generated_prompts.py",
            _incident("40"),
        ),
        "intervals_points": Spoilt("The model is right, but intervals have no width.", "test_instruments.py", _points),
        "pairs_apart": Spoilt(
            "The model is right, but two values of one prompt are resampled as if they were of different prompts.",
            "test_instruments.py",
            _pairs_apart,
        ),
        "late_edits_lost": Spoilt(
            "The model is right, but the library loses edits of prompts after the twelfth of a batch.",
            "test_instruments.py",
            _late_edits_lost,
        ),
        "bfloat16_not_coarse": Spoilt(
            "The model is right, but what should be computed in bfloat16 is in float32.",
            "test_instruments.py",
            lambda patch: patch.setitem(DTYPES, "bfloat16", torch.float32),
        ),
    }
)
