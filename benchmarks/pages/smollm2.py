"""A real language model under test: do its claims hold, how well, and can they fail? Writes docs/evidence/SMOLLM2.md.

Asked are the model as it is (with time and memory of the whole run), 30 seeds of other prompts, and copies in which one
thing is broken, each of which the claims that name the mechanism have to fail. The runs are kept (see runs.py), so the
program may be stopped and go on; the page is about those that there are. The exit status is 1 where one is missing, a
broken copy survives, the neutral one fails a claim, more than one seed does, or the whole run costs too much.
"""

from __future__ import annotations

import argparse
import hashlib
import sys
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

import torch

from benchmarks.pages import evidence
from benchmarks.pages.evidence import ABOUT_TOOLS
from benchmarks.pages.false_alarms import failing as not_holding
from benchmarks.pages.mutants import difference, failing
from benchmarks.pages.picture import take
from benchmarks.pages.runs import (
    FOLDER,
    ROOT,
    SEEDED,
    UNSEEDED,
    in_short,
    kept,
    measured,
    run,
    run_apart,
    short,
    sources,
)
from ioi_fixtures import smollm2
from ioi_fixtures.circuits.library import path_of
from ioi_fixtures.published import FOLDER as PUBLISHED
from ioi_fixtures.smollm2 import broken
from ioi_fixtures.smollm2.broken import BROKEN, NEUTRAL
from lib.judging.measurements import Session
from lib.judging.statistics import share
from lib.judging.verdicts import is_control, standing

NAME, RUN = "SMOLLM2.md", "smollm2"
PICTURE = evidence.FOLDER / "smollm2.png"
SEEDS = range(30)
OF_A_SEED = 400  # prompts at the most: a hundred leave claims about the weakest heads open on some
AGAIN = 1000  # prompts of a claim that those leave open, as the suite's message says: use more
PROMPTS = 24  # of a broken copy: one look
SPREAD = (NEUTRAL, "noise_doubled")  # in all weights: what moves all figures a little takes as many as the model itself
FIGURES = "test_circuit_file.py"
SECONDS, BYTES = 240, 6 * 10**9  # what a whole run may take, on two cores
MOST_ALARMS = 1
KINDS = ("seeds", "broken")


def whole() -> tuple[Session, int]:
    """`make real`, with the most memory it held."""
    return run_apart(RUN, "--claims-model", smollm2.NAME, "--claims-memory", "2GiB")


class Seed(NamedTuple):
    """The claims on one seed's prompts, and what those left open, on more."""

    first: Session
    again: Session | None = None  # where something was left open

    @property
    def left_open(self) -> list[str]:
        return [short(claim) for claim in self.first.claims if standing(claim) == "inconclusive"]

    @property
    def failing(self) -> list[str]:
        """What failed, and what does not hold when it is asked again."""
        held = {short(claim) for claim in self.again.claims if claim.outcome == "passed"} if self.again else set()
        return [name for name in not_holding(self.first) if name not in self.left_open or name not in held]


def of_seed(seed: int) -> Seed:
    """On other prompts. Claims whose figures the seed does not change, and copy scores, are left to the whole run."""
    asked = ("--claims-model", smollm2.NAME, "--claims-seed", str(seed))
    of_all = ("-k", "not copies and not copy", "--claims-prompts", str(OF_A_SEED), *SEEDED)
    first = Seed(run(f"{RUN}-prompts-{seed}", *asked, *of_all))
    if not first.left_open:
        return first
    names = " or ".join(sorted({f"test_{name.partition('[')[0]}" for name in first.left_open}))
    return first._replace(
        again=run(f"{RUN}-again-{seed}", *asked, "-k", names, "--claims-prompts", str(AGAIN), *SEEDED)
    )


def kept_seed(seed: int) -> Seed | None:
    """The same, if it has run."""
    first = kept(f"{RUN}-prompts-{seed}")
    return Seed(first, kept(f"{RUN}-again-{seed}")) if first else None


