"""What a session measured, as plain records with a schema: the one list that every renderer reads.

The JSON file is the master copy; the HTML report and the terminal summary are views of it.
"""

from __future__ import annotations

import re
from typing import Literal

from pydantic import BaseModel, ConfigDict

from lib.judging.drawings import Drawing
from lib.judging.references import Band, Reference, Verdict
from lib.judging.statistics import Estimate

SCHEMA_VERSION = 5
# 2 lacks Published.rounding, which is false where it is not said; 3 the outcome "inconclusive", which it never has; 4
# says nothing of files, of what a subject is and of what was there instead.
READABLE = (2, 3, 4, 5)
Rule = Literal["rounding", "paired", "unpaired", "not comparable", "band alone"]  # see lib/judging/baselines.py
NOT_COMPARED: tuple[Rule, ...] = ("not comparable", "band alone")
PER_PROMPT_DIGITS = 6  # significant: a float32 holds 7


class Record(BaseModel):
    """Immutable, and strict about unknown keys: a reader of an older file is told, not misled."""

    model_config = ConfigDict(extra="forbid", frozen=True, json_schema_serialization_defaults_required=True)


class Published(Record):
    """The reference a figure was judged against, as it stood when it was judged."""

    id: str
    says: str
    source: str
    how: str
    accept: Band
    why: str
    value: tuple[float, ...] = ()
    rounding: bool = False  # the figure is what rounding does: its band judges it, and no kept value


class Measurement(Record):
    """One figure that one claim measured on one subject."""

    test: str  # pytest's node id
    subject: str
    label: str  # what was measured: "copy score of 9.9"
    value: float
    low: float
    high: float
    n: int
    method: str
    published: Published
    verdict: Verdict
    explanation: str
    worst_prompt: str = ""  # the prompt that speaks most against the claim; see `worst`
    per_prompt: list[float] = []  # one number a prompt, their mean is `value`; empty where nothing was sampled

    @property
    def room(self) -> float:
        """How far inside the accepted band the interval stays; negative where an end of it lies outside."""
        band = self.published.accept
        return min(self.low - band.low, band.high - self.high)

    @property
    def worst(self) -> int | None:
        """Which prompt speaks most against the claim: the one furthest on the side where the band's end is nearest to
        the interval. None where no prompt says anything else than the others."""
        if len(set(self.per_prompt)) < 2:
            return None
        band = self.published.accept
        furthest = min if self.low - band.low < band.high - self.high else max
        return self.per_prompt.index(furthest(self.per_prompt))


class Shown(Record):
    """A drawing that a claim shows."""

    test: str
    subject: str
    drawing: Drawing


class PromptFile(Record):
    """The file that prompts were read from."""

    name: str
    sha256: str
    rows: int
    used: int  # prompts of it that claims were asked on, at the most


class StatedCircuit(Record):
    """The circuit file whose claims were asked."""

    name: str
    sha256: str
    model: str  # which model it is of, in its own words; may be empty
    classes: dict[str, str]  # by name, "2.1 2.4 at END"
    source: str = ""  # whose circuit it is, in its own words; may be empty


class Subject(Record):
    """What was under test, and everything that could make a rerun differ."""

    name: str
    about: str = ""  # what this model is, for who never heard of it; empty for somebody's own
    directory: str
    weights_hash: str
    shape: str
    device: str
    dtype: str
    backend: str = ""  # what ran it; empty in files older than the choice
    prompts: int  # at the most: a claim's figures say how many they took
    seed: int
    prepend_bos: bool
    prompts_hash: str = ""  # sha256 of the prompts' text and answers; empty where no prompt was run
    processing: str = ""  # what was done to the weights after loading
    prompt_file: PromptFile | None = None  # None where prompts were generated
    circuit_file: StatedCircuit | None = None
    precision: str = ""  # in float64: which precision was really there, as measured; empty for another number type


class Claim(Record):
    """One test of claims/ with its outcome, its figures and, where it did not pass, why.

    inconclusive: nothing that it could have measured would have decided it, or a look left it open and the run was
    stopped before the next.
    """

    test: str
    subject: str
    sentence: str
    outcome: Literal["passed", "failed", "inconclusive", "error", "skipped"]
    seconds: float
    reason: str  # empty where it passed
    instead: str = ""  # what was found in place of what it says; empty where it passed
    measurements: list[Measurement]


