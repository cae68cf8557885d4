"""docs/evidence/MUTATION.md: how many mutants of the measuring code the tests kill, and why the others may live.

Reasons are kept by hand in survivors.toml, by what a mutant changes and where, so that they outlive edits elsewhere.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import version
from typing import Literal, NamedTuple

from pydantic import BaseModel, ConfigDict
from scipy import stats

from benchmarks.pages import evidence

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

NAME = "MUTATION.md"
SOURCE = evidence.ROOT / "docs" / "survivors.toml"

KINDS = {
    "equivalent": "Nothing that can be measured differs.",
    "cost": "The values are the same; time or memory is not.",
    "message": "Only the words of an error differ.",
    "misuse": "Only what arguments of the wrong kind lead to differs.",
    "untested": "A test could tell, and there is none.",
}
Kind = Literal["equivalent", "cost", "message", "misuse", "untested"]


class Mutant(NamedTuple):
    """One small change of the code."""

    name: str  # mutmut's: lib.instruments.attention.x_attention__mutmut_3
    path: str
    function: str
    line: int  # the first line it changes
    n_lines: int
    was: str
    becomes: str  # empty where something is left out

    def __str__(self) -> str:
        return f"{self.path}:{self.line} in {self.function}: `{self.was}` → `{self.becomes}`"


class Tried(NamedTuple):
    """A mutant and mutmut's word for what became of it."""

    mutant: Mutant
    status: str

    @property
    def killed(self) -> bool:
        """Whether tests failed, or no longer came to an end."""
        return self.status in ("killed", "timeout")


class Reason(BaseModel):
    """Why some mutants of one function may live. changes: pairs of what a line was and what it becomes."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    at: str  # lib/models/forward.py::add_mlp_
    kind: Kind
    why: str
    changes: tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Reasons:
    """All that survivors.toml says."""

    all: tuple[Reason, ...]

    def of(self, mutant: Mutant) -> Reason | None:
        """The reason why a mutant may live, if one is given."""
        at, change = f"{mutant.path}::{mutant.function}", (mutant.was, mutant.becomes)
        return next((reason for reason in self.all if reason.at == at and change in reason.changes), None)


def read_reasons() -> Reasons:
    """The reasons as they are kept. Raises ValueError for an unknown key or kind."""
    rows = tomllib.loads(SOURCE.read_text(encoding="utf-8")).get("reason", [])
    return Reasons(tuple(Reason.model_validate(row) for row in rows))


def stale(reasons: Reasons, mutants: Sequence[Mutant]) -> list[str]:
    """Changes that reasons are given for and that no mutant makes."""
    known = {(f"{one.path}::{one.function}", one.was, one.becomes) for one in mutants}
    given = [(reason.at, *change) for reason in reasons.all for change in reason.changes]
    return [f"{at}: `{was}` → `{becomes}`" for at, was, becomes in given if (at, was, becomes) not in known]


def score(tried: Sequence[Tried]) -> float:
    """Share of mutants killed; NaN of none."""
    return sum(one.killed for one in tried) / len(tried) if tried else float("nan")


def page(every: Sequence[Mutant], tried: Sequence[Tried], reasons: Reasons) -> str:
    """The whole of MUTATION.md."""
    sampled = len(tried) < len(every)
    alive = [one for one in tried if not one.killed]
    bare = [one for one in alive if reasons.of(one.mutant) is None]
    how = (
        f"{len(tried)}, spread evenly over the code, of the {len(every)} there are; intervals are Wilson's, of 95%"
        if sampled
        else f"all {len(every)} there are"
    )
    lines = [
        "# Mutants of the measuring code, and what the tests make of them",
        "",
        f"mutmut {version('mutmut')} puts one small fault at a time into "
        "lib/instruments, the maths of a block and the record of measurements, and the tests that call the function "
        f"have to fail. Tried: {how}. "
        "Properties, other decorated functions and module constants are not mutated. The tests are those that "
        "pyproject.toml names for it, a fast part of tests/; the others and claims/ may kill more. "
        "[MUTANTS.md](MUTANTS.md) is about broken copies of the reference model instead.",
        "",
        f"**Killed: {_share(tried, sampled)}.**",
        "",
        "| file | mutants | tried | killed | |",
        "|---|---|---|---|---|",
        *(_row(path, every, tried, sampled) for path in dict.fromkeys(one.path for one in every)),
        "",
        f"## Survivors: {len(alive)}, of which {len(bare)} have no reason yet",
        "",
    ]
    for kind, meaning in KINDS.items():
        those = [one for one in alive if (reason := reasons.of(one.mutant)) and reason.kind == kind]
        if those:
            lines += [f"### {kind.capitalize()}: {len(those)}", "", meaning, ""]
            for why in dict.fromkeys(reasons.of(one.mutant).why for one in those):
                lines.append(f"- {why}")
                lines += [f"  - {_line(one)}" for one in those if reasons.of(one.mutant).why == why]
            lines.append("")
    if bare:
        lines += [f"### No reason yet: {len(bare)}", "", *(f"- {_line(one)}" for one in bare), ""]
    return "\n".join(lines).rstrip() + "\n"


def _row(path: str, every: Sequence[Mutant], tried: Sequence[Tried], sampled: bool) -> str:
    mine = [one for one in tried if one.mutant.path == path]
    there_are = sum(one.path == path for one in every)
    share = _share(mine, sampled) if mine else ""
    return f"| {path} | {there_are} | {len(mine)} | {sum(one.killed for one in mine)} | {share} |"


def _share(tried: Sequence[Tried], sampled: bool) -> str:
    if not sampled:
        return f"{score(tried):.1%}"
    interval = stats.binomtest(sum(one.killed for one in tried), len(tried)).proportion_ci(method="wilson")
    return f"{score(tried):.1%} [{interval.low:.1%}, {interval.high:.1%}]"


def _line(one: Tried) -> str:
    mutant, status = one.mutant, "" if one.status == "survived" else f" ({one.status})"
    becomes = f"`{mutant.becomes}`" if mutant.becomes else "nothing"
    return f"{mutant.path.removeprefix('lib/')}:{mutant.line} `{mutant.function}`: `{mutant.was}` → {becomes}{status}"
