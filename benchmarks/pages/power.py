"""How many prompts each sampled claim needs on `planted`, and what it would notice. Writes docs/evidence/POWER.md.

Read from the runs that `make false-alarms` keeps: a figure's prompts of all of them together say what it is and how far
it is spread from prompt to prompt. From that, by the normal approximation (shares: by the binomial distribution):

- the N at which it becomes conclusive: its interval lies in the band in 80% of samples of so many prompts;
- the smallest change caught at an N: if the true value moved so far towards the end of the band that is nearest, 80% of
  samples of N prompts would not pass.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from scipy import optimize, stats

from benchmarks.pages import evidence
from benchmarks.pages.false_alarms import of_prompts, runs_of
from benchmarks.pages.runs import run, short, sources
from lib.judging.measurements import Measurement, Session
from lib.judging.references import Band
from lib.judging.statistics import BINOMIAL, BOUNDED, confidence

NAME = "POWER.md"
POWER = 0.8
MOST = 100_000  # prompts: what needs more will not be had


class Sampled(NamedTuple):
    """A figure over all runs. value: its mean over all their prompts; spread: from prompt to prompt."""

    test: str
    label: str
    value: float
    spread: float
    band: Band
    is_share: bool
    of_prompts: bool  # as many as a look takes, or of something else, such as names
    n: int
    is_of_shares: bool = False
    unit: str = "prompts"


def sampled(sessions: list[Session]) -> list[Sampled]:
    """Every sampled figure of the runs."""
    prompts: dict[tuple[str, str], list[float]] = {}
    last: dict[tuple[str, str], Measurement] = {}
    for figure in (figure for session in sessions for claim in session.claims for figure in claim.measurements):
        if len(figure.per_prompt) > 1:
            key = (short(figure), figure.label)
            prompts.setdefault(key, []).extend(figure.per_prompt)
            last[key] = figure
    return [
        Sampled(
            *key,
            value=float(np.mean(values)),
            spread=float(np.std(values, ddof=1)),
            band=last[key].published.accept,
            is_share=last[key].method.startswith(BINOMIAL),
            is_of_shares=last[key].method.startswith(BOUNDED),
            unit=last[key].method.rpartition(" over ")[2],
            of_prompts=last[key].n in sessions[0].looks,
            n=last[key].n,
        )
        for key, values in prompts.items()
    ]


def passes(figure: Sampled, n: int, looks: int, *, moved: float = 0.0) -> float:
    """The chance that n prompts put the interval inside the band, if the true value were `moved` further."""
    value, level = figure.value + moved, confidence(looks)
    if figure.is_share:
        counts = np.arange(n + 1)
        low = np.nan_to_num(stats.beta.ppf((1 - level) / 2, counts, n - counts + 1), nan=0.0)
        high = np.nan_to_num(stats.beta.ppf((1 + level) / 2, counts + 1, n - counts), nan=1.0)
        inside = (low >= figure.band.low) & (high <= figure.band.high)
        return float(stats.binom.pmf(counts, n, min(max(value, 0.0), 1.0))[inside].sum())
    error = figure.spread / math.sqrt(n)
    arm = float(stats.norm.ppf((1 + level) / 2)) * error
    # What a rare share that was not drawn may add to the interval of a share of shares: see `statistics._gaffke`.
    rare = 1 - ((1 - level) / 2) ** (1 / n) if figure.is_of_shares else 0.0
    low, high = figure.band.low + arm + rare * value - value, figure.band.high - arm - rare * (1 - value) - value
    if not error:
        return float(low <= 0 <= high)
    return max(0.0, float(stats.norm.cdf(high / error) - stats.norm.cdf(low / error)))


def needed(figure: Sampled, looks: int) -> float:
    """The N at which the figure becomes conclusive; infinite above MOST."""
    low, high = 1, 2
    while passes(figure, high, looks) < POWER:
        low, high = high, 2 * high
        if high > MOST:
            return math.inf
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if passes(figure, middle, looks) >= POWER else (middle, high)
    return high


def caught(figure: Sampled, n: int, looks: int) -> float:
    """The smallest change of the true value, with its sign, that n prompts would catch."""
    above, below = figure.value - figure.band.low, figure.band.high - figure.value
    sign, room = (1, below) if below < above else (-1, above)

    def missed(size: float) -> float:
        return passes(figure, n, looks, moved=sign * size) - (1 - POWER)

    furthest = room + 10 * figure.spread / math.sqrt(n) + 1e-9
    return sign * float(optimize.brentq(missed, 0.0, furthest)) if missed(0.0) > 0 else 0.0


def rows(ranked: list[tuple[float, Sampled]], looks: list[int]) -> Iterator[str]:
    """The table, from every figure with the N at which it becomes conclusive."""
    for n, figure in ranked:
        at = looks if figure.of_prompts else [figure.n] * len(looks)
        changes = " | ".join(f"{caught(figure, size, len(looks)):+.3g}" for size in at)
        of = "" if figure.of_prompts else f" (of {figure.n} {figure.unit})"
        count = f"over {MOST}" if n == math.inf else f"{n:.0f}"
        yield (
            f"| {figure.test} | {figure.label}{of} | {figure.value:.3g} | {figure.spread:.3g} | {figure.band} "
            f"| {count} | {changes} |"
        )


def page(sessions: list[Session], at_once: Session) -> str:
    """The whole of POWER.md."""
    looks = sessions[0].looks
    ranked = sorted(((needed(figure, len(looks)), figure) for figure in sampled(sessions)), key=lambda pair: -pair[0])
    counts = [n for n, figure in ranked if figure.of_prompts]
    settled = " ".join(f"{sum(n <= size for n in counts)} by {size}," for size in looks)
    lines = [
        "# Power",
        "",
        f"From {len(sessions)} runs on `planted` with prompts of different "
        f"seeds (sources {sources()}), {sessions[0].subjects[0].device}, torch {sessions[0].versions['torch']}.",
        "",
        *(line for line in __doc__.split("\n\n", 1)[1].strip().splitlines()),
        "",
        "## What follows for the defaults",
        "",
        f"Of {len(counts)} figures that prompts are drawn for, so many become conclusive: {settled} and "
        f"{sum(n > looks[-1] for n in counts)} need more. So the default is {looks[-1]} prompts in looks of "
        f"{', then '.join(map(str, looks))}. Each look's intervals are at {confidence(len(looks)):.1%}, so that all "
        "looks together err in 5% of cases at the most (Bonferroni): no claim is judged wrongly more often for being "
        "looked at twice.",
        "",
        f"The same claims on all {looks[-1]} prompts at once took {at_once.seconds:.0f} s, and with looks "
        f"{sessions[0].seconds:.0f} s (seed 0, in this order, model loaded).",
        "",
        "## Every sampled figure, hardest first",
        "",
        f"| claim | figure | value | spread | accepted | conclusive at N "
        f"| {' | '.join(f'caught at {size}' for size in looks)} |",
        f"|---|---|---|---|---|---|{'---|' * len(looks)}",
        *rows(ranked, looks),
    ]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    at_once = run("one-look", "--claims-model", "planted", "--claims-one-look")
    runs = list(runs_of("prompts").values()) or [of_prompts(0)]
    evidence.write(NAME, page(runs, at_once), command="make power", of="claims about the model")
