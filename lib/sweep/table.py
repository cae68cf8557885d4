"""From the runs of a sweep to its records: rows, curves, roles, and what changed between neighbours."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from typing import NamedTuple

import torch

from lib.judging.baselines import compare
from lib.judging.drawings import HeadMap
from lib.judging.measurements import Claim, Measurement, Session
from lib.judging.statistics import mean_over_prompts
from lib.judging.verdicts import figures_worst_first, file_of, in_reading_order, is_control, of_any_subject, standing
from lib.reports.drift_words import drift_sentence, largest_first
from lib.reports.html_report import link_to
from lib.sweep.plan import FIRST, Asked
from lib.sweep.records import Cell, Column, Curve, Drift, Figure, Lead, Point, Role, Row, Step, Sweep
from lib.sweep.results import Outcome

HEAD = re.compile(r"(?:^| )\d+\.\d+$")
COLUMNS = ("model", "line", "step", "claim", "control", "standing", "label", "reference", "value", "low", "high", "n")


class Ran(NamedTuple):
    """A model, how its run came out, and what it measured; None where it did not."""

    asked: Asked
    outcome: Outcome | None
    session: Session | None


def sweep_of(runs: Sequence[Ran], *, against: str, curves: Mapping[str, Sequence[str]]) -> Sweep:
    """The records of runs that stand line by line, in order of step.

    against: "first", a model's name, or empty. curves: titles, each with the ids of the figures that it shows.
    """
    ran = [run for run in runs if run.session]
    return Sweep(
        columns=list(map(_column, runs)),
        rows=_rows(ran),
        curves=list(_curves(ran, curves)),
        roles=list(_roles(ran)),
        steps=[_step(old, new) for old, new in pairwise(ran) if old.asked.line == new.asked.line],
        drift=list(_drift(ran, against)),
    )


def as_csv(sweep: Sweep) -> str:
    """One line a figure, for people's own plots."""
    models, file = {one.name: one for one in sweep.columns}, io.StringIO()
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(COLUMNS)
    for row in sweep.rows:
        for name, cell in row.cells.items():
            where = (name, models[name].line, "" if models[name].step is None else models[name].step)
            for one in cell.figures or [None]:
                figure = (one.label, one.reference, one.value, one.low, one.high, one.n) if one else [""] * 6
                writer.writerow((*where, row.claim, row.is_control, cell.standing, *figure))
    return file.getvalue()


def part_of(claim: str) -> str:
    """A claim with all others of its class: its name without the head at its end."""
    name, bracket, asked = claim.partition("[")
    return f"{name}{bracket}{HEAD.sub('', asked.removesuffix(']'))}{']' if bracket else ''}"


def _column(run: Ran) -> Column:
    asked, outcome, session = run
    [subject] = session.subjects or [None] if session else [None]
    return Column(
        name=asked.name,
        source=asked.source,
        line=asked.line,
        step=asked.step,
        kind=outcome.kind if outcome else "missing",
        message=outcome.message if outcome else "",
        report=f"runs/{asked.name}/claims.html" if session else "",
        circuit=subject.circuit_file.sha256 if subject and subject.circuit_file else "",
        weights_hash=subject.weights_hash if subject else "",
        started=outcome.started if outcome else "",
        seconds=outcome.seconds if outcome else 0,
        peak_bytes=outcome.peak_bytes if outcome else 0,
    )


def _rows(ran: Sequence[Ran]) -> list[Row]:
    """Claims family by family, in the order in which the first run that asked them did."""
    found: dict[str, tuple[Claim, Session, dict[str, Cell]]] = {}
    for run in ran:
        for claim in in_reading_order(run.session, run.session.claims):
            name = of_any_subject(claim)
            found.setdefault(name, (claim, run.session, {}))[2][run.asked.name] = _cell(claim)
    order = {file: i for i, file in enumerate(dict.fromkeys(f for run in ran for f in run.session.families))}
    rows = [
        Row(
            claim=name,
            heading=session.families.get(file_of(claim), file_of(claim)),
            sentence=claim.sentence,
            is_control=is_control(claim),
            cells=cells,
        )
        for name, (claim, session, cells) in found.items()
    ]
    return sorted(rows, key=lambda row: order.get(row.claim.partition("::")[0], len(order)))


