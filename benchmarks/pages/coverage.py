"""How often do intervals hold the truth that they promise to hold? Writes docs/evidence/COVERAGE.md.

Run: python -m benchmarks.pages.coverage. What figures are computed from is kept of many prompts (`populations`), and
samples drawn from that, with replacement, have a known truth: the figure of all of it. So do samples of known
distributions, among them those that intervals find hard: skewed ones, and shares near 1. The exit status says whether
every kind of figure was covered as promised, wherever a verdict is given.
"""

from __future__ import annotations

import hashlib
import subprocess
import sys
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from itertools import chain, product
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import torch
from pydantic import TypeAdapter
from torch import Tensor

from benchmarks.pages import evidence
from benchmarks.pages.populations import KINDS, Population, read
from benchmarks.pages.runs import sources
from lib.judging import statistics
from lib.judging.statistics import FEWEST_FOR_A_CORRELATION, FEWEST_FOR_A_VERDICT, confidence, looks

NAME = "COVERAGE.md"
PROMPTS = 400  # in a population
# Sampled claims alone: those of weights and of the tools have figures that are computed, and no interval.
CLAIMS = [f"--ignore=claims/test_{name}.py" for name in ("instruments", "weights", "canaries", "circuit_file")]
SIZES = (8, FEWEST_FOR_A_VERDICT, FEWEST_FOR_A_CORRELATION, 25, 100)
FEWEST = {"correlation": FEWEST_FOR_A_CORRELATION, "share": 1}  # of a verdict; of other kinds FEWEST_FOR_A_VERDICT
LOOKS = (1, 2)  # intervals at 95% and at 97.5%
DRAWS = 1000
OF_MANY_ROWS = 100  # of a correlation over a hundred heads, each of which costs as much as another figure
RESAMPLES = 999  # in place of 4999: coverage is an average over draws, which evens out what fewer resamples leave
FIGURES = 12  # of each kind at the most, evenly spread over the families
KEPT = evidence.ROOT / "reports" / "populations" / "covered"
MAY_MISS = 0.02  # a kind's coverage may be so far from what is promised


@dataclass(frozen=True)
class Covered:
    """How often intervals of one figure held the truth, of how many, and on which side it lay where they did not."""

    kind: str
    label: str
    n: int
    looks: int
    draws: int
    held: int
    above: int  # the truth lay above the interval

    @property
    def share(self) -> float:
        return self.held / self.draws


FOUND = TypeAdapter(list[Covered])


def covered(one: Population, sizes: Sequence[int], looked: Sequence[int], *, draws: int = DRAWS) -> list[Covered]:
    """Samples of each size drawn from a population, and where its own figure lies, at each number of looks."""
    values = [torch.from_numpy(part) for part in one.values]
    truth = getattr(statistics, one.kind)(*values).value
    return [_covered(one, values, truth, n, times, draws) for n, times in product(sizes, looked)]


def _covered(one: Population, values: Sequence[Tensor], truth: float, n: int, times: int, draws: int) -> Covered:
    statistic, rng = getattr(statistics, one.kind), np.random.default_rng(0)
    held = above = 0
    with looks(times):
        for _ in range(draws):
            drawn = torch.from_numpy(rng.integers(values[0].shape[-1], size=n))
            estimate = statistic(*(part[..., drawn] for part in values))
            rounding = 1e-9 * (1 + abs(truth))
            held += estimate.low - rounding <= truth <= estimate.high + rounding
            above += truth > estimate.high + rounding
    return Covered(one.kind, one.label, n, times, draws, held, above)


def known(size: int = 20_000) -> Iterator[Population]:
    """Populations of known distributions."""
    rng = np.random.default_rng(1)
    normal, other, more = rng.normal(size=(3, size))
    two = (normal + 2, normal + other + 3)
    for label, kind, *values in (
        ("normal", "mean_over_prompts", normal),
        ("exponential, skewed by 2", "mean_over_prompts", rng.exponential(size=size)),
        ("two normals that depend on each other, 3 and 2 from 0", "ratio_of_means", *two),
        ("normal, correlated by .8", "correlation", normal[None], (0.8 * normal + 0.6 * other)[None]),
        ("normal, correlated by .99", "correlation", normal[None], (0.99 * normal + 0.14 * other)[None]),
        ("one exponential, correlated by .7", "correlation", np.exp(normal / 2)[None], (normal + more)[None]),
        *((f"hits of {p:.0%}", "share", rng.random(size) < p) for p in (0.5, 0.9, 0.95, 0.99)),
        ("shares of .1, one in fifty of .9", "share", np.where(rng.random(size) < 0.02, 0.9, 0.1)),
    ):
        yield Population("", label, kind, tuple(np.asarray(value, dtype=float) for value in values))


def of_the_model() -> list[Population]:
    """What figures of the reference model are computed from; of each kind FIGURES at the most."""
    file = evidence.ROOT / "reports" / "populations" / sources() / "planted.npz"
    if not file.is_file():
        pytest = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "benchmarks.pages.populations"]
        asked = ["--claims-model", "planted", "--claims-device", "cpu", "--claims-prompts", str(PROMPTS)]
        kept = ["--claims-one-look", "--claims-report", str(file.parent), "--populations", str(file)]
        subprocess.run([*pytest, "claims/", *CLAIMS, *asked, *kept], cwd=evidence.ROOT, check=False)
    found = [one for one in read(file) if np.ptp(one.values[0]) > 0]
    by_kind = {kind: [one for one in found if one.kind == kind] for kind in KINDS}
    return [ones[i] for ones in by_kind.values() for i in spread(len(ones), FIGURES)]


