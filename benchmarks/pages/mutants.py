"""Which claims fail on each broken copy of the reference model, and where something else is spoilt? `make mutants`
writes docs/evidence/MUTANTS.md and the record.

A claim that no mutant fails may be one that cannot fail; a mutant that its own family passes is a mechanism that nobody
checks. The record, ioi_fixtures/pytest_fixtures/mutants.json, is what the report shows. The runs are kept: see runs.py.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Mapping

import pytest
from pydantic import TypeAdapter

from benchmarks.pages import evidence
from benchmarks.pages.evidence import ABOUT_TOOLS
from benchmarks.pages.runs import in_short, run, short
from benchmarks.pages.spoilt import SOURCES, SPOILT
from ioi_fixtures import planted
from ioi_fixtures.planted import CONTROL, MUTANTS
from ioi_fixtures.planted.broken import broken_design
from ioi_fixtures.pytest_fixtures.outline import HEADINGS, KILLS
from ioi_fixtures.pytest_fixtures.shares import NOT_JUDGED
from lib.judging.measurements import Mutant, Session
from lib.judging.verdicts import of_any_subject, standing

NAME = "MUTANTS.md"
PROMPTS = 24


def failing(session: Session) -> list[str]:
    """Claims that fail, by their names without the subject. An inconclusive one has not failed, and a share where the
    model does not do the task was not judged: that it can fail is shown where there is something to have a share of."""
    failed = [claim for claim in session.claims if standing(claim) in ("fails", "error")]
    return [of_any_subject(claim) for claim in failed if NOT_JUDGED not in claim.reason]


def measure() -> tuple[Session, dict[str, Session]]:
    """The run of the intact model, of each mutant, and of the intact model where something else is spoilt. What holds
    of any model is not asked of the mutants."""
    intact = _ask("intact", "planted")
    broken = {}
    for name in MUTANTS:
        directory = planted.directory(broken=name)
        broken[name] = _ask(directory.name, str(directory), f"--ignore={evidence.ROOT / 'claims' / ABOUT_TOOLS}")
    for name, spoilt in SPOILT.items():
        with pytest.MonkeyPatch.context() as patch:
            spoilt.spoil(patch)
            broken[name] = _ask(f"{name}-{digest(name)}", "planted")
    return intact, broken


def _ask(name: str, model: str, *less: str) -> Session:
    session = run(f"{name}-{PROMPTS}", "--claims-model", model, "--claims-prompts", str(PROMPTS), *less)
    print(f"{name}: {len(failing(session))} claims fail", flush=True)
    return session


def digest(name: str) -> str:
    """Of what was changed: the design of a mutant, or the code that spoils something."""
    if name in MUTANTS:
        changed = broken_design(name).text().encode()
    else:
        changed = b"".join(path.read_bytes() for path in SOURCES)
    return hashlib.sha256(changed).hexdigest()[:16]


def record(broken: Mapping[str, Session]) -> list[Mutant]:
    """What each mutant is, and the claims that fail on it."""
    known = {**MUTANTS, **SPOILT}
    return [
        Mutant(name=name, says=known[name].says, family=known[name].family, kills=failing(run), digest=digest(name))
        for name, run in broken.items()
    ]


def page(intact: Session, broken: Mapping[str, Session], mutants: list[Mutant]) -> str:
    """The whole of MUTANTS.md."""
    files = [file for file in HEADINGS if any(file in of_any_subject(claim) for claim in intact.claims)]
    killed = Counter(claim for mutant in mutants for claim in mutant.kills)
    never = [claim for claim in intact.claims if not killed[of_any_subject(claim)]]
    of_models = [claim for claim in never if ABOUT_TOOLS not in claim.test]
    lines = [
        "# Broken copies of the reference model, and the claims they fail",
        "",
        f"`planted` with one mechanism broken, or as it is with something else spoilt; {PROMPTS} prompts, one look. A "
        "claim counts where it fails outright; inconclusive ones do not, nor do shares of a logit difference that is "
        f"not above zero: those are not judged. {ABOUT_TOOLS}, whose claims hold of any model, is not asked of "
        f"mutants. On the intact model {len(failing(intact))} of {len(intact.claims)} fail.",
        "",
        "## Claims that fail, by family",
        "",
        "In bold the family that names the mechanism.",
        "",
        f"| broken | logit difference | {' | '.join(HEADINGS[file] for file in files)} |",
        f"|---|---|{'---|' * len(files)}",
        *(f"| {row(mutant, files, difference(broken[mutant.name]))} |" for mutant in mutants),
        "",
        "## Which",
        "",
        *(f"- **{one.name}**: {one.says} {', '.join(map(in_short, one.kills)) or 'Nothing fails.'}" for one in mutants),
        "",
        f"## Claims that no mutant fails: {len(of_models)}",
        "",
        f"And {len(never) - len(of_models)} of {ABOUT_TOOLS}, which hold of any model: [INCIDENTS.md](INCIDENTS.md) "
        "says what fails them.",
        "",
        *(f"- {short(claim)}: {claim.sentence}" for claim in of_models),
    ]
    return "\n".join(lines) + "\n"


def row(mutant: Mutant, files: list[str], difference: float) -> str:
    """One line of the matrix."""
    counts = Counter(claim.partition("::")[0] for claim in mutant.kills)
    cells = [f"**{counts[file]}**" if file == mutant.family else str(counts[file] or "") for file in files]
    return " | ".join([f"{mutant.name}: {mutant.says}", f"{difference:.2f}", *cells])


def difference(session: Session) -> float:
    """The logit difference that a run measured."""
    figures = [figure for claim in session.claims for figure in claim.measurements]
    return next(figure.value for figure in figures if figure.label == "logit difference")


def survivors(mutants: list[Mutant]) -> list[str]:
    """Mutants that no claim of their family fails, and the control where one does."""
    alive = [one.name for one in mutants if one.name != CONTROL and not any(one.family in kill for kill in one.kills)]
    return alive + [one.name for one in mutants if one.name == CONTROL and one.kills]


def main() -> None:
    """Runs what is not kept, writes page and record, and exits with 1 where a mutant survives."""
    intact, broken = measure()
    mutants = record(broken)
    evidence.write(NAME, page(intact, broken, mutants), command="make mutants", of="claims about the model")
    KILLS.write_bytes(TypeAdapter(list[Mutant]).dump_json(mutants, indent=1) + b"\n")
    print(f"written: {KILLS}")
    alive = survivors(mutants)
    if alive:
        raise SystemExit(f"survived: {', '.join(alive)}")


if __name__ == "__main__":
    main()