def _cell(claim: Claim) -> Cell:
    figures = [
        Figure(label=one.label, reference=one.published.id, value=one.value, low=one.low, high=one.high, n=one.n)
        for one in figures_worst_first(claim)
    ]
    return Cell(standing=standing(claim), address=link_to(claim), figures=figures)


def _curves(ran: Sequence[Ran], curves: Mapping[str, Sequence[str]]) -> Iterator[Curve]:
    """A curve a title, and a class of heads where a claim is asked of several."""
    for title, ids in curves.items():
        lines: dict[str, dict[str, list[Point]]] = {}
        for run in ran:
            for of, figures in _by_class(run.session, ids).items():
                line = lines.setdefault(of, {}).setdefault(run.asked.line, [])
                line.append(_point(run.asked.name, figures))
        for of, found in sorted(lines.items()):
            yield Curve(title=f"{title}: {of}" if of else title, lines=found)


def _by_class(session: Session, ids: Sequence[str]) -> dict[str, list[Measurement]]:
    """The figures of some references, by what their claims are asked of: a class, or nothing."""
    found: dict[str, list[Measurement]] = {}
    for claim in session.claims:
        of = part_of(of_any_subject(claim)).partition("[")[2].removesuffix("]")
        for one in claim.measurements:
            if one.published.id in ids:
                found.setdefault(of, []).append(one)
    return found


def _point(model: str, figures: Sequence[Measurement]) -> Point:
    """Their mean, with its own interval where they are of the same prompts; else without one."""
    one = figures[0]
    lengths = {len(figure.per_prompt) for figure in figures}
    if len(figures) == 1:
        ends = one.value, one.low, one.high
    elif len(lengths) == 1 and 0 not in lengths:
        by_prompt = torch.tensor([figure.per_prompt for figure in figures], dtype=torch.float64)
        mean = mean_over_prompts(by_prompt.mean(0))
        ends = mean.value, mean.low, mean.high
    else:
        ends = (sum(figure.value for figure in figures) / len(figures),) * 3
    return Point(model=model, value=ends[0], low=ends[1], high=ends[2], n=one.n)


def _roles(ran: Sequence[Ran]) -> Iterator[Role]:
    """Who leads on every map of heads, and who does the opposite most where some do."""
    maps = {run.asked.name: _maps(run.session) for run in ran}
    titles = {(title, one.unit): None for found in maps.values() for title, one in found.items()}
    for title, unit in titles:
        of_it = {name: _heads(found[title]) for name, found in maps.items() if title in found}
        yield Role(title=title, unit=unit, leads={name: max(heads, key=_value) for name, heads in of_it.items()})
        least = {name: min(heads, key=_value) for name, heads in of_it.items()}
        if any(lead.value < 0 for lead in least.values()):
            yield Role(title=f"{title}, the lowest", unit=unit, leads=least)


def _maps(session: Session) -> dict[str, HeadMap]:
    return {one.drawing.title: one.drawing for one in session.drawings if isinstance(one.drawing, HeadMap)}


def _heads(drawn: HeadMap) -> list[Lead]:
    return [
        Lead(head=f"{layer}.{index}", value=value)
        for layer, row in enumerate(drawn.values, drawn.first_layer)
        for index, value in enumerate(row)
    ]


def _value(lead: Lead) -> float:
    return lead.value


def _step(old: Ran, new: Ran) -> Step:
    found = compare(old.session, new.session, name=old.asked.name)
    return Step(
        old=old.asked.name,
        new=new.asked.name,
        compared=len(found.compared),
        changes=[change for change in largest_first(found) if change.drifted],
        flips=found.flips,
    )


def _drift(ran: Sequence[Ran], against: str) -> Iterator[Drift]:
    """Every model against the first of its line, or against the one that is named."""
    for run in ran if against else ():
        of = [one for one in ran if (one.asked.line if against == FIRST else one.asked.name) == _held(run, against)]
        if of and of[0] is not run:
            found = compare(of[0].session, run.session, name=of[0].asked.name)
            says = drift_sentence(found)
            yield Drift(old=of[0].asked.name, new=run.asked.name, says=says, drifted=found.drifted)


def _held(run: Ran, against: str) -> str:
    return run.asked.line if against == FIRST else against
