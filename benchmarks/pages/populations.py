"""A pytest plugin that keeps what every figure is computed from: one value a prompt, of many prompts.

`pytest -p benchmarks.pages.populations claims/ --populations FILE`: for each figure that claims record from a sample,
its test, label and kind (the function of `lib.judging.statistics`) and the values that function was given. Samples of
25 drawn from them have a known truth, which the interval has to cover: see `coverage`.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
from torch import Tensor

from lib.judging import statistics
from lib.judging.recorder import Recorder
from lib.judging.statistics import Estimate

KINDS = ("mean_over_prompts", "ratio_of_means", "correlation", "share")


class Population(NamedTuple):
    """What a figure is computed from."""

    test: str
    label: str
    kind: str  # one of KINDS
    values: tuple[np.ndarray, ...]  # what that function takes, prompts last


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--populations", type=Path, help="where the values are kept, as .npz")


def pytest_configure(config: pytest.Config) -> None:
    """Before any claim imports these functions by name."""
    config.pluginmanager.register(Keeping(config.getoption("--populations")))


class Keeping:
    """The plugin object, for the rest of the process."""

    def __init__(self, file: Path) -> None:
        self.file = file
        self.computed: list[tuple[Estimate, str, tuple[np.ndarray, ...]]] = []  # alive, so that an id stays its own
        self.found: list[Population] = []
        for kind in KINDS:
            setattr(statistics, kind, self._kept(kind, getattr(statistics, kind)))
        Recorder.__call__ = self._recorded(Recorder.__call__)

    def _kept(self, kind: str, statistic: Callable[..., Estimate]) -> Callable[..., Estimate]:
        @wraps(statistic)
        def keep(*samples: Tensor, **options: str) -> Estimate:
            estimate = statistic(*samples, **options)
            self.computed.append((estimate, kind, tuple(sample.double().cpu().numpy() for sample in samples)))
            return estimate

        return keep

    def _recorded(self, record: Callable[..., Estimate]) -> Callable[..., Estimate]:
        @wraps(record)
        def keep(recorder: Recorder, label: str, estimate: Estimate, *rest: object, **options: object) -> Estimate:
            for known, kind, values in self.computed:
                if known is estimate:
                    self.found.append(Population(recorder.running.test, label, kind, values))
            return record(recorder, label, estimate, *rest, **options)

        return keep

    def pytest_sessionfinish(self) -> None:
        write(self.found, self.file)


def write(populations: list[Population], file: Path) -> None:
    """Keep them in an .npz file."""
    names = np.array([population[:3] for population in populations])
    arrays = {f"{i} {j}": v for i, one in enumerate(populations) for j, v in enumerate(one.values)}
    file.parent.mkdir(parents=True, exist_ok=True)
    np.savez_compressed(file, names=names, **arrays)


def read(file: Path) -> list[Population]:
    """Those kept in a file."""
    with np.load(file) as kept:
        return [
            Population(*map(str, names), tuple(kept[f"{i} {j}"] for j in range(2) if f"{i} {j}" in kept))
            for i, names in enumerate(kept["names"])
        ]