def spread(count: int, most: int) -> list[int]:
    """Places of so many of `count` things at the most, evenly spread. 10, 4 -> 0, 3, 6, 9"""
    return sorted({round(place) for place in np.linspace(0, count - 1, min(count, most))})


def page(of_model: Sequence[Covered], of_known: Sequence[Covered]) -> str:
    """The page, from what was covered."""
    return f"""# How often intervals hold the truth

Of samples drawn from a population, with a truth that is known: the population's own figure. Promised are 95% for a
claim that is looked at once, and 97.5% at each of two looks. A mean or a ratio of fewer than {FEWEST_FOR_A_VERDICT}
prompts gets no verdict, whatever its interval, and neither does a correlation of fewer than
{FEWEST_FOR_A_CORRELATION}. {DRAWS} samples each ({OF_MANY_ROWS} of a correlation over many heads); one such share is
off by up to 1.4 points at random, two standard errors.

## Figures of the reference model

Populations of {PROMPTS} prompts, drawn from with replacement; {_count(of_model)}. `least` is the worst figure's share.

{_table(of_model)}

## Known distributions

{_table(of_known, by_figure=True)}

Of hits no interval holds exactly 95%, and of shares, rare ones may not have been drawn. Clopper and Pearson's interval
holds at least that; of Gaffke's, which it is a case of, that is a conjecture, which the last rows are a test of.

## What is not as promised

{chr(10).join(f"- {line}" for line in not_as_promised(of_model)) or "nothing"}
"""


def _count(found: Sequence[Covered]) -> str:
    kinds = [kind for kind, _ in {(one.kind, one.label) for one in found}]
    return ", ".join(f"{kinds.count(kind)} of {kind}" for kind in KINDS if kind in kinds)


def _table(found: Sequence[Covered], *, by_figure: bool = False) -> str:
    lines = ["| figures | N | promised | held | least | truth above | truth below |", "|---|---|---|---|---|---|---|"]
    for (name, n, times), ones in _groups(found, by_figure):
        draws = sum(one.draws for one in ones)
        held, above = (sum(getattr(one, part) for one in ones) / draws for part in ("held", "above"))
        cells = (confidence(times), held, min(one.share for one in ones), above, 1 - held - above)
        lines.append(f"| {name} | {n} | " + " | ".join(f"{cell:.1%}" for cell in cells) + " |")
    return "\n".join(lines)


def _groups(found: Sequence[Covered], by_figure: bool) -> Iterator[tuple[tuple[str, int, int], list[Covered]]]:
    groups: dict[tuple[str, int, int], list[Covered]] = {}
    for one in found:
        name = f"{one.kind}: {one.label}" if by_figure else one.kind
        groups.setdefault((name, one.n, one.looks), []).append(one)
    yield from groups.items()


def not_as_promised(found: Sequence[Covered]) -> list[str]:
    """Kinds that are covered otherwise than promised where a verdict is given; a share may be covered more often."""
    wrong = []
    for (kind, n, times), ones in _groups(found, by_figure=False):
        share = sum(one.held for one in ones) / sum(one.draws for one in ones)
        gap = share - confidence(times)
        if n >= FEWEST.get(kind, FEWEST_FOR_A_VERDICT) and (gap < -MAY_MISS or (gap > MAY_MISS and kind != "share")):
            worst = min(ones, key=lambda one: one.share)
            least = f"the least is {worst.share:.1%}, of {worst.label}"
            wrong.append(f"{kind}, N = {n}: {share:.1%} of {confidence(times):.1%}; {least}")
    return wrong


def _of_one(one: Population) -> list[Covered]:
    """What was found before is kept, under a digest of all that it follows from: a run that was stopped goes on."""
    draws = OF_MANY_ROWS if one.values[0].ndim > 2 else DRAWS
    asked = repr((one.kind, one.label, SIZES, LOOKS, draws, RESAMPLES)).encode()
    code = b"".join(Path(file).read_bytes() for file in (__file__, statistics.__file__))
    digest = hashlib.sha256(asked + code + b"".join(part.tobytes() for part in one.values)).hexdigest()[:16]
    file = KEPT / f"{digest}.json"
    if not file.is_file():
        statistics.RESAMPLES = RESAMPLES
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(FOUND.dump_json(covered(one, SIZES, LOOKS, draws=draws)))
    return FOUND.validate_json(file.read_bytes())


def main() -> int:
    """The exit status."""
    with ProcessPoolExecutor(2, mp_context=get_context("spawn")) as pool:
        of_model, of_known = ([*chain(*pool.map(_of_one, ones))] for ones in (of_the_model(), known()))
    evidence.write(NAME, page(of_model, of_known), command="make coverage", of="the model")
    wrong = not_as_promised(of_model)
    print("\n".join(wrong) or "every kind of figure is covered as promised")
    return bool(wrong)


if __name__ == "__main__":
    sys.exit(main())