def of_broken(name: str) -> Session:
    """A broken copy, on few prompts; what is SPREAD on as many as the model itself."""
    more = () if name in SPREAD else ("--claims-prompts", str(PROMPTS))
    run_of_it = f"{RUN}-{name}"
    if not kept(run_of_it):
        with tempfile.TemporaryDirectory(prefix="broken-") as folder:
            asked = ("--claims-model", str(broken.write(name, Path(folder))), "--claims-circuit", smollm2.NAME)
            run(run_of_it, *asked, *more, f"--ignore={ROOT / 'claims' / ABOUT_TOOLS}")
    return kept(run_of_it)


def survived(name: str, session: Session) -> list[str]:
    """Beginnings of claims that name what is broken, where none fails; of the neutral copy, what does not hold."""
    failed = _failed(name, session)
    if name == NEUTRAL:
        return failed
    return [named for named in BROKEN[name].named if not any(one.startswith(named) for one in failed)]


def stated() -> str:
    """A digest of what is claimed and accepted: the circuit file, the accepted bands, and the claims about it."""
    files = (path_of(Path(smollm2.NAME)), PUBLISHED / "circuit_file.toml", ROOT / "claims" / FIGURES)
    return hashlib.sha256(b"".join(path.read_bytes() for path in files)).hexdigest()[:12]


def problems(whole: Session, peak: int, seeds: Mapping[int, Seed], copies: Mapping[str, Session]) -> list[str]:
    """What must not be."""
    wrong = [f"does not hold: {name}" for name in not_holding(whole)]
    if whole.seconds > SECONDS:
        wrong.append(f"the whole run took {whole.seconds:.0f} s, of {SECONDS} s")
    if peak > BYTES:
        wrong.append(f"the whole run held {peak / 1e9:.1f} GB, of {BYTES / 1e9:.0f} GB")
    if len(seeds) < len(SEEDS):
        wrong.append(f"{len(seeds)} of {len(SEEDS)} seeds were asked")
    alarms = [seed for seed, one in seeds.items() if one.failing]
    if len(alarms) > MOST_ALARMS:
        wrong.append(f"{len(alarms)} of {len(seeds)} seeds fail: {', '.join(map(str, alarms))}")
    wrong += [f"{name} was not asked" for name in BROKEN if name not in copies]
    return wrong + [f"{name}: {one or 'nothing'}" for name, run in copies.items() for one in survived(name, run)]


def page(whole: Session, peak: int, seeds: Mapping[int, Seed], copies: Mapping[str, Session]) -> str:
    """The whole of SMOLLM2.md."""
    one, controls = whole.subjects[0], sum(map(is_control, whole.claims))
    held = len(whole.claims) - len(not_holding(whole))
    lines = [
        "# SmolLM2-135M-Instruct, in 4 bits a weight: its circuit's claims, and copies they fail",
        "",
        f"Weights {one.weights_hash[:12]}; claims stated by {stated()} (circuit.toml, its bands and {FIGURES}). On "
        f"{one.device}, {one.dtype}, torch {whole.versions['torch']}, transformer-lens "
        f"{whole.versions['transformer-lens']}.",
        "",
        f"**`make real`:** {held} of {len(whole.claims)} hold, {controls} of which are controls, on up to "
        f"{one.prompts} prompts (looks: {whole.looks}), in {whole.seconds:.0f} s and {peak / 1e9:.1f} GB at the most.",
        "",
        f"![The first screen of its report]({PICTURE.name})",
        "",
        f"## {len(seeds)} seeds of prompts",
        "",
        *of_seeds(seeds),
        "",
        "## Broken copies",
        "",
        f"{PROMPTS} prompts, one look, and a claim counts where it fails outright. {' and '.join(SPREAD)}, which "
        "change all weights a little, are asked as the model itself is, and every claim counts that does not hold.",
        "",
        "| broken | logit difference | claims that fail | of those that name it |",
        "|---|---|---|---|",
        *(of_copy(name, session) for name, session in copies.items()),
        "",
        *(f"- **{name}**: {', '.join(_failed(name, session)) or 'nothing fails.'}" for name, session in copies.items()),
        "",
        "## Figures of that run",
        "",
        "| claim | figure | measured | accepted |",
        "|---|---|---|---|",
        *figures(whole),
        "",
        "## What must not be",
        "",
        *(f"- {line}" for line in problems(whole, peak, seeds, copies) or ["nothing"]),
    ]
    return "\n".join(lines) + "\n"