class Mutant(Record):
    """A model with one thing broken, or a right one with something spoilt, and the claims seen to fail there."""

    name: str
    says: str  # what is broken
    family: str  # the file of the claims that name the mechanism; empty for a control, where nothing is to fail
    digest: str = ""  # of what was changed, so that a record of something else is noticed
    kills: list[str]  # claims as verdicts.of_any_subject names them


class Change(Record):
    """A figure that two runs measured. `allowed` is how far apart the rule lets them be."""

    test: str
    subject: str
    label: str
    old: float
    new: float
    difference: float  # what `allowed` limits: new - old, or the largest difference on one prompt
    allowed: float
    rule: Rule
    drifted: bool


class Setting(Record):
    """Something that was different around the measurements: a version, a device, an accepted band."""

    name: str
    old: str
    new: str


class Flip(Record):
    """A claim that came out differently."""

    test: str
    sentence: str
    old: str
    new: str


class Comparison(Record):
    """A run compared with an earlier one."""

    baseline: str  # the earlier run's file
    started: str  # when the earlier run started
    changes: list[Change]  # every figure of both
    flips: list[Flip]
    appeared: list[str]  # claims and figures that only the later run has
    vanished: list[str]  # that only the earlier run has, although the later one was asked for them
    environment: list[Setting]
    notes: list[str]

    @property
    def compared(self) -> list[Change]:
        """The changes that a rule allows or does not."""
        return [change for change in self.changes if change.rule not in NOT_COMPARED]

    @property
    def drifted(self) -> bool:
        """Whether anything moved that must not: the environment may differ, what was measured may not."""
        return bool(self.flips or self.appeared or self.vanished or any(change.drifted for change in self.changes))


class Session(Record):
    """A whole run."""

    schema_version: int = SCHEMA_VERSION
    started: str  # ISO 8601, UTC
    seconds: float
    command: str
    rerun: str = ""  # the options of `command` that any one of its claims needs to be asked again
    task: str = ""  # what the claims are about, for who never heard of it
    glossary: dict[str, str] = {}  # words of the claims, and what they mean
    selection: str = ""  # how the user narrowed the run, as typed: "-k 9.9"; empty for everything
    ended: str = ""  # why the run stopped before its end; empty where it did not
    looks: list[int] = []  # how many prompts each look at the claims took; empty in files older than looks
    versions: dict[str, str]
    subjects: list[Subject]
    not_measured: list[str]  # what a reader might think was checked and was not, with the way to check it
    notes: list[str] = []  # what a reader has to know of the run: where its prompts are from, a batch that was halved
    claims: list[Claim]
    drawings: list[Shown]
    families: dict[str, str] = {}  # file names of claims and their headings, in the order to be read
    sources: dict[str, str] = {}  # names of publications, as they stand in a reference's source, and their addresses
    mutants: list[Mutant] = []  # what the claims have been seen to fail on
    drift: Comparison | None = None  # where the run was compared with a baseline


def measurement(
    test: str,
    subject: str,
    label: str,
    estimate: Estimate,
    reference: Reference,
    *,
    worst_prompt: str = "",
    available: int | None = None,
) -> Measurement:
    """The record of an estimate judged against a reference; `available` is how many prompts there are at the most."""
    return Measurement(
        test=test,
        subject=subject,
        label=label,
        value=estimate.value,
        low=estimate.low,
        high=estimate.high,
        n=estimate.n,
        method=estimate.method,
        published=Published(**reference.model_dump()),
        verdict=reference.accept.judge(estimate),
        explanation=reference.explain(estimate, available=available),
        worst_prompt=worst_prompt,
        per_prompt=[float(f"{value:.{PER_PROMPT_DIGITS}g}") for value in estimate.per_prompt],
    )


def as_json(session: Session) -> str:
    """The session as it is kept in a file: indented, and each list of numbers on one line."""
    # A line break inside a string is written as \n, so every real one is layout.
    return re.sub(r"(?<=[\[,\d])\n *(?=[\]\d-])", "", session.model_dump_json(indent=1)) + "\n"
