"""The folder of results is the state of a sweep: what is done, failed, damaged or asked otherwise, as it lies there.

    results/runs/NAME/claims.json, claims.html    what the suite wrote
    results/runs/NAME/log.txt                     what it said
    results/runs/NAME/outcome.json                how the run came out, written last, whole or not at all
    results/sweep.json, sweep.csv, sweep.html     all of them together

A folder is a path, or any URL that an installed fsspec driver can write; then a run's files are made in a folder here
and taken there when it has ended. Nothing else is kept anywhere.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Literal, NamedTuple

import fsspec
from pydantic import BaseModel, ConfigDict, ValidationError

from lib.files import write_whole

Kind = Literal["ran", "took too long", "out of memory", "cannot be had", "could not be asked", "died"]
State = Literal["done", "changed", "failed", "damaged", "missing"]
OUTCOME, LOG = "outcome.json", "log.txt"
REPORTS = ("claims.json", "claims.html")


class Outcome(BaseModel):
    """How one run came out. A claim that fails is a result: that run "ran"."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str
    source: str
    kind: Kind
    message: str = ""  # why it did not run, in the suite's own words; empty where it did
    asked: dict[str, str]  # everything that was asked of it: another value is another question
    started: str  # ISO 8601, UTC
    seconds: float  # of the whole task: finding the model, starting Python, the suite
    peak_bytes: int = 0  # the most memory that the suite held; 0 where it never started
    attempts: int = 1
    machine: str = ""
    sha256: dict[str, str] = {}  # of the files that it left


class Found(NamedTuple):
    """What lies in a model's folder."""

    state: State
    outcome: Outcome | None = None
    differs: tuple[str, ...] = ()  # where it was asked otherwise: what was, and is


class Results:
    """A folder of results, by its path or URL. Raises OSError, or ValueError for a URL without a driver."""

    def __init__(self, where: str) -> None:
        self.where = where.rstrip("/")
        try:
            self.files, self.root = fsspec.core.url_to_fs(self.where)
        except (ImportError, ValueError) as error:
            raise ValueError(f"results {where!r} cannot be written to: {error}") from error

    @property
    def here(self) -> Path | None:
        """The folder on this machine, where it is one."""
        return Path(self.root) if "file" in self.files.protocol else None

    def read(self, name: str) -> bytes | None:
        """A file of the folder; None where there is none."""
        try:
            return self.files.cat_file(f"{self.root}/{name}")
        except FileNotFoundError:
            return None

    def write(self, name: str, text: str) -> None:
        """Write a file of the folder, whole or not at all."""
        if self.here:
            write_whole(self.here / name, text)
        else:
            self.files.pipe_file(f"{self.root}/{name}", text.encode())  # object stores show no half of one

    def take(self, folder: Path, name: str) -> None:
        """Take files of a folder here to NAME's folder, unless they are there already."""
        if self.here and folder == self.folder(name):
            return
        for path in sorted(folder.iterdir()):
            if path.is_file() and not path.name.startswith("."):
                self.files.pipe_file(f"{self.root}/runs/{name}/{path.name}", path.read_bytes())

    def folder(self, name: str) -> Path | None:
        """Where a model's run may write at once; None where files have to be taken there."""
        return self.here / "runs" / name if self.here else None

    def keep(self, outcome: Outcome) -> None:
        """Write how a run came out. From now on its folder is what it says."""
        self.write(f"runs/{outcome.name}/{OUTCOME}", outcome.model_dump_json(indent=1) + "\n")

    def found(self, name: str, asked: Mapping[str, str]) -> Found:
        """What lies there of a model of which `asked` is asked."""
        written = self.read(f"runs/{name}/{OUTCOME}")
        if written is None:
            return Found("missing")
        try:
            outcome = Outcome.model_validate_json(written)
        except ValidationError:
            return Found("damaged")
        if outcome.kind != "ran":
            return Found("failed", outcome)
        if any(digest(self.read(f"runs/{name}/{file}")) != known for file, known in outcome.sha256.items()):
            return Found("damaged", outcome)
        differs = tuple(
            f"{key}: {outcome.asked.get(key) or 'nothing'} -> {asked.get(key) or 'nothing'}"
            for key in dict.fromkeys([*outcome.asked, *asked])
            if outcome.asked.get(key, "") != asked.get(key, "")
        )
        return Found("changed" if differs else "done", outcome, differs)


def digest(content: bytes | None) -> str:
    """The sha256 of a file; empty where there is none."""
    return "" if content is None else hashlib.sha256(content).hexdigest()