def of_seeds(seeds: Mapping[int, Seed]) -> Iterator[str]:
    """Which seeds fail what."""
    if not seeds:
        yield "None was asked yet."
        return
    failed = {seed: one.failing for seed, one in seeds.items() if one.failing}
    rate = share(torch.tensor([seed in failed for seed in seeds]))
    asked = len(next(iter(seeds.values())).first.claims)
    again = {seed: one for seed, one in seeds.items() if one.left_open}
    yield (
        f"{asked} claims each, on up to {OF_A_SEED} prompts: not those of {', '.join(UNSEEDED)}, nor copy scores, "
        "whose figures no seed changes. What was left open was asked again on "
        f"{AGAIN:,} prompts: of {len(again)} seeds."
    )
    interval = f"{rate.value:.2f}, 95% interval {rate.low:.2f} to {rate.high:.2f}"
    yield f"Failing runs: {len(failed)} of {len(seeds)} ({interval})."
    yield from ("", *(f"- seed {seed}: {', '.join(names)}" for seed, names in failed.items()))
    yield from (f"- seed {seed}, open at first: {', '.join(one.left_open)}" for seed, one in again.items())


def _failed(name: str, session: Session) -> list[str]:
    return not_holding(session) if name in SPREAD else [in_short(claim) for claim in failing(session)]


def of_copy(name: str, session: Session) -> str:
    """A row of the table of broken copies."""
    failed, named = _failed(name, session), BROKEN[name].named
    of_it = sum(any(claim.startswith(one) for one in named) for claim in failed) if named else ""
    return f"| {name}: {BROKEN[name].says} | {difference(session):.2f} | {len(failed)} | {of_it} |"


def figures(whole: Session) -> Iterator[str]:
    """What was measured of the task and of everything that the circuit file states."""
    for claim in whole.claims:
        if FIGURES in claim.test or "behaviour" in claim.test:
            for one in claim.measurements:
                yield f"| {short(claim)} | {one.label} | {measured(one)} | {one.published.accept} |"


def main() -> int:
    """The exit status."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", nargs="*", choices=KINDS, default=KINDS, help="make the whole run and these, or none")
    asked = parser.parse_args()
    as_it_is, peak = whole()
    print(f"whole: {as_it_is.seconds:.0f} s, {peak / 1e9:.1f} GB, {not_holding(as_it_is)} do not hold", flush=True)
    for name in BROKEN if "broken" in asked.only else ():
        session = of_broken(name)
        print(f"{name}: {len(_failed(name, session))} fail; unseen: {survived(name, session)}", flush=True)
    for seed in SEEDS if "seeds" in asked.only else ():
        one = of_seed(seed)
        print(f"seed {seed}: {one.first.seconds:.0f} s, open {one.left_open}, failing {one.failing}", flush=True)
    seeds = {seed: one for seed in SEEDS if (one := kept_seed(seed))}
    copies = {name: session for name in BROKEN if (session := kept(f"{RUN}-{name}"))}
    take(FOLDER / sources() / RUN / "claims.html", PICTURE)
    evidence.write(NAME, page(as_it_is, peak, seeds, copies), command="make real-evidence", of="other things")
    wrong = problems(as_it_is, peak, seeds, copies)
    print("\n".join(wrong) or "every broken copy is caught, and the seeds hold")
    return bool(wrong)


if __name__ == "__main__":
    sys.exit(main())
