"""What a session measured, as plain records with a schema: the one list that every renderer reads.

The JSON file is the master copy; the HTML report and the terminal summary are views of it.
"""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict

from lib.references import Band, Reference, Verdict
from lib.statistics import Estimate

SCHEMA_VERSION = 1


class Record(BaseModel):
    """Immutable, and strict about unknown keys: a reader of an older file is told, not misled."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Published(Record):
    """The reference a figure was judged against, as it stood when it was judged."""

    id: str
    says: str
    source: str
    how: str
    accept: Band
    why: str


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
    example: str = ""  # text of the example behind an extreme value; empty for a figure of all examples

    @property
    def room(self) -> float:
        """How far inside the accepted band the interval stays; negative where an end of it lies outside."""
        band = self.published.accept
        return min(self.low - band.low, band.high - self.high)


class HeadMap(Record):
    """A figure: one value a head."""

    test: str
    subject: str
    title: str
    unit: str
    values: list[list[float]]  # layer, head


class Subject(Record):
    """What was under test, and everything that could make a rerun differ."""

    name: str
    directory: str
    weights_hash: str
    shape: str
    device: str
    dtype: str
    prompts: int
    seed: int
    prepend_bos: bool


class Claim(Record):
    """One test of claims/ with its outcome, its figures and, where it did not pass, why."""

    test: str
    subject: str
    sentence: str
    outcome: Literal["passed", "failed", "error", "skipped"]
    seconds: float
    reason: str  # empty where it passed
    measurements: list[Measurement]


class Session(Record):
    """A whole run."""

    schema_version: int = SCHEMA_VERSION
    started: str  # ISO 8601, UTC
    seconds: float
    command: str
    versions: dict[str, str]
    subjects: list[Subject]
    not_measured: list[str]  # what a reader might think was checked and was not, with the way to check it
    claims: list[Claim]
    head_maps: list[HeadMap]


def measurement(
    test: str, subject: str, label: str, estimate: Estimate, reference: Reference, *, example: str = ""
) -> Measurement:
    """The record of an estimate judged against a reference."""
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
        explanation=reference.explain(estimate),
        example=example,
    )
