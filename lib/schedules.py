"""Steps of a training run: by the name of their schedule, and in a model's name."""

from __future__ import annotations

import re

STEP = re.compile(r"(?:step|checkpoint|iter|epoch)s?[-_=]?(\d+)", re.IGNORECASE)


def step_of(source: str) -> int | None:
    """The step that a model's name says, the last one it names: 1000 of pythia-160m@step1000."""
    found = STEP.findall(source)
    return int(found[-1]) if found else None


def every(by: int, *, first: int, last: int) -> tuple[int, ...]:
    """`first` and each `by` steps on, up to `last`."""
    return tuple(range(first, last + 1, by))


def linear(count: int, *, first: int, last: int, multiple: int = 1) -> tuple[int, ...]:
    """So many steps at equal distances, both ends among them, each rounded to a multiple; fewer where two are one."""
    gap = (last - first) / max(count - 1, 1)
    return _rounded([first + gap * i for i in range(count)], multiple)


def log(count: int, *, first: int, last: int, multiple: int = 1) -> tuple[int, ...]:
    """So many steps at equal ratios, both ends among them, each rounded to a multiple; fewer where two are one."""
    ratio = (last / first) ** (1 / max(count - 1, 1))
    return _rounded([first * ratio**i for i in range(count)], multiple)


def _rounded(steps: list[float], multiple: int) -> tuple[int, ...]:
    return tuple(sorted({max(round(step / multiple), 1) * multiple if step else 0 for step in steps}))
