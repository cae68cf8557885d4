"""What machines.py found under every setting, as docs/evidence/MACHINES.md, and what of it must not be.

Room is how many times further a deviation could be before something fails: what is allowed over what was found.
"""

from __future__ import annotations

import json
import math
import xml.etree.ElementTree as ElementTree
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import torch

from benchmarks.bench import machine
from benchmarks.pages import evidence
from ioi_fixtures.pytest_fixtures.outline import HEADINGS
from lib.judging.baselines import ROUNDING, compare
from lib.judging.measurements import Comparison, Measurement, Session
from lib.judging.verdicts import standing

NAME = "MACHINES.md"
LEAST = 5  # times
DEVIATION = "deviation"  # as tests/support/rounding.py calls it in a test's report


class Deviation(NamedTuple):
    """How far something moved, and how far it may."""

    found: float
    allowed: float

    @property
    def room(self) -> float:
        """Infinite where nothing moved."""
        return self.allowed / self.found if self.found else math.inf


class Outcome(NamedTuple):
    """What was run under a setting."""

    tests: dict[str, Deviation]  # by file, the one with the least room
    failed: list[str]
    planted: Session
    trained: Session | None


Outcomes = Mapping[str, Outcome]  # by setting


def tightest(found: Iterable[tuple[str, Deviation]]) -> dict[str, Deviation]:
    """Of each family the deviation with the least room."""
    least: dict[str, Deviation] = {}
    for family, one in found:
        least[family] = min(one, least.get(family, one), key=lambda either: either.room)
    return least


def deviations(report: Path) -> dict[str, Deviation]:
    """From a JUnit file, for each file of tests the deviation with the least room."""
    return tightest(
        (case.get("classname").rpartition(".")[2], Deviation(*json.loads(given.get("value"))))
        for case in ElementTree.parse(report).iter("testcase")
        for given in case.iter("property")
        if given.get("name") == DEVIATION
    )


def failed(report: Path) -> list[str]:
    """The tests of a JUnit file that did not pass."""
    cases = ElementTree.parse(report).iter("testcase")
    return [case.get("name") for case in cases if {"failure", "error"} & {child.tag for child in case}]


def bands(session: Session) -> dict[str, Deviation]:
    """For each reference about rounding itself, the figure that is nearest to the end of its band."""
    figures = (figure for claim in session.claims for figure in claim.measurements)
    return tightest((figure.published.id, _of_band(figure)) for figure in figures if figure.published.rounding)


def _of_band(figure: Measurement) -> Deviation:
    """A band that begins somewhere asks for much: there the room is how many times more there is than asked."""
    band = figure.published.accept
    return Deviation(figure.value, band.below) if band.above is None else Deviation(band.above, figure.value)


def drifts(comparison: Comparison) -> dict[str, Deviation]:
    """For each family of claims, the figure held to rounding that uses most of what it is allowed."""
    return tightest(
        (_family(change.test), Deviation(abs(change.difference), change.allowed))
        for change in comparison.changes
        if change.rule == "rounding"
    )


def _family(test: str) -> str:
    file = test.partition("::")[0].rpartition("/")[2]
    return HEADINGS.get(file, file)


def by_family(outcome: Outcome, kept: Session) -> dict[tuple[str, str], Deviation]:
    """(what is compared with what, family) -> the deviation with the least room."""
    comparison = compare(kept, outcome.planted, name="kept")
    kinds = {"tests": outcome.tests, "bands": bands(outcome.planted), "drift": drifts(comparison)}
    return {(kind, family): found for kind, families in kinds.items() for family, found in families.items()}


def problems(outcomes: Outcomes, kept: Session, *, least: float = LEAST) -> list[str]:
    """What must not be, a line each. least: times of room."""
    return [problem for name, found in outcomes.items() for problem in _problems(name, found, kept, least)]


def least_room(outcomes: Outcomes, kept: Session) -> str:
    """Where under any setting the least room is left, in words."""
    rooms = ((one, key) for found in outcomes.values() for key, one in by_family(found, kept).items())
    one, (kind, family) = min(rooms, key=lambda pair: pair[0].room)
    return f"the least room is {one.room:.3g} times ({kind}, {family})"


def _problems(name: str, found: Outcome, kept: Session, least: float) -> Iterator[str]:
    yield from (f"{name}: {test} failed" for test in found.failed)
    comparison = compare(kept, found.planted, name="kept")
    yield from (f"{name}: {flip.sentence} {flip.old} -> {flip.new}" for flip in comparison.flips)
    yield from (f"{name}: {one.label} drifted by {one.difference:.3g}" for one in comparison.changes if one.drifted)
    for (kind, family), one in by_family(found, kept).items():
        if one.room < least:
            yield f"{name}: {kind}, {family}: {one.found:.3g} of {one.allowed:.3g}, {one.room:.2g} times room"


def other_verdicts(session: Session, like: Session) -> int:
    """How many claims come out otherwise than in another run."""
    expected = {claim.test: standing(claim) for claim in like.claims}
    return sum(standing(claim) != expected.get(claim.test) for claim in session.claims)


def moved(sessions: Mapping[str, Session]) -> tuple[float, str]:
    """How far a figure or prompt x is moved between any setting and the first, as a share of 1 + |x|; which figure."""
    first, *others = sessions.values()
    largest = (0.0, "")
    for other in others:
        for change in compare(first, other, name="first").changes:
            if change.rule == "rounding":
                unit = ROUNDING[other.subjects[0].dtype]
                largest = max(largest, (abs(change.difference) * unit / change.allowed, change.label))
    return largest


