"""What SWEEP.toml asks for: models, what is asked of each, and with what. Read from TOML, strictly.

    results = "results/pythia"           # a folder, beside this file unless absolute, or any fsspec URL
    circuit = "pythia-160m.toml"         # what --claims-circuit takes; a group of models may have its own
    claims = "circuit_file or behaviour" # what -k takes
    prompts = 100                        # and seed, prompt_file, backend, dtype, device, bos, one_look, budget
    against = "first"                    # drift: each line's first model, or a model's name

    [[models]]
    line = "160m"                        # a line of the curves; without it the models' common name
    model = "EleutherAI/pythia-160m@step{}"
    steps = { log = 16, first = 1000, last = 143000, multiple = 1000 }
                                         # or linear = 16, or every = 1000; or [1000, 2000]
    cpus = 4
    gpus = 1                             # fractions share one
    memory = "8GiB"                      # at the most: a run that takes more is ended
    minutes = 30                         # likewise

`model` is a directory, a hub id, id@revision, or a subject of the suite's own; {a,b} in it stands for each of these, {}
for each of `steps`, and * for what is there on disk. All of `[[models]]` but `model` is optional.
Out of scope: whether a model can be had (lib/sweep/had.py), and how it is run (lib/sweep/task.py).
"""

from __future__ import annotations

import itertools
import os
import re
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator

from lib import schedules
from lib.models.budget import memory_size
from lib.schedules import STEP, step_of
from lib.suggestions import suggestion

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

FIRST = "first"


class PlanError(ValueError):
    """A sweep that cannot be run as it is written; the message names every fault with its place and value."""


def _bytes(size: object) -> object:
    return memory_size(size) if isinstance(size, str) else size


