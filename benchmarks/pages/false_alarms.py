"""How often does the suite fail a right model, and pass a wrong one? Writes docs/evidence/FALSE_ALARMS.md.

Right: `planted`, over seeds of the prompts and over seeds of its own random parts. Wrong: randomly initialised models.
The runs are kept (see runs.py), so the program may be stopped and go on; the page is about those that there are
(`--only` without a kind makes none).
"""

from __future__ import annotations

import argparse
import math
import tempfile
from collections import defaultdict
from collections.abc import Iterator, Mapping
from operator import itemgetter
from pathlib import Path

import numpy as np
import torch
from transformers import GPT2Config, GPT2LMHeadModel

from benchmarks.pages import evidence
from benchmarks.pages.runs import SEEDED, UNSEEDED, kept, measured, run, short, sources
from ioi_fixtures import planted
from ioi_fixtures.controls.absence import OF_ABSENCE
from ioi_fixtures.planted import build, tokenizer
from lib.judging.measurements import Measurement, Session
from lib.judging.statistics import share
from lib.judging.verdicts import is_control

NAME = "FALSE_ALARMS.md"
PROMPT_SEEDS, RANDOM_SEEDS = range(60), range(12)
WEIGHT_SEEDS = range(13, 25)  # those before served to settle the reference model
CLOSEST = 20


def of_prompts(seed: int) -> Session:
    """The reference model on other prompts. Claims whose figures the seed does not change are run with seed 0 alone."""
    less = SEEDED if seed else ()
    return run(f"prompts-{seed}", "--claims-model", "planted", "--claims-seed", str(seed), *less)


def of_weights(seed: int) -> Session:
    """A reference model with other random parts."""
    return run(f"weights-{seed}", "--claims-model", str(planted.directory(seed=seed)))


def of_random(seed: int) -> Session:
    """A randomly initialised model of the reference model's shape, which does nothing."""
    with tempfile.TemporaryDirectory(prefix="random-") as folder:
        directory = Path(folder) / f"random-{seed}"
        torch.manual_seed(seed)
        GPT2LMHeadModel(GPT2Config(**build.config())).save_pretrained(directory)
        tokenizer.save(directory, build.N_CTX)
        return run(f"random-{seed}", "--claims-model", str(directory), "--claims-prompts", "24")


KINDS = {
    "prompts": (of_prompts, PROMPT_SEEDS),
    "weights": (of_weights, WEIGHT_SEEDS),
    "random": (of_random, RANDOM_SEEDS),
}


def runs_of(kind: str) -> dict[int, Session]:
    """The kept runs of a kind, by seed."""
    found = {seed: kept(f"{kind}-{seed}") for seed in KINDS[kind][1]}
    return {seed: session for seed, session in found.items() if session}


def failing(session: Session) -> list[str]:
    """Claims that do not hold."""
    return [short(claim) for claim in session.claims if claim.outcome != "passed"]


def closeness(figure: Measurement, spread: float) -> float:
    """How far the measured value is inside its band, in half-widths of its interval.

    Below 1 what has an interval is inconclusive. spread: the half-width of what has none.
    """
    band, arm = figure.published.accept, (figure.high - figure.low) / 2 or spread
    inside = min(figure.value - band.low, band.high - figure.value)
    return inside / arm if arm else math.copysign(math.inf, inside)


