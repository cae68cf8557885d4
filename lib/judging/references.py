"""Published figures and accepted bands, read from TOML and checked with pydantic.

A reference says what somebody published, where and how it was measured, which band this suite accepts, and why.
`estimate in reference` is the verdict: the whole 95% interval lies inside the band.
"""

from __future__ import annotations

import difflib
import math
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, FiniteFloat, ValidationError, model_validator

from lib.judging.statistics import Estimate, prompts_needed

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

Verdict = Literal["pass", "fail", "inconclusive"]
Published = Annotated[
    tuple[FiniteFloat, ...], BeforeValidator(lambda value: value if isinstance(value, list | tuple) else (value,))
]


class Band(BaseModel):
    """The accepted values: not below `above`, not above `below`. At least one end is given."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    above: float | None = None
    below: float | None = None

    @model_validator(mode="after")
    def _is_a_band(self) -> Band:
        if self.above is None and self.below is None:
            raise ValueError("a band needs above, below or both: one that accepts everything says nothing")
        if self.low >= self.high:
            raise ValueError(f"the band is empty: above {self.above} and below {self.below}")
        return self

    @property
    def low(self) -> float:
        return -math.inf if self.above is None else self.above

    @property
    def high(self) -> float:
        return math.inf if self.below is None else self.below

    def judge(self, estimate: Estimate) -> Verdict:
        """pass: the interval is inside; fail: it is outside; inconclusive: it holds an end of the band, or is of too
        few prompts to be relied on."""
        if estimate.too_few:
            return "inconclusive"
        if self.low <= estimate.low and estimate.high <= self.high:
            return "pass"
        if estimate.high < self.low or estimate.low > self.high:
            return "fail"
        return "inconclusive"

    def advice(self, estimate: Estimate, *, available: int | None = None) -> str:
        """For an inconclusive estimate, how many more prompts would settle it; `available`: how many there are at all,
        where that is limited."""
        if estimate.too_few:
            return (
                f"{estimate.n} are too few for an interval that holds what it promises: use at least "
                f"{estimate.fewest} prompts (--claims-prompts)"
            )
        if estimate.of_all_names:
            return f"it is over all {estimate.n} names there are: no number of prompts would settle it"
        edges = [edge for edge in (self.low, self.high) if estimate.low <= edge <= estimate.high]
        needed = max(prompts_needed(estimate, edge) for edge in edges)
        more = needed - estimate.n
        if more > 100 * estimate.n:
            return "the value sits on the edge of the band: no reasonable number of prompts would settle it"
        more = max(int(more), 1)
        if available is not None and estimate.n + more > available:
            return f"the file has no more prompts: use a larger file (about {more} more prompts would settle it)"
        return f"use about {more} more prompts (--claims-prompts) to settle it"

    def __str__(self) -> str:
        if self.above is not None and self.below is not None:
            return f"{self.above:g} to {self.below:g}"
        return f"at least {self.above:g}" if self.above is not None else f"at most {self.below:g}"


def origin(source: str) -> str:
    """What a source's figure is, in a word: published, or stated in somebody's circuit file."""
    return "stated" if source.startswith("the circuit file") else "published"


class Reference(BaseModel):
    """One published figure with the band accepted for it."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    id: str
    says: str = Field(min_length=1)  # what they published, in a few words
    source: str = Field(min_length=1)  # who, and where in it
    how: str = Field(min_length=1)  # how they measured it
    accept: Band
    why: str = Field(min_length=1)  # why this band
    value: Published = ()  # what `says` says, as numbers in the unit of the measurement: one, several or none
    rounding: bool = False  # the figure is what rounding does, which another processor does otherwise

    def __contains__(self, estimate: object) -> bool:
        if not isinstance(estimate, Estimate):
            raise TypeError(
                f"only an Estimate is judged against {self.id!r}, not {estimate!r}: see lib/judging/statistics.py"
            )
        return self.accept.judge(estimate) == "pass"

    def explain(self, estimate: Estimate, *, available: int | None = None) -> str:
        """The verdict as one sentence: measured value, band, source, and what to do where it is inconclusive."""
        verdict = self.accept.judge(estimate)
        says = f"measured {estimate}; accepted: {self.accept}; "
        says += f"{origin(self.source)}: {self.says!r} ({self.source}) <{self.id}>"
        ends = {"pass": "inside the band", "fail": "outside the band"}
        return f"{says}: {ends.get(verdict) or 'inconclusive, ' + self.accept.advice(estimate, available=available)}"

    def __repr__(self) -> str:
        return f"<{self.id}: {self.says!r}, {self.source}; accepted: {self.accept}>"


class References(Mapping[str, Reference]):
    """References by id. An unknown id is answered with the nearest known one."""

    def __init__(self, entries: Mapping[str, Reference]) -> None:
        self._entries = dict(entries)

    def __getitem__(self, id: str) -> Reference:
        if id not in self._entries:
            near = difflib.get_close_matches(id, self._entries, n=1)
            raise KeyError(f"no reference {id!r}" + (f": did you mean {near[0]!r}?" if near else ""))
        return self._entries[id]

    def __iter__(self) -> Iterator[str]:
        return iter(self._entries)

    def __len__(self) -> int:
        return len(self._entries)

    def __repr__(self) -> str:
        return f"<{len(self)} references>"


def read_references(path: Path) -> References:
    """References from a TOML file with one table a figure, or from every such file of a folder.

    Raises ValueError naming file, entry and key, also where two files have an entry of the same name.
    """
    entries: dict[str, Reference] = {}
    for file in sorted(path.glob("*.toml")) if path.is_dir() else [path]:
        for reference in _read_file(file):
            if reference.id in entries:
                raise ValueError(f"{file}: [{reference.id!r}] stands in another file of {path} as well")
            entries[reference.id] = reference
    return References(entries)


def _read_file(path: Path) -> Iterator[Reference]:
    try:
        tables = tomllib.loads(path.read_text(encoding="utf-8"))
    except tomllib.TOMLDecodeError as error:
        raise ValueError(f"{path}: not valid TOML: {error}") from error
    for id, table in tables.items():
        try:
            yield Reference.model_validate({"id": id, **table})
        except ValidationError as error:
            faults = "; ".join(
                f"{'.'.join(map(str, fault['loc'])) or 'entry'}: {fault['msg']}" for fault in error.errors()
            )
            raise ValueError(f"{path}: [{id!r}]: {faults}") from error