def write(
    tried: Outcomes,
    ignored: Sequence[str],
    left_out: Sequence[str],
    kept: Session,
    types: Mapping[str, Mapping[str, Session]],
    hashes: set[str],
) -> list[str]:
    """Write the page; return what must not be."""
    wrong = problems(tried, kept)
    if len(hashes) != 1:
        wrong.append(f"the reference model has {len(hashes)} different hashes")
    first = next(iter(tried.values()))
    for name, found in tried.items():
        if other := other_verdicts(found.trained, first.trained):
            wrong.append(f"{name}: {other} claims about the trained model come out otherwise")
    types = {"float32": {name: found.planted for name, found in tried.items()}, **types}
    measured = {dtype: moved(sessions) for dtype, sessions in types.items()}
    for dtype, (share, label) in measured.items():
        if share * LEAST > ROUNDING[dtype]:
            wrong.append(f"{dtype}: {label} moved by {share:.2g} (1 + |x|), of {ROUNDING[dtype]:.2g}")
    lines = [*_head(tried, ignored, left_out, first, hashes), *_settings(tried, kept, first), *_families(tried, kept)]
    lines += [*_types(types, measured), *_wrong(wrong)]
    evidence.write(NAME, "\n".join(lines) + "\n", command="make machines", session=first.planted)
    return wrong


def _head(
    tried: Outcomes, ignored: Sequence[str], left_out: Sequence[str], first: Outcome, hashes: set[str]
) -> Iterator[str]:
    yield from ("# On other processors", "")
    yield "The tests of routes and instruments, the claims on the reference model"
    yield "against the kept baseline, and the claims on the trained model, under settings by which one machine"
    yield f"imitates others. Room is what is allowed over what was found; {LEAST} times is asked for."
    yield from ("", f"{machine(torch.device('cpu'))}; kernels {torch.backends.cpu.get_cpu_capability()}.", "")
    yield f"Tried: {len(tried)} settings. Not tried, since this processor ignores them or does so anyway (not one bit"
    yield f"of a probe differs), or does not know such instructions: {', '.join(ignored) or 'none'}."
    if left_out:
        yield f"Not tried for want of time: {', '.join(left_out)}."
    yield ""
    yield f"The reference model was built anew under each: {len(hashes)} hash, {', '.join(sorted(hashes))[:12]}…"
    yield f"{len(first.planted.claims)} claims on it, {len(first.trained.claims)} on the trained model."


def _settings(tried: Outcomes, kept: Session, first: Outcome) -> Iterator[str]:
    yield from ("", "## By setting", "")
    yield "| setting | tests failed | drifted | other verdicts | other verdicts, trained | least room | of |"
    yield "|---" * 7 + "|"
    for name, found in tried.items():
        comparison = compare(kept, found.planted, name="kept")
        (kind, family), least = min(by_family(found, kept).items(), key=lambda item: item[1].room)
        drifted = sum(change.drifted for change in comparison.changes)
        counts = f"{len(found.failed)} | {drifted} | {len(comparison.flips)}"
        trained = other_verdicts(found.trained, first.trained)
        yield f"| `{name}` | {counts} | {trained} | {least.room:.3g} | {kind}, {family} |"


def _families(tried: Outcomes, kept: Session) -> Iterator[str]:
    yield from ("", "## By family", "", "The largest deviation under any setting. `tests`: two computations of one")
    yield "result; `bands`: a figure that is rounding itself, in its band; `drift`: a figure against the kept one."
    yield from ("", "| | family | largest deviation | allowed | room | under |", "|---" * 6 + "|")
    least: dict[tuple[str, str], tuple[Deviation, str]] = {}
    for name, found in tried.items():
        for key, one in by_family(found, kept).items():
            least[key] = min((one, name), least.get(key, (one, name)), key=lambda pair: pair[0].room)
    for (kind, family), (one, name) in least.items():
        room = "∞" if math.isinf(one.room) else f"{one.room:.3g}"
        yield f"| {kind} | {family} | {one.found:.2g} | {one.allowed:.2g} | {room} | `{name}` |"


def _types(types: Mapping[str, Mapping[str, Session]], measured: Mapping[str, tuple[float, str]]) -> Iterator[str]:
    yield from ("", "## What drift allows as rounding", "")
    yield "How far a prompt's or a figure's number x was moved by any setting, as a share of 1 + |x|, and what"
    yield from ("`ROUNDING` in baselines.py allows.", "")
    yield from ("| number type | model | settings | claims | moved by | figure | allowed | room |", "|---" * 8 + "|")
    for dtype, (share, label) in measured.items():
        room = "∞" if not share else f"{ROUNDING[dtype] / share:.3g}"
        one = next(iter(types[dtype].values()))
        asked = f"{one.subjects[0].name} | {len(types[dtype])} | {len(one.claims)}"
        yield f"| {dtype} | {asked} | {share:.2g} | {label} | {ROUNDING[dtype]:.2g} | {room} |"


def _wrong(wrong: Sequence[str]) -> Iterator[str]:
    yield from ("", "## What must not be", "", *(f"- {line}" for line in wrong or ["nothing"]))