class _Table(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Schedule(_Table):
    """Steps by the name of their schedule."""

    every: int | None = Field(None, gt=0)
    linear: int | None = Field(None, gt=1)
    log: int | None = Field(None, gt=1)
    first: int = Field(ge=0)
    last: int = Field(gt=0)
    multiple: int = Field(1, gt=0)  # steps are rounded to one, as checkpoints are kept

    @model_validator(mode="after")
    def _is_one(self) -> Schedule:
        if sum(one is not None for one in (self.every, self.linear, self.log)) != 1:
            raise ValueError("name one schedule: every = 1000, linear = 16 or log = 16")
        if self.first >= self.last:
            raise ValueError(f"first {self.first} is not below last {self.last}")
        if self.log is not None and not self.first:
            raise ValueError("first 0 has no logarithm: begin a log schedule at 1 or later")
        return self

    @property
    def steps(self) -> tuple[int, ...]:
        ends = {"first": self.first, "last": self.last}
        if self.every is not None:
            return schedules.every(self.every, **ends)
        spaced, count = (schedules.linear, self.linear) if self.log is None else (schedules.log, self.log)
        return spaced(count, **ends, multiple=self.multiple)


class Group(_Table):
    """Models that are asked alike, one of [[models]]."""

    model: str = Field(min_length=1)
    line: str = ""
    steps: Schedule | tuple[int, ...] = ()
    circuit: str | None = None
    cpus: int = Field(1, gt=0)
    gpus: float = Field(0, ge=0)
    memory: Annotated[int | None, BeforeValidator(_bytes)] = Field(None, gt=0)
    minutes: float | None = Field(None, gt=0)


class SweepFile(_Table):
    """The whole of SWEEP.toml."""

    results: str = Field(min_length=1)
    circuit: str | None = None
    claims: str = ""
    prompts: int = Field(100, ge=24)
    prompt_file: str | None = None
    seed: int = Field(0, ge=0)
    backend: str = ""  # empty: the suite's own default
    dtype: str = "float32"
    device: str = "auto"
    bos: Literal["auto", "yes", "no"] = "auto"
    one_look: bool = False
    budget: str = ""  # what --claims-memory takes
    against: str = ""
    models: tuple[Group, ...] = Field(min_length=1)


class Asked(NamedTuple):
    """One model to be asked."""

    name: str  # what reports and the folder of its results are called
    source: str  # a directory, a hub id, id@revision, or a subject of the suite's own
    line: str
    step: int | None  # None where its name says none
    circuit: str | None  # a path, or the name of one that comes with the suite
    cpus: int
    gpus: float
    memory: int | None  # bytes
    seconds: float | None


class Plan(NamedTuple):
    """A sweep: what is asked for as a whole, and every model."""

    file: SweepFile
    results: str  # absolute, or a URL
    prompt_file: Path | None
    models: tuple[Asked, ...]

    @property
    def in_order(self) -> list[Asked]:
        """Line by line, in order of step."""
        lines = list(dict.fromkeys(one.line for one in self.models))
        return sorted(self.models, key=lambda one: (lines.index(one.line), one.step is None, one.step or 0))


def read_plan(path: Path) -> Plan:
    """The sweep in a TOML file. Raises OSError, or PlanError."""
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise PlanError(f"{path} is no TOML: {error}") from error
    try:
        file = SweepFile.model_validate(table)
    except ValidationError as error:
        raise PlanError(f"{path}: " + "\n".join(_in_words(fault) for fault in error.errors())) from error
    here = path.resolve().parent
    models = [one for group in file.models for one in _models(group, file, here, path)]
    _check_names(models, file, path)
    results = file.results if "://" in file.results else str(_place(file.results, here))
    prompt_file = _place(file.prompt_file, here) if file.prompt_file else None
    if prompt_file and not prompt_file.is_file():
        raise PlanError(f"{path}: prompt_file: there is no file {prompt_file}")
    return Plan(file, results, prompt_file, tuple(models))


def _models(group: Group, file: SweepFile, here: Path, path: Path) -> list[Asked]:
    sources = _sources(group, here, path)
    circuit = _beside(group.circuit if group.circuit is not None else file.circuit, here)
    return [
        Asked(
            name=name_of(source),
            source=source,
            line=group.line or _line_of(source),
            step=step_of(source),
            circuit=circuit,
            cpus=group.cpus,
            gpus=group.gpus,
            memory=group.memory,
            seconds=group.minutes * 60 if group.minutes else None,
        )
        for source in sources
    ]


def _sources(group: Group, here: Path, path: Path) -> list[str]:
    steps = group.steps.steps if isinstance(group.steps, Schedule) else group.steps
    if bool(steps) != ("{}" in group.model):
        remedy = "write {} where the step stands" if steps else "say which with steps = [...] or a schedule"
        raise PlanError(f"{path}: model {group.model!r} and its steps do not go together: {remedy}")
    parts = re.split(r"\{([^{}]*)\}", group.model)  # text and what stands in braces, in turn
    choices = [
        [part] if i % 2 == 0 else [each.strip() for each in part.split(",")] if part else list(map(str, steps))
        for i, part in enumerate(parts)
    ]
    written = ["".join(chosen) for chosen in itertools.product(*choices)]
    return [source for one in written for source in _on_disk(one, here, path)]


def _on_disk(source: str, here: Path, path: Path) -> list[str]:
    """A directory as an absolute path, also of several that are meant by *; anything else as it is written."""
    place = _place(source, here)
    if "*" in source:
        found = sorted(map(str, Path(place.anchor).glob(str(place.relative_to(place.anchor)))), key=_in_steps)
        if not found:
            raise PlanError(f"{path}: model {source!r}: there is nothing like it in {here}")
        return found
    given = source.startswith(("/", "./", "../", "~")) or place.is_dir()
    return [str(place)] if given else [source]


def _place(written: str, here: Path) -> Path:
    return Path(os.path.normpath(here / Path(written).expanduser()))


def _in_steps(source: str) -> tuple[int, str]:
    step = step_of(source)
    return (-1 if step is None else step), source


def _beside(circuit: str | None, here: Path) -> str | None:
    """A circuit file as an absolute path; the name of one that comes with the suite as it is."""
    if not circuit:
        return None
    place = _place(circuit, here)
    return str(place) if place.exists() or circuit.endswith(".toml") else circuit


def name_of(source: str) -> str:
    """What a model is called in reports and folders: the last part of its name, and the one before where that says
    nothing but a step. "seed0@step1000" of .../seed0/step1000."""
    *before, last = source.rstrip("/").split("/")
    if before and STEP.fullmatch(last):
        last = f"{before[-1]}@{last}"
    return re.sub(r"[^\w.@+-]", "-", last)


def _line_of(source: str) -> str:
    return re.sub(rf"[@/_.-]?{STEP.pattern}.*", "", name_of(source), flags=re.IGNORECASE) or name_of(source)


def _check_names(models: list[Asked], file: SweepFile, path: Path) -> None:
    names: dict[str, str] = {}
    for one in models:
        if one.name in names:
            twice = "is there twice" if names[one.name] == one.source else f"is also what {names[one.name]} is called"
            raise PlanError(f"{path}: {one.source}: the name {one.name!r} {twice}: every model needs one of its own")
        names[one.name] = one.source
    if file.against and file.against != FIRST and file.against not in names:
        raise PlanError(f"{path}: against {file.against!r} is no model: {suggestion(file.against, [FIRST, *names])}")


def _in_words(fault: Mapping[str, Any]) -> str:
    """One fault that pydantic found, with its place and value."""
    place = [str(part) for part in fault["loc"] if part not in ("Schedule", "tuple[int, ...]")]
    where = ".".join(place) or "the file"
    if fault["type"] == "extra_forbidden":
        kind = Schedule if "steps" in place[:-1] else Group if place[0] == "models" else SweepFile
        return f"{where} is unknown: {suggestion(place[-1], kind.model_fields)}"
    if fault["type"] == "missing":
        return f"{where} is missing"
    given = "" if isinstance(fault["input"], dict) else f": {fault['input']!r}"
    return f"{where}{given}: {fault['msg'].removeprefix('Value error, ')}"
