"""A sweep as plain records with a schema: what every model was found to be, claim by claim. The page and the CSV are
views of it; what each model's own run measured, prompt by prompt, is in its own claims.json."""

from __future__ import annotations

from lib.judging.measurements import Change, Flip, Record
from lib.judging.verdicts import Standing

SCHEMA_VERSION = 1


class Column(Record):
    """One model."""

    name: str
    source: str
    line: str
    step: int | None  # of its training; None where its name says none
    kind: str  # "ran", why it did not, or "missing": lib/sweep/results.py
    message: str  # why it did not
    report: str  # its page, from this file's folder; empty where there is none
    circuit: str  # sha256 of the circuit file it was asked of; empty where it was asked of none
    weights_hash: str
    started: str
    seconds: float
    peak_bytes: int


class Figure(Record):
    """What one claim measured on one model."""

    label: str
    reference: str  # the id of what it was judged against
    value: float
    low: float
    high: float
    n: int


class Cell(Record):
    """One claim on one model: how it came out, and its figures, the worst first."""

    standing: Standing
    address: str  # where it is on that model's page
    figures: list[Figure]


class Row(Record):
    """One claim, whatever it was asked of."""

    claim: str  # as verdicts.of_any_subject names it
    heading: str  # of its family
    sentence: str
    is_control: bool
    cells: dict[str, Cell]  # by model


class Point(Record):
    """A figure of one model on a curve. Two heads of one class, and the like, are one point: their mean."""

    model: str
    value: float
    low: float
    high: float
    n: int


class Curve(Record):
    """A figure over training, a list of points a line."""

    title: str
    lines: dict[str, list[Point]]


class Lead(Record):
    """Which head has the most of something, or the least where that is below zero, and how much."""

    head: str
    value: float


class Role(Record):
    """What heads do, one value each, and who does it most in each model."""

    title: str
    unit: str
    leads: dict[str, Lead]  # by model


class Step(Record):
    """Two neighbours on a line, and what changed between them beyond what sampling explains."""

    old: str
    new: str
    compared: int  # figures
    changes: list[Change]  # those that changed, the largest of what is allowed first
    flips: list[Flip]


class Drift(Record):
    """A model against the one that all are held against."""

    old: str
    new: str
    says: str
    drifted: bool


class Sweep(Record):
    """All of it."""

    schema_version: int = SCHEMA_VERSION
    columns: list[Column]  # line by line, in order of step
    rows: list[Row]  # in the order of the report
    curves: list[Curve]
    roles: list[Role]
    steps: list[Step]
    drift: list[Drift]