def page(runs: Mapping[str, Mapping[int, Session]], random: Mapping[int, Session]) -> str:
    """The whole of FALSE_ALARMS.md, from the runs on `planted` of each kind, and those on models that do nothing."""
    everything = [session for sessions in runs.values() for session in sessions.values()]
    failed = share(torch.tensor([bool(failing(session)) for session in everything]))
    positive = [not_of_absence(session) for session in random.values()]
    first = everything[0]
    lines = [
        "# False alarms",
        "",
        f"On {first.subjects[0].device}, torch "
        f"{first.versions['torch']}, transformer-lens {first.versions['transformer-lens']}; sources {sources()}. "
        f"Each run asks up to {first.subjects[0].prompts} prompts (looks: {first.looks}).",
        "",
        "| runs on `planted` | number | with a claim that does not hold | which |",
        "|---|---|---|---|",
        *(
            f"| {kind} | {len(sessions)} | {sum(map(bool, map(failing, sessions.values())))} | "
            f"{'; '.join(f'{test} (seed {seed})' for seed in sessions for test in failing(sessions[seed])) or 'none'} |"
            for kind, sessions in runs.items()
        ),
        "",
        f"Share of failing runs: {failed.value:.3f}, 95% interval {failed.low:.3f} to {failed.high:.3f}. Seeds of "
        f"prompts after the first leave out {', '.join(UNSEEDED)}, whose figures no seed changes. Seeds of weights "
        f"before {WEIGHT_SEEDS.start} served to settle the reference model, so none of them is counted.",
        "",
        f"## The {CLOSEST} closest",
        "",
        "Of each figure the run in which it came closest to an end of its band, in half-widths of its interval: below "
        "1 is inconclusive, below 0 is outside. Where a figure has no interval, twice the standard deviation of "
        "its different values is taken.",
        "",
        "| claim | figure | half-widths | run | measured | accepted |",
        "|---|---|---|---|---|---|",
        *closest(runs),
        "",
        "## Randomly initialised models",
        "",
        f"{len(random)} models, 24 prompts each. Claims that something is there: {max(map(len, positive), default=0)}, "
        f"of which passed at least once: {'; '.join(sorted(passed(positive))) or 'none'}.",
    ]
    return "\n".join(lines) + "\n"


def closest(runs: Mapping[str, Mapping[int, Session]]) -> Iterator[str]:
    """The rows of that table."""
    found: dict[tuple[str, str], list[tuple[str, Measurement]]] = defaultdict(list)
    for kind, sessions in runs.items():
        for seed, session in sessions.items():
            for figure in (figure for claim in session.claims for figure in claim.measurements):
                found[short(figure), figure.label].append((f"{kind}, seed {seed}", figure))
    worst = []
    for (test, label), figures in found.items():
        spread = 2 * float(np.std(list({figure.value for _, figure in figures})))  # few seeds change what is exact
        close, where, figure = min(((closeness(one, spread), run, one) for run, one in figures), key=itemgetter(0))
        worst.append((close, test, label, where, figure))
    for close, test, label, where, figure in sorted(worst, key=itemgetter(0))[:CLOSEST]:
        yield f"| {test} | {label} | {close:.2f} | {where} | {measured(figure)} | {figure.published.accept} |"


def not_of_absence(session: Session) -> dict[str, str]:
    """Outcomes of the claims that something is there: no control, and none that something is weak or does nothing."""
    return {
        short(claim): claim.outcome
        for claim in session.claims
        if not is_control(claim) and not any(word in claim.test for word in OF_ABSENCE)
    }


def passed(outcomes: list[dict[str, str]]) -> set[str]:
    """Claims that passed in any run."""
    return {test for run in outcomes for test, outcome in run.items() if outcome == "passed"}


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--threads", type=int, default=torch.get_num_threads(), help="torch threads")
    parser.add_argument("--only", nargs="*", choices=list(KINDS), default=list(KINDS), help="make runs of these kinds")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    for kind in options.only:
        make, seeds = KINDS[kind]
        for seed in seeds:
            session = kept(f"{kind}-{seed}") or make(seed)
            print(f"{kind} {seed}: {session.seconds:.0f} s, {len(failing(session))} do not hold", flush=True)
    runs = {kind: runs_of(kind) for kind in KINDS}
    random = runs.pop("random")
    if not runs["prompts"]:
        raise SystemExit("no run over seeds of prompts is kept: make some with --only prompts")
    evidence.write(NAME, page(runs, random), command="make false-alarms", of="claims about the model")


if __name__ == "__main__":
    main()
